"""Wan 2.1's text-to-video diffusion transformer, at any size (Wan Team 2025, arXiv:2503.20314, section 4.2).

Letters: B rows, T latent frames, C latent channels, h x w latent pixels; S text tokens, N video tokens; D channels per
token. Only video tokens pass through the trunk; every block reads the text by cross-attention.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from refilm.backbones.positions import PlacedTables, timestep_embedding
from refilm.backbones.wan.attention import TextAttention, VideoAttention
from refilm.backbones.wan.position import rotary_angles
from refilm.backbones.wan.sizes import WanSize
from refilm.geometry import Grid
from refilm.model import Backbone, Block, Conditioning, References, Row, Time, Trunk, conditional_rows
from refilm.model.conditioning import of_rows


@dataclass(frozen=True, eq=False, kw_only=True)
class WanConditioning(Conditioning):
    """The conditions of one forward, with the text and the modulation that all blocks share."""

    text: Tensor
    """(B, S, D)"""
    modulation: Tensor
    """(B, 6, D): of the time, to which each block adds its table."""

    def select(self, which: Tensor) -> Self:
        """The conditions of a subset of the rows."""
        return replace(super().select(which), text=self.text[which], modulation=of_rows(self.modulation, which))


class WanTransformer(Backbone):
    """Predicts the velocity of latents from a text and, with an attached adapter, a reference image."""

    family = "wan"
    size: WanSize

    def __init__(self, size: WanSize):
        super().__init__()
        self.size = size  # pyright: ignore[reportIncompatibleVariableOverride] - the family's own sizes
        patch = (1, size.patch, size.patch)
        self.patch_embedding = nn.Conv3d(size.channels, size.width, kernel_size=patch, stride=patch)
        self.text_embedding = nn.Sequential(
            nn.Linear(size.text_dim, size.width), nn.GELU(approximate="tanh"), nn.Linear(size.width, size.width)
        )
        self.time_embedding = TimeEmbedding(size)
        self.modulation = nn.Linear(size.width, 6 * size.width)
        self.trunk = Trunk(WanBlock(size) for _ in range(size.layers))
        self.head = Head(size)
        self._placed = PlacedTables()

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor | Time,
        text: Tensor,
        references: References | None = None,
        *,
        rows: Sequence[Row] | None = None,
    ) -> Tensor:
        grid = self.size.grid(latents.shape[1], *latents.shape[-2:])
        self.require_fit(references, batch=len(latents), grid=grid)
        video = self.patch_embedding(latents.transpose(1, 2)).flatten(2).transpose(1, 2)  # (B, N, D)
        time = timestep if isinstance(timestep, Time) else self._time(timestep, video.dtype)
        cos, sin = self._placed(grid, self._rotary, device=video.device, dtype=torch.float32)
        conditioning = WanConditioning(
            time=time.embedding,  # (B, D)
            text_length=0,
            grid=grid,
            rows=conditional_rows(len(latents)) if rows is None else tuple(rows),
            rotary=(cos, sin),
            references=references,
            text=self.text_embedding(text),
            modulation=time.modulations[0].unflatten(1, (6, -1)),
        )
        return self.head(self.trunk(video, conditioning), conditioning)  # (B, T, C, h, w)

    def times(self, timesteps: Sequence[float]) -> tuple[Time, ...]:
        return tuple(self._time(torch.full((1,), one, device=self.device)) for one in timesteps)

    def _time(self, timestep: Tensor, dtype: torch.dtype | None = None) -> Time:
        embedding = self.time_embedding(timestep).to(dtype)
        return Time(embedding, (self.modulation(F.silu(embedding)),))

    def compute_positions(self, grid: Grid) -> None:
        self._rotary(grid)

    def _rotary(self, grid: Grid) -> tuple[Tensor, Tensor]:
        return rotary_angles(grid, self.size.head_dim)


class TimeEmbedding(nn.Module):
    """Embeds the level of noise, 0..1000, in D channels."""

    def __init__(self, size: WanSize):
        super().__init__()
        self.frequencies = size.frequencies
        self.hidden = nn.Linear(size.frequencies, size.width)
        self.out = nn.Linear(size.width, size.width)

    def forward(self, timestep: Tensor) -> Tensor:
        """(B,) -> (B, D)"""
        sinusoids = timestep_embedding(timestep, self.frequencies).to(self.hidden.weight.dtype)
        return self.out(F.silu(self.hidden(sinusoids)))


class WanBlock(Block):
    """Attention over the video, to the text and to the references, then the MLP; time modulates the first and the last.

    Modulation, norms and residuals of gated terms are computed in float32.
    """

    def __init__(self, size: WanSize):
        super().__init__()
        width = size.width
        self.table = nn.Parameter(torch.randn(1, 6, width) / width**0.5)
        self.attention_norm = nn.LayerNorm(width, eps=size.eps, elementwise_affine=False)
        self.attention = VideoAttention(size)
        self.text_norm = nn.LayerNorm(width, eps=size.eps)
        self.text_attention = TextAttention(size)
        self.mlp_norm = nn.LayerNorm(width, eps=size.eps, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, size.hidden), nn.GELU(approximate="tanh"), nn.Linear(size.hidden, width)
        )

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        assert isinstance(conditioning, WanConditioning)
        assert conditioning.rotary is not None
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = (
            self.table.float() + conditioning.modulation.float()
        ).chunk(6, dim=1)  # (B, 1, D) each
        found = self.attention(modulated(self.attention_norm, x, shift, scale), conditioning.rotary)
        x = (x.float() + gate * found).to(x.dtype)
        x = x + self.text_attention(normalized(self.text_norm, x), conditioning.text)
        x = self.attend_to_references(x, conditioning)
        found = self.mlp(modulated(self.mlp_norm, x, mlp_shift, mlp_scale))
        return (x.float() + mlp_gate * found.float()).to(x.dtype)


class Head(nn.Module):
    """Tokens to velocity: modulated norm, linear layer, un-patchify."""

    def __init__(self, size: WanSize):
        super().__init__()
        self.patch = size.patch
        self.table = nn.Parameter(torch.randn(1, 2, size.width) / size.width**0.5)
        self.norm = nn.LayerNorm(size.width, eps=size.eps, elementwise_affine=False)
        self.out = nn.Linear(size.width, size.patch**2 * size.channels)

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        """(B, N, D) -> (B, T, C, h, w); a token's channels are innermost."""
        shift, scale = (self.table.float() + conditioning.time.float()[:, None]).chunk(2, dim=1)
        p, grid = self.patch, conditioning.grid
        return rearrange(
            self.out(modulated(self.norm, x, shift, scale)),
            "b (t h w) (p q c) -> b t c (h p) (w q)",
            t=grid.frames,
            h=grid.height,
            p=p,
            q=p,
        )


def modulated(norm: nn.LayerNorm, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """norm(x) (1 + scale) + shift in float32, returned in the dtype of x."""
    return torch.addcmul(shift, norm(x.float()), 1 + scale).to(x.dtype)


def normalized(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """norm(x) in float32, returned in the dtype of x."""
    assert norm.weight is not None
    return F.layer_norm(x.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps).to(x.dtype)
