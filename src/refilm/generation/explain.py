"""Heat maps of the attention from a video to its reference image, as a video and a contact sheet.

Each position in the image has a color. A part of the video glows in the color of the patches it attends to; the
brightness shows how much its attention differs from that of the whole video. The image glows, in the same colors, where
a frame attends to it.

Letters: F frames, H x W pixels; T x h x w video tokens; P x P patches of the image, S x S pixels.
This module draws arrays; `attention_maps` records the weights.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from refilm.generation.attention_maps import information
from refilm.generation.drawing import Panels, glowing, save_beside, scaled, sheet_frames, side_by_side, stacked
from refilm.media import Video


@dataclass(frozen=True, eq=False)
class Explanation:
    """The attention of one video to its reference image."""

    video: Video
    """The video."""
    image: np.ndarray
    """The reference as preprocessed for the image encoder, (S, S, 3) uint8."""
    attention: Tensor
    """Attention of each video token to the image's patches: (T, h, w, P, P), sums to 1 over P x P."""

    def side_by_side(self) -> Video:
        """The video, its attention by color, and the attended parts of the image, side by side."""
        return side_by_side(self.video, self._panels)

    def sheet(self) -> Image.Image:
        """A contact sheet with captions: the image, its color chart, and some frames of `side_by_side`."""
        rows = zip(*(self._panels(frame) for frame in sheet_frames(self.video)), strict=True)
        everywhere, average = np.ones(self.light.shape[1:]), self.light.mean(axis=0)
        firsts = (self._square(self.image), self._lit(everywhere), self._lit(average))
        captions = (
            "reference image, and frames of the video",
            "image positions by color, and the attention of each part of the video",
            "attended parts of the image, over the video and per frame",
        )
        return stacked([[first, *row] for first, row in zip(firsts, rows, strict=True)], captions)

    def save(self, path: Path | str) -> list[Path]:
        """Write both next to the video `path`: `name.attention.mp4` (.gif for a .gif video) and `name.attention.png`.

        Raises:
            UserError: the folder does not exist.
        """
        return save_beside(Path(path), "attention", self.side_by_side(), self.sheet())

    @cached_property
    def bits(self) -> Tensor:
        """Information of each attention weight relative to the video's mean: (T, h, w, P, P)."""
        return information(self.attention.flatten(0, 2).flatten(1)).view_as(self.attention)

    @cached_property
    def glow(self) -> np.ndarray:
        """Brightness of each video token, 0..1: (T, h, w)."""
        return scaled(self.bits.sum(dim=(3, 4)))

    @cached_property
    def light(self) -> np.ndarray:
        """Brightness of each image patch in a latent frame, 0..1: (T, P, P)."""
        return scaled(self.bits.mean(dim=(1, 2)) * self.bits[0, 0, 0].numel())

    @cached_property
    def colors(self) -> np.ndarray:
        """The color of the patches that each video token attends to, 0..1: (T, h, w, 3)."""
        legend = torch.from_numpy(color_chart(self.attention.shape[-1])).to(self.bits)
        # squared, so that the most informative patch dominates instead of the mean of several
        weights = self.bits.flatten(3).clamp_min(0).square() + 1e-12
        return (weights @ legend.flatten(0, 1) / weights.sum(-1, keepdim=True)).numpy()

    def _panels(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        panels = Panels(self.video, len(self.attention))
        pixels, t = panels.pixels(frame), panels.token_frame(frame)
        return pixels, glowing(pixels, self.colors[t], self.glow[t]), self._lit(self.light[t])

    def _square(self, image: np.ndarray) -> np.ndarray:
        side = len(Panels(self.video, len(self.attention)).pixels(0))
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))

    def _lit(self, light: np.ndarray) -> np.ndarray:
        return glowing(self._square(self.image), color_chart(self.attention.shape[-1]), light)


def color_chart(side: int) -> np.ndarray:
    """A color for every patch of a square, (P, P, 3), 0..1: hue is the direction from the center; the center is gray.

    Computed in OKLCH, which is perceptually uniform (Ottosson 2020).
    """
    across = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = np.meshgrid(across, across, indexing="ij")
    hue, chroma = np.arctan2(y, x), 0.18 * np.minimum(1, np.hypot(x, y)) ** 0.35
    a, b, lightness = chroma * np.cos(hue), chroma * np.sin(hue), 0.8
    cone = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ],
        axis=-1,
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(cone**3 @ to_rgb.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
