"""Transformer and adapter beside tensors made by the original research code."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from refilm.model import Adapter, Transformer
from refilm.model.position import sincos_table, timestep_embedding
from refilm.sizes import AdapterSize, Grid, TransformerSize

from .sat_mapping import renamed

FIXTURES = Path(__file__).parent / "fixtures"
SIZE = TransformerSize(
    layers=3, heads=2, head_dim=32, text_dim=48, text_length=7, time_dim=32, base_height=8, base_width=12,
    head_norm_eps=1e-6,
)  # fmt: skip


def fixture(name):
    return load_file(FIXTURES / f"{name}.safetensors")


def close(ours, theirs, atol):
    torch.testing.assert_close(ours.to(theirs.dtype), theirs, rtol=0, atol=atol)


class Table(nn.Module):
    """A given position table in the place of the computed one."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, video, grid):
        return video + self.table[:, SIZE.text_length :]

    def rotary(self, grid, like):
        return None


def model(overrides=None):
    """The original's tiny model; its pictures come projected already."""
    prefix = "model.diffusion_model."
    weights = {name.removeprefix(prefix): weight for name, weight in fixture("sat_tiny_state_dict").items()}
    assert set(overrides or {}) <= set(weights)
    base, layers = renamed(weights | (overrides or {}))
    transformer, adapter = Transformer(SIZE), Adapter(AdapterSize.of(SIZE))
    adapter.projection = nn.Identity()
    transformer.load_state_dict(base)
    adapter.load_state_dict(layers)
    adapter.attach(transformer)
    if "mixins.pos_embed.pos_embedding" in (overrides or {}):
        transformer.position = Table(overrides["mixins.pos_embed.pos_embedding"])
    return transformer.requires_grad_(False)


@pytest.mark.parametrize(
    ("out", "frames", "reference", "scale"),
    [
        ("out_ref", 3, "ref_image", 1.0),
        ("out_ref_257", 3, "ref_image_257", 1.0),
        ("out_ref_1_latent_frame", 1, "ref_image", 1.0),
        ("out_ref_2_latent_frames", 2, "ref_image", 1.0),
        ("out_ref_zeros", 3, "zeros", 1.0),
        ("out_no_cross_attention", 3, None, 1.0),
        ("out_no_cross_attention", 3, "ref_image", 0.0),
    ],
)
def test_forward(out, frames, reference, scale):
    given = fixture("forward")
    given["zeros"] = torch.zeros_like(given["ref_image"])
    picture = None if reference is None else given[reference]
    ours = model()(given["x"][:, :frames], given["timesteps"], given["context"], picture, reference_scale=scale)
    close(ours, given[out], 5e-5)


@pytest.mark.parametrize("probe", ["block_norms", "qk_norms", "norm_final"])
def test_epsilons(probe):
    given, theirs, override = fixture("forward"), fixture("eps_probe"), f"{probe}.override."
    probed = model({name.removeprefix(override): w for name, w in theirs.items() if name.startswith(override)})
    ours = probed(given["x"], given["timesteps"], given["context"], given["ref_image"])
    close(ours, theirs[f"{probe}.out"], 5e-5)


def test_timesteps():
    theirs, tiny = fixture("embeddings"), model()
    for width in (64, 1920):
        close(timestep_embedding(theirs["timesteps"], width), theirs[f"timestep_embedding_dim{width}"], 0)
    close(tiny.time_embedding(theirs["timesteps"]), theirs["time_embed_mlp_out_dim32"], 1e-6)


def test_positions():
    theirs = fixture("embeddings")
    close(sincos_table(Grid(3, 4, 6), 64, 1.875, 1.0), theirs["pos_embedding_tiny"][0, 7:], 1e-6)
    table = sincos_table(Grid(13, 30, 45), 1920, 1.875, 1.0)
    close(table[theirs["pos_2b_rows_index"]], theirs["pos_2b_rows"], 1e-6)
    close(table.double().sum(dim=1), theirs["pos_2b_row_sums"], 1e-3)
