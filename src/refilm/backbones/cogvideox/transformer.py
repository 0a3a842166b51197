"""CogVideoX's text-to-video diffusion transformer, at any size (Yang et al. 2024, arXiv 2408.06072).

Letters: B samples, T latent frames, C latent channels, h x w latent pixels; a token covers s latent frames of p x q
of them; S text tokens, N video tokens, L = S + N; M reference tokens; D channels per token, E channels of the time
embedding.
Depends on torch only: no files, no models of other libraries.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from refilm.backbones.cogvideox.attention import JointAttention
from refilm.backbones.cogvideox.position import RotaryPosition, SincosPosition
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.positions import timestep_embedding
from refilm.geometry import Grid
from refilm.model import Backbone, Block, Conditioning, References, Row, Time, Trunk, conditional_rows


class Transformer(Backbone):
    """Predicts the velocity of latents from a text and, with an attached adapter, a reference image."""

    family = "cogvideox"
    size: TransformerSize

    def __init__(self, size: TransformerSize):
        super().__init__()
        self.size = size  # pyright: ignore[reportIncompatibleVariableOverride] - the family's own sizes
        self.patch_embedding = PatchEmbedding(size) if size.patch_time == 1 else PatchEmbedding3d(size)
        self.text_embedding = nn.Linear(size.text_dim, size.width)
        self.position = SincosPosition(size) if size.position == "sincos" else RotaryPosition(size)
        self.time_embedding = TimeEmbedding(size.width, size.time_dim)
        self.trunk = Trunk(TransformerBlock(size) for _ in range(size.layers))
        self.head = Head(size)

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
        text = self.text_embedding(text)  # (B, S, D)
        video = self.position(self.patch_embedding(latents), grid)  # (B, N, D)
        time = timestep if isinstance(timestep, Time) else Time(self.time_embedding(timestep))
        conditioning = Conditioning(
            time=time.embedding.to(video.dtype),  # (B, E)
            modulations=time.modulations,
            text_length=text.shape[1],
            grid=grid,
            rows=conditional_rows(len(latents)) if rows is None else tuple(rows),
            rotary=self.position.rotary(grid, video),
            references=references,
        )
        x = self.trunk(torch.cat([text, video], dim=1), conditioning)  # (B, L, D)
        return self.head(x, conditioning)  # (B, T, C, h, w)

    def times(self, timesteps: Sequence[float]) -> tuple[Time, ...]:
        embeddings = [self.time_embedding(torch.full((1,), one, device=self.device)) for one in timesteps]
        blocks = (cast(TransformerBlock, block).modulation for block in self.trunk.blocks)
        layers = [[layer(F.silu(one)) for one in embeddings] for layer in (*blocks, self.head.modulation)]
        return tuple(map(Time, embeddings, zip(*layers, strict=True)))

    def compute_positions(self, grid: Grid) -> None:
        token = torch.zeros(1, 1, self.size.width)
        self.position(token, grid)
        self.position.rotary(grid, token)


class PatchEmbedding(nn.Module):
    """Converts latents to video tokens, frame by frame."""

    def __init__(self, size: TransformerSize):
        super().__init__()
        self.projection = nn.Conv2d(size.channels, size.width, kernel_size=size.patch, stride=size.patch)

    def forward(self, latents: Tensor) -> Tensor:
        frames = latents.shape[1]
        patches = self.projection(latents.flatten(0, 1))  # (B T, D, h/p, w/p)
        return rearrange(patches, "(b t) d h w -> b (t h w) d", t=frames)


class PatchEmbedding3d(nn.Module):
    """Converts latents to video tokens that each cover several frames (CogVideoX 1.5)."""

    def __init__(self, size: TransformerSize):
        super().__init__()
        self.patch, self.patch_time = size.patch, size.patch_time
        self.projection = nn.Linear(size.channels * size.patch_time * size.patch**2, size.width)

    def forward(self, latents: Tensor) -> Tensor:
        s, p = self.patch_time, self.patch
        patches = rearrange(latents, "b (t s) c (h p) (w q) -> b (t h w) (c s p q)", s=s, p=p, q=p)
        return self.projection(patches)  # (B, N, D)


class TimeEmbedding(nn.Module):
    """Embeds a timestep 0..999 in E channels."""

    def __init__(self, width: int, time_dim: int):
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(width, time_dim)
        self.out = nn.Linear(time_dim, time_dim)

    def forward(self, timestep: Tensor) -> Tensor:
        sinusoids = timestep_embedding(timestep, self.width).to(self.hidden.weight.dtype)  # (B, D)
        return self.out(F.silu(self.hidden(sinusoids)))


class TransformerBlock(Block):
    """Joint attention over text and video, reference attention on the video, MLP; time modulates and gates them."""

    def __init__(self, size: TransformerSize):
        super().__init__()
        width = size.width
        self.modulation = nn.Linear(size.time_dim, 12 * width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-5)
        self.attention = JointAttention(width, size.heads)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-5)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        attention, mlp = self.modulations(conditioning)
        x = x + attention.gated(self.attention(attention.shifted(self.attention_norm(x)), conditioning.rotary))
        x = self.attend_to_references(x, conditioning)
        return x + mlp.gated(self.mlp(mlp.shifted(self.mlp_norm(x))))

    def modulations(self, conditioning: Conditioning) -> tuple["Modulation", "Modulation"]:
        """The modulations of attention and MLP; in the weights the values for video come before those for text."""
        given = conditioning.modulations
        values = (given[0] if given else self.modulation(F.silu(conditioning.time)))[:, None]  # (B, 1, 12 D)
        video, text = rearrange(values, "b one (who what d) -> who what b one d", who=2, what=6)
        length = conditioning.text_length
        return Modulation(text[:3], video[:3], length), Modulation(text[3:], video[3:], length)


class Modulation:
    """Shift, scale and gate, separate for text and video tokens (adaLN; Peebles and Xie 2022, section 3.2)."""

    def __init__(self, text: Tensor, video: Tensor, text_length: int):
        self.text, self.video, self.text_length = text, video, text_length  # (3, B, 1, D) each

    def shifted(self, x: Tensor) -> Tensor:
        """x (1 + scale) + shift: (B, L, D) -> (B, L, D)."""
        text, video = self._split(x)
        text = torch.addcmul(self.text[0], text, 1 + self.text[1])
        return torch.cat([text, torch.addcmul(self.video[0], video, 1 + self.video[1])], dim=1)

    def gated(self, x: Tensor) -> Tensor:
        """gate x: (B, L, D) -> (B, L, D)."""
        text, video = self._split(x)
        return torch.cat([self.text[2] * text, self.video[2] * video], dim=1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.text_length], x[:, self.text_length :]


class Head(nn.Module):
    """Tokens to velocity: norm over all tokens, modulated norm over video tokens, linear layer, un-patchify."""

    def __init__(self, size: TransformerSize):
        super().__init__()
        self.patch, self.patch_time = size.patch, size.patch_time
        self.norm = nn.LayerNorm(size.width, eps=1e-5)
        self.video_norm = nn.LayerNorm(size.width, eps=size.head_norm_eps)
        self.modulation = nn.Linear(size.time_dim, 2 * size.width)
        self.out = nn.Linear(size.width, size.patch_time * size.patch**2 * size.channels)

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        video = self.norm(x)[:, conditioning.text_length :]  # (B, N, D)
        given = conditioning.modulations
        values = given[-1] if given else self.modulation(F.silu(conditioning.time))
        shift, scale = values[:, None].chunk(2, dim=-1)
        return self.unpatchify(self.out(self.video_norm(video) * (1 + scale) + shift), conditioning.grid)

    def unpatchify(self, patches: Tensor, grid: Grid) -> Tensor:
        """(B, N, C s p q), channels outermost -> (B, T, C, h, w)."""
        return rearrange(
            patches,
            "b (t h w) (c s p q) -> b (t s) c (h p) (w q)",
            t=grid.frames,
            h=grid.height,
            s=self.patch_time,
            p=self.patch,
            q=self.patch,
        )
