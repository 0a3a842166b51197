"""Values of latent pixels as values of video tokens."""

import pytest
import torch

from refilm.checkpoints import load_base
from refilm.model.tokens import token_means


@pytest.mark.parametrize("base", ["tiny_base", "tiny_base_15"])
def test_token_means_have_the_order_of_the_models_tokens(base, request):
    transformer = load_base(request.getfixturevalue(base), device="cpu", dtype="float32").transformer
    latents = torch.zeros(1, 4, transformer.size.channels, 8, 12)
    for place in ((1, 2, 9), (3, 7, 0)):
        changed = latents.clone()
        changed[0, place[0], :, place[1], place[2]] = 1.0
        difference = transformer.patch_embedding(changed) - transformer.patch_embedding(latents)
        means = token_means(changed[:, :, 0], transformer.size)
        assert torch.equal(means > 0, difference.abs().amax(dim=-1) > 0)
        assert means.max() == pytest.approx(1 / transformer.size.patch_time / transformer.size.patch**2)
