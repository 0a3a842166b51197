"""CLIP's vision tower compared with that of transformers, with the same weights."""

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from refilm.encoders.clip import ClipConfig, ClipVision


@torch.no_grad()
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_are_those_of_transformers(activation, dtype):
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2,
        "image_size": 34, "patch_size": 8, "hidden_act": activation, "layer_norm_eps": 0.01,
    }  # fmt: skip
    ours, theirs = ClipVision(ClipConfig(**sizes)), CLIPVisionModel(CLIPVisionConfig(**sizes)).eval()
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 34, 34)
    states = theirs.to(dtype)(pixel_values=pixels.to(dtype), output_hidden_states=True).hidden_states
    for skipped in range(3):
        made = ours.to(dtype)(pixels.to(dtype), skipped=skipped)
        assert made.shape == (2, 17, 16)
        assert torch.allclose(made, states[-1 - skipped], atol=1e-5)
