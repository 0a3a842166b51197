"""A tiny decoder of latents: TAEHV, in the user's own file, for instance `taecvx` for CogVideoX.

The layers and the keys are those of Ollin Boer Bohan's TAEHV (https://github.com/madebyollin/taehv): every latent frame
becomes four frames in three stages, and each block also reads its own input for the frame before. A video starts with
one frame alone, so the first three are dropped.

Letters: T latent frames, C latent channels, h x w latent pixels; F frames, H x W pixels; N frames within the decoder.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from refilm.arguments import checked
from refilm.backbones.autoencoders import to_pixels
from refilm.errors import UserError
from refilm.geometry import Compression
from refilm.media import Video
from refilm.previews.shapes import require_latents
from refilm.weights.tensors import Piece, TensorFiles, fill, unfilled

WIDTHS = (256, 128, 64, 64)
GROWTH = (1, 2, 2)
"""The number of frames that each stage makes of one."""
BLOCKS = 3
"""Blocks in a stage."""
RANGE = 3.0
"""Latents are limited smoothly to this size."""

Memory = dict[nn.Module, Tensor]
"""The last frame that each block has read."""


class MemoryBlock(nn.Module):
    """A residual block that reads every frame together with the one before it."""

    def __init__(self, width: int):
        super().__init__()
        self.convs = nn.ModuleList(_conv(inputs, width) for inputs in (2 * width, width, width))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w); frame 0 follows the one in `memory`, or none."""
        before = memory.get(self, torch.zeros_like(x[:1]))
        memory[self] = x[-1:]
        first, second, third = self.convs
        y = first(torch.cat([x, torch.cat([before, x[:-1]])], dim=1))
        return F.relu(x + third(F.relu(second(F.relu(y)))))


class Stage(nn.Module):
    """Doubles the size of frames, and makes `growth` frames of each."""

    def __init__(self, width: int, following: int, growth: int):
        super().__init__()
        self.growth = growth
        self.blocks = nn.ModuleList(MemoryBlock(width) for _ in range(BLOCKS))
        self.grow = nn.Conv2d(width, growth * width, 1, bias=False)
        self.out = _conv(width, following, bias=False)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """(N, C, h, w) -> (growth N, C', 2 h, 2 w)."""
        for block in self.blocks:
            x = block(x, memory)
        x = self.grow(F.interpolate(x, scale_factor=2))
        return self.out(rearrange(x, "n (g c) h w -> (n g) c h w", g=self.growth))


class TinyNetwork(nn.Module):
    """The decoder of TAEHV."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = _conv(channels, WIDTHS[0])
        self.stages = nn.ModuleList(
            Stage(*widths, growth) for widths, growth in zip(pairwise(WIDTHS), GROWTH, strict=True)
        )
        self.last = _conv(WIDTHS[-1], 3)

    def forward(self, latents: Tensor, memory: Memory) -> Tensor:
        """(T, C, h, w) -> (4 T, 3, H, W), about 0..1; latents that follow others continue with their `memory`."""
        x = F.relu(self.first(torch.tanh(latents / RANGE) * RANGE))
        for stage in self.stages:
            x = stage(x, memory)
        return self.last(F.relu(x))


class TinyDecoder:
    """A `Preview` of all frames in full size. Create one with `load`.

    Args:
        network: the decoder.
        compression: the compression factors of the base model's autoencoder.
        scale: factor from the sampler's latents to those that the network reads.
        at_once: latent frames decoded at a time; fewer need less memory. None: all.
    """

    def __init__(self, network: TinyNetwork, compression: Compression, *, scale: float = 1.0, at_once: int | None = 1):
        self.network, self.compression, self.scale, self.at_once = network, compression, scale, at_once

    @classmethod
    @checked
    def load(
        cls,
        path: Path,
        *,
        channels: int,
        compression: Compression,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> "TinyDecoder":
        """Read a file in TAEHV's layout, .safetensors or .pth; its encoder is not read.

        The file does not say which base model it is for; `taecvx` is for CogVideoX, `taew2_1` for Wan 2.1.

        Args:
            path: the file.
            channels: latent channels of the base model.
            compression: compression factors of its autoencoder.
            scale: factor from the sampler's latents to those that the file's decoder reads.
            dtype: dtype of the weights in memory. Default: as stored.
            device: device of the weights.

        Raises:
            UserError: the file is missing, damaged or in another layout, or does not fit the base model; names the file
                and the key or the value.
        """
        files = TensorFiles([path])
        files.drop(*[key for key in files if key.startswith("encoder.")])
        _require_fit(path, files.shape(_key("first.weight"), dimensions=4)[1], channels, compression)
        with unfilled():
            network = TinyNetwork(channels)
        fill(network, files, {name: (Piece(_key(name)),) for name in network.state_dict()}, dtype=dtype, device=device)
        return cls(network.eval(), compression, scale=scale)

    @torch.no_grad()
    def frames(self, latents: Tensor) -> np.ndarray:
        """(T, C, h, w) -> (F, H, W, 3) uint8. Errors as in `Preview.frames`."""
        require_latents(latents, channels=self.network.first.in_channels)
        own = latents[self.compression.patch_time - 1 :]  # repetitions of the first latent frame are dropped
        dropped = math.prod(GROWTH) - 1
        parts = [to_pixels(part, maker="the tiny decoder")[0].cpu().numpy() for part in self._parts(own)]
        return np.concatenate(parts)[dropped:]

    def video(self, latents: Tensor, fps: float) -> Video:
        """(T, C, h, w) -> F frames of H x W pixels."""
        return Video(self.frames(latents), fps)

    def _parts(self, latents: Tensor) -> Iterator[Tensor]:
        """(T, C, h, w) -> (1, 3, n, H, W), in -1..1, some frames after others."""
        memory: Memory = {}
        weight = self.network.first.weight
        for part in latents.split(self.at_once or len(latents)):
            scaled = part.to(weight.device, weight.dtype) * self.scale
            yield self.network(scaled, memory).transpose(0, 1)[None] * 2 - 1


def _conv(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def _key(name: str) -> str:
    """The key of a weight in TAEHV's files, which number all layers of the decoder, also those without weights."""
    match name.split("."):
        case ["stages", stage, "blocks", block, "convs", conv, kind]:
            return f"decoder.{3 + 6 * int(stage) + int(block)}.conv.{2 * int(conv)}.{kind}"
        case ["stages", stage, "grow", kind]:
            return f"decoder.{7 + 6 * int(stage)}.conv.{kind}"
        case ["stages", stage, "out", kind]:
            return f"decoder.{8 + 6 * int(stage)}.{kind}"
        case [layer, kind]:
            return f"decoder.{1 if layer == 'first' else 22}.{kind}"
    raise AssertionError(name)


def _require_fit(path: Path, stored: int, channels: int, compression: Compression) -> None:
    if stored != channels:
        raise UserError(
            f"{path}: decodes latents with {stored} channels, the base model's have {channels}; use the file for this "
            "base model, for instance taecvx for CogVideoX"
        )
    space, time = 2 ** len(GROWTH), math.prod(GROWTH)
    if (compression.space, compression.time) != (space, time):
        raise UserError(
            f"{path}: decodes {space} x {space} pixels and {time} frames from a latent pixel, the base model's stands "
            f"for {compression.space} x {compression.space} and {compression.time}; use its linear preview"
        )
