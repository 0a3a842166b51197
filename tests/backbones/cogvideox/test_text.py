import pytest
import torch

from refilm.backbones.cogvideox.text import load_text_encoder
from refilm.pocket.contrastive import EncodersSettings, make_text_encoder, train_tokenizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(0)
    settings = EncodersSettings(width=16, heads=2, text_length=12)
    folder = tmp_path_factory.mktemp("text")
    make_text_encoder(len(train_tokenizer(folder, settings)), settings).save_pretrained(folder)
    return load_text_encoder(folder, folder, length=settings.text_length, dtype=None, device="cpu")


def test_prompts_are_padded_to_the_full_length_and_read_without_a_mask(encoder):
    prompts = ["a critter waits", "a critter bounces in the meadow"]
    tokens = encoder.tokens(prompts)
    assert tokens.shape == (2, 12)
    assert tokens[0].tolist()[-7:] == [0] * 7
    unmasked = encoder.model(tokens)
    assert torch.allclose(encoder(prompts), unmasked, atol=1e-5)
    assert encoder.dropped(2).shape == unmasked.shape
    assert not encoder.dropped(2).any()


def test_a_prompt_that_is_too_long_is_refused_not_cut(encoder):
    prompt = "a critter bounces in the meadow, red striped blue ball with wide eyes"
    with pytest.raises(
        ValueError, match=r"the prompt has 15 tokens, the limit of this model is 12: shorten 'a critter"
    ):
        encoder([prompt])
