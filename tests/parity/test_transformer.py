"""Transformer and adapter, loaded with `load_denoiser`, compared with tensors from the SAT fork."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import load_file

from refilm.backbones.cogvideox.position import sincos_table
from refilm.backbones.cogvideox.sat import PREFIX, adapter_names
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.positions import timestep_embedding
from refilm.checkpoints import load_denoiser
from refilm.diffusion import scaled_linear, velocity_loss
from refilm.geometry import Grid

FIXTURES = Path(__file__).parent / "fixtures"
CHECKPOINT = FIXTURES / "sat_ckpt"
STATES = CHECKPOINT / "1" / "mp_rank_00_model_states.pt"
TABLE = f"{PREFIX}mixins.pos_embed.pos_embedding"
SIZE = TransformerSize(
    layers=3, heads=2, head_dim=32, text_dim=48, text_length=7, time_dim=32, base_height=8, base_width=12,
    head_norm_eps=1e-6,
)  # fmt: skip


def fixture(name):
    return load_file(FIXTURES / f"{name}.safetensors")


def close(ours, theirs, atol):
    torch.testing.assert_close(ours.to(theirs.dtype), theirs, rtol=0, atol=atol)


def weights():
    """The tensors of the original checkpoint by their own names."""
    return torch.load(STATES, weights_only=True)["module"]


def model(overrides=None, *, without=(), size=None):
    """The original tiny model; its images are already projected. Weights can be replaced or omitted."""
    if not overrides and not without:
        return load_denoiser(CHECKPOINT, size=size)
    changed = weights() | {PREFIX + name: weight for name, weight in (overrides or {}).items()}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "states.pt"
        torch.save({"module": {key: weight for key, weight in changed.items() if key not in without}}, path)
        return load_denoiser(path, size=size)


FORWARDS = [
    ("out_ref", 3, "ref_image", 1.0),
    ("out_ref_257", 3, "ref_image_257", 1.0),
    ("out_ref_1_latent_frame", 1, "ref_image", 1.0),
    ("out_ref_2_latent_frames", 2, "ref_image", 1.0),
    ("out_ref_zeros", 3, "zeros", 1.0),
    ("out_no_cross_attention", 3, None, 1.0),
    ("out_no_cross_attention", 3, "ref_image", 0.0),
]


@pytest.mark.parametrize(("out", "frames", "reference", "scale"), FORWARDS)
def test_forward(out, frames, reference, scale):
    given = fixture("forward")
    given["zeros"] = torch.zeros_like(given["ref_image"])
    denoiser = model()
    references = None if reference is None else denoiser.references(given[reference], scale=scale)
    ours = denoiser(given["x"][:, :frames], given["timesteps"], given["context"], references)
    close(ours, given[out], 5e-5)


@pytest.mark.parametrize("size", [None, SIZE])
def test_the_sizes_are_read_off_the_weights(size):
    assert model(size=size).transformer.size == SIZE
    given = fixture("forward")
    bare = model(without=[TABLE], size=size)
    assert bare.transformer.size.spatial_interpolation == 1.875
    close(bare(given["x"], given["timesteps"], given["context"], given["ref_image"]), given["out_ref"], 5e-5)


@pytest.mark.parametrize("probe", ["block_norms", "qk_norms", "norm_final"])
def test_epsilons(probe):
    given, theirs, override = fixture("forward"), fixture("eps_probe"), f"{probe}.override."
    overrides = {name.removeprefix(override): w for name, w in theirs.items() if name.startswith(override)}
    assert {PREFIX + name for name in overrides} <= set(weights())
    ours = model(overrides)(given["x"], given["timesteps"], given["context"], given["ref_image"])
    close(ours, theirs[f"{probe}.out"], 5e-5)


def test_every_step_on_the_way():
    given, denoiser, seen = fixture("forward"), model(), {}
    tiny = denoiser.transformer
    blocks, head = tiny.trunk.blocks, tiny.head
    watched = {
        "emb": tiny.time_embedding,
        "patch_proj_conv": tiny.patch_embedding.projection,
        "text_proj": tiny.text_embedding,
        "block0_qkv": blocks[0].attention.query_key_value,
        "block0_q_after_ln": blocks[0].attention.query_norm,
        "block0_k_after_ln": blocks[0].attention.key_norm,
        "block0_self_attention_out": blocks[0].attention.out,
        "block0_cross_attention_out": blocks[0].reference,
        "block0_mlp_out": blocks[0].mlp,
        **{f"after_block{i}": block for i, block in enumerate(blocks)},
        "after_final_layernorm": head.norm,
        "after_norm_final": head.video_norm,
        "final_linear_out": head.out,
    }

    def keep(name, module, inputs, output):
        seen[name] = output

    for name, module in watched.items():
        module.register_forward_hook(partial(keep, name))
    tiny.trunk.register_forward_pre_hook(lambda module, inputs: seen.update(embedded_plus_pos=inputs[0]))
    denoiser(given["x"], given["timesteps"], given["context"], given["ref_image"])
    assert set(seen) == {name.removeprefix("inter.") for name in given if name.startswith("inter.")}
    for name, ours in seen.items():
        close(ours.reshape(given[f"inter.{name}"].shape), given[f"inter.{name}"], 5e-5)
    tiny(given["x"], given["timesteps"], given["context"])
    close(seen["after_block0"], given["no_cross_after_block0"], 5e-5)


@pytest.mark.parametrize("group", ["a", "b", "c"])
def test_loss_and_gradients(group):
    theirs, tiny = fixture("loss"), model()
    timesteps = theirs[f"{group}.idx"]
    velocity = tiny(theirs[f"{group}.x_t"], timesteps, theirs["context"], theirs["ref_image"])
    close(velocity, theirs[f"{group}.network_out"], 5e-5)
    losses = velocity_loss(velocity, theirs["x0"], noise=theirs["noise"], timesteps=timesteps, schedule=scaled_linear())
    close(losses, theirs[f"{group}.loss_per_sample"], 5e-5)
    losses.mean().backward()
    ours = {theirs: name for name, theirs in adapter_names(3).items()}
    gradients = {name.removeprefix("a.grad."): g for name, g in theirs.items() if name.startswith(f"{group}.grad.")}
    assert len(gradients) == (12 if group == "a" else 0)
    for name, gradient in gradients.items():
        close(tiny.adapter.get_parameter(ours[name]).grad, gradient, 5e-5)


def test_timesteps():
    """The same operations as in diffusers, bit-exact. The fixture is from another machine, whose `exp` may round
    differently: an angle t * exp(x) is known to two units in the last place, and what the layers make of that follows.
    """
    theirs, tiny = fixture("embeddings"), model().transformer
    timesteps = theirs["timesteps"]
    angle_error = float(2 * torch.finfo(torch.float32).eps * timesteps.max())
    for width in (64, 1920):
        ours = timestep_embedding(timesteps, width)
        assert torch.equal(ours, get_timestep_embedding(timesteps, width, flip_sin_to_cos=True, downscale_freq_shift=0))
        close(ours, theirs[f"timestep_embedding_dim{width}"], angle_error)
    hidden, out = (layer.weight.detach().abs() for layer in (tiny.time_embedding.hidden, tiny.time_embedding.out))
    spread = 1.1 * (out @ hidden.sum(dim=1)).max()  # SiLU is nowhere steeper than 1.1
    close(tiny.time_embedding(timesteps), theirs["time_embed_mlp_out_dim32"], float(angle_error * spread))


def test_positions_are_the_originals_bit_for_bit():
    theirs = fixture("embeddings")
    close(sincos_table(Grid(3, 4, 6), 64, 1.875, 1.0), theirs["pos_embedding_tiny"][0, 7:], 0)
    table = sincos_table(Grid(13, 30, 45), 1920, 1.875, 1.0)
    close(table[theirs["pos_2b_rows_index"]], theirs["pos_2b_rows"], 0)
    close(table.double().sum(dim=1), theirs["pos_2b_row_sums"], 1e-3)
