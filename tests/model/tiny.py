"""Tiny transformers in which every weight affects the output."""

from dataclasses import replace

import torch

from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.geometry import AdapterSize
from refilm.model import Adapter

SINCOS = TransformerSize(
    layers=2, heads=2, head_dim=32, text_dim=24, text_length=5, time_dim=16, base_height=8, base_width=12
)  # fmt: skip
ROTARY = replace(SINCOS, position="rotary", heads=3)
SPANNING = replace(ROTARY, patch_time=2, base_height=20, base_width=24)  # like CogVideoX 1.5
REFERENCE_DIM = 20


@torch.no_grad()
def wild(module, seed=0):
    """Fill a module with large weights: with small ones, gates close and hide errors within the tolerance."""
    draw = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        noise = torch.randn(weight.shape, generator=draw)
        modulates = "modulation" in name or ".linear." in name
        if weight.ndim > 1:
            weight.copy_(noise * (1.5 if modulates else 1.0) * weight[0].numel() ** -0.5)
        elif name.endswith("weight"):
            weight.copy_(1 + 0.1 * noise)
        else:
            weight.copy_(noise * (0.4 if modulates else 0.1))
    return module


def transformer(size=SINCOS):
    return wild(Transformer(size)).requires_grad_(False)


def adapter(size=SINCOS, *, trained=True, **options):
    fresh = Adapter(AdapterSize.of(size, reference_dim=REFERENCE_DIM, **options))
    return wild(fresh, seed=1) if trained else fresh


def inputs(size=SINCOS, *, batch=2, frames=3, height=8, width=12, seed=2):
    """Latents of some frames of tokens, timestep, text and the image encoder's tokens."""
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, frames * size.patch_time, size.channels, height, width, generator=draw),
        torch.randint(0, 1000, (batch,), generator=draw),
        torch.randn(batch, size.text_length, size.text_dim, generator=draw),
        torch.randn(batch, 6, REFERENCE_DIM, generator=draw),
    )


def conditioned(adapter, size=SINCOS, *, scale=1.0, dtype=None, **options):
    """Latents, timestep, text and the references that an adapter makes of the tokens."""
    latents, timestep, text, tokens = inputs(size, **options)
    return latents.to(dtype), timestep, text.to(dtype), adapter.references(tokens.to(dtype), scale=scale)
