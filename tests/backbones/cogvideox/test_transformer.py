"""The transformer compared with diffusers' with the same weights, and its own behavior."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_timestep_embedding

from refilm.backbones.cogvideox.sizes import cogvideox_2b, cogvideox_5b, cogvideox_15_5b
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.backbones.positions import timestep_embedding
from refilm.checkpoints import load_transformer

from ...model.tiny import ROTARY, SINCOS, SPANNING, inputs, transformer, wild


@pytest.fixture(scope="module", params=[SINCOS, ROTARY, SPANNING], ids=["2b", "5b", "1.5 5b"])
def twins(request, tmp_path_factory):
    """A model of diffusers, and a refilm model loaded from its file."""
    size = request.param
    theirs = CogVideoXTransformer3DModel(
        num_attention_heads=size.heads,
        attention_head_dim=size.head_dim,
        time_embed_dim=size.time_dim,
        text_embed_dim=size.text_dim,
        num_layers=size.layers,
        sample_width=size.base_width,
        sample_height=size.base_height,
        sample_frames=9,
        max_text_seq_length=size.text_length,
        use_rotary_positional_embeddings=size.position == "rotary",
        **({} if size.patch_time == 1 else {"patch_size_t": size.patch_time, "patch_bias": False}),
    )
    folder = tmp_path_factory.mktemp("theirs")
    wild(theirs).save_pretrained(folder)
    ours = load_transformer(folder)
    assert ours.size == size
    return theirs.requires_grad_(False), ours.requires_grad_(False)


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(3, 8, 12), (1, 8, 12), (4, 4, 10), (2, 12, 6), (1, 16, 16), (5, 6, 20)]
)
def test_velocity_is_that_of_diffusers(twins, frames, height, width):
    theirs, ours = twins
    latents, timestep, text, _ = inputs(ours.size, frames=frames, height=height, width=width)
    rotary = None
    if ours.size.position == "rotary":
        pipeline = SimpleNamespace(vae_scale_factor_spatial=8, transformer=theirs)
        prepare = CogVideoXPipeline._prepare_rotary_positional_embeddings
        rotary = prepare(pipeline, height * 8, width * 8, latents.shape[1], torch.device("cpu"))
    expected = theirs(latents, text, timestep, image_rotary_emb=rotary, return_dict=False)[0]
    got = ours(latents, timestep, text)
    assert expected.std() > 0.5
    assert (got - expected).norm() / expected.norm() < 5e-6


@pytest.mark.parametrize("width", [64, 1920])
def test_timesteps_are_those_of_diffusers(width):
    timesteps = torch.arange(1000)
    expected = get_timestep_embedding(timesteps, width, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert torch.equal(timestep_embedding(timesteps, width), expected)


@pytest.mark.parametrize(
    ("size", "count"),
    [(cogvideox_2b(), 1_693_783_872), (cogvideox_5b(), 5_570_283_072), (cogvideox_15_5b(), 5_570_676_352)],
)
def test_parameters_are_counted_as_published(size, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in Transformer(size).parameters()) == count


@pytest.mark.parametrize("size", [SINCOS, ROTARY, SPANNING])
def test_sampling_or_measuring_first_does_not_spoil_training(size):
    latents, timestep, text, _ = inputs(size, frames=6)  # a grid of its own: position tables are kept
    with torch.device("meta"):
        Transformer(size)(*(x.to("meta") for x in (latents, timestep, text)))
    model = transformer(size)
    with torch.inference_mode():
        sampled = model(latents, timestep, text)
    trained = model.requires_grad_(True)(latents, timestep, text)
    trained.sum().backward()
    assert torch.equal(sampled, trained)


def test_wrap_blocks_can_skip_the_blocks():
    model, given = transformer(), inputs()[:3]
    plain = model(*given)
    model.trunk.wrap_blocks = lambda run, x, conditioning: run(x, conditioning)
    assert torch.equal(model(*given), plain)
    seen = []
    model.trunk.wrap_blocks = lambda run, x, conditioning: seen.append(conditioning.grid) or x
    skipped = model(*given)
    assert seen == [(3, 4, 6)]
    assert not torch.allclose(skipped, plain)
    model.trunk.blocks = torch.nn.ModuleList()
    assert torch.equal(model(*given), skipped)


def test_latents_that_cannot_be_cut_are_refused():
    latents, timestep, text, _ = inputs(height=7)
    with pytest.raises(ValueError, match="7 x 12 cannot be divided into patches of 2 x 2"):
        transformer()(latents, timestep, text)


def test_latents_that_are_no_whole_tokens_or_too_large_are_refused():
    with pytest.raises(ValueError, match="3 latent frames: the number must be a multiple of 2"):
        transformer(SPANNING)(*inputs(frames=3)[:3])
    with pytest.raises(ValueError, match="latents of 8 x 26: this model has positions for at most 20 x 24"):
        transformer(SPANNING)(*inputs(SPANNING, frames=2, width=26)[:3])


def test_bfloat16_stays_near_float32():
    given = inputs()
    model = transformer()
    expected = model(*given[:3])
    got = model.bfloat16()(given[0].bfloat16(), given[1], given[2].bfloat16())
    assert got.dtype == torch.bfloat16
    assert (got - expected).norm() / expected.norm() < 0.05
