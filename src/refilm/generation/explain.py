"""Heat maps of the attention from a video to its reference image, as a video and a contact sheet.

Each position in the image has a color. A part of the video glows in the color of the patches it attends to; the
brightness shows how much its attention differs from that of the whole video. The image glows, in the same colors, where
a frame attends to it.

Letters: F frames, H x W pixels; T x h x w video tokens; P x P patches of the image, S x S pixels.
This module draws arrays; `attention_maps` records the weights.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from refilm.generation.attention_maps import information
from refilm.media import Video

SHORTER_SIDE = 256  # minimum size of a panel in pixels
FAINTEST = 0.05  # minimum number of bits for full brightness, so that noise stays dark
GAP = 12  # pixels between panels
DIM = 0.35  # brightness of the gray video or image behind the colors
COLUMNS = 5  # frames on the sheet
GROUND, INK = (16, 16, 18), (225, 225, 225)


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
        panels = (np.concatenate(_spaced(self._panels(f)), axis=1) for f in range(len(self.video.frames)))
        return Video(np.stack([*panels]), self.video.fps)

    def sheet(self) -> Image.Image:
        """A contact sheet with captions: the image, its color chart, and some frames of `side_by_side`."""
        frames = np.linspace(0, len(self.video.frames) - 1, min(COLUMNS, len(self.video.frames))).round().astype(int)
        rows = zip(*(self._panels(int(frame)) for frame in frames), strict=True)
        everywhere, average = np.ones(self.light.shape[1:]), self.light.mean(axis=0)
        firsts = (self._square(self.image), self._lit(everywhere), self._lit(average))
        captions = (
            "reference image, and frames of the video",
            "image positions by color, and the attention of each part of the video",
            "attended parts of the image, over the video and per frame",
        )
        return _stacked([[first, *row] for first, row in zip(firsts, rows, strict=True)], captions)

    def save(self, path: Path | str) -> list[Path]:
        """Write both next to the video `path`: `name.attention.mp4` (.gif for a .gif video) and `name.attention.png`.

        Raises:
            UserError: the folder does not exist.
        """
        path = Path(path)
        video, sheet = (path.with_name(f"{path.stem}.attention{suffix}") for suffix in (self._suffix(path), ".png"))
        self.side_by_side().save(video)
        self.sheet().save(sheet)
        return [video, sheet]

    @staticmethod
    def _suffix(path: Path) -> str:
        return ".gif" if path.suffix.lower() == ".gif" else ".mp4"

    @cached_property
    def bits(self) -> Tensor:
        """Information of each attention weight relative to the video's mean: (T, h, w, P, P)."""
        return information(self.attention.flatten(0, 2).flatten(1)).view_as(self.attention)

    @cached_property
    def glow(self) -> np.ndarray:
        """Brightness of each video token, 0..1: (T, h, w)."""
        return _scaled(self.bits.sum(dim=(3, 4)))

    @cached_property
    def light(self) -> np.ndarray:
        """Brightness of each image patch in a latent frame, 0..1: (T, P, P)."""
        return _scaled(self.bits.mean(dim=(1, 2)) * self.bits[0, 0, 0].numel())

    @cached_property
    def colors(self) -> np.ndarray:
        """The color of the patches that each video token attends to, 0..1: (T, h, w, 3)."""
        legend = torch.from_numpy(color_chart(self.attention.shape[-1])).to(self.bits)
        # squared, so that the most informative patch dominates instead of the mean of several
        weights = self.bits.flatten(3).clamp_min(0).square() + 1e-12
        return (weights @ legend.flatten(0, 1) / weights.sum(-1, keepdim=True)).numpy()

    def _panels(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        t = -(-frame // self._stride)
        pixels = self._enlarged(self.video.frames[frame])
        return pixels, _glowing(pixels, self.colors[t], self.glow[t]), self._lit(self.light[t])

    @property
    def _stride(self) -> int:
        """Number of frames per latent frame, except for the first latent frame, which is one frame."""
        return max(1, (len(self.video.frames) - 1) // max(1, len(self.attention) - 1))

    def _enlarged(self, frame: np.ndarray) -> np.ndarray:
        scale = math.ceil(SHORTER_SIDE / min(SHORTER_SIDE, *frame.shape[:2]))
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)

    def _square(self, image: np.ndarray) -> np.ndarray:
        side = len(self._enlarged(self.video.frames[0]))
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))

    def _lit(self, light: np.ndarray) -> np.ndarray:
        return _glowing(self._square(self.image), color_chart(self.attention.shape[-1]), light)


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


def _scaled(values: Tensor) -> np.ndarray:
    """Scale to 0..1: values from the 95th percentile up are 1, but none below a quarter of the maximum."""
    full = max(values.flatten().quantile(0.95).item(), values.max().item() / 4, FAINTEST)
    return (values / full).clamp(0, 1).float().numpy()


def _glowing(pixels: np.ndarray, colors: np.ndarray, glow: np.ndarray) -> np.ndarray:
    """Blend colors over a gray frame or image: (H, W, 3) uint8, (h, w, 3), (h, w) -> (H, W, 3) uint8."""
    # premultiplied, so that dark patches add no color
    layers = np.concatenate([colors * glow[..., None], glow[..., None]], axis=-1)
    smooth = torch.from_numpy(layers).float().permute(2, 0, 1)[None]
    smooth = F.interpolate(smooth, pixels.shape[:2], mode="bilinear")[0].permute(1, 2, 0).numpy()
    gray = pixels @ np.array([0.2126, 0.7152, 0.0722]) / 255
    painted = smooth[..., :3] * (0.65 + 0.35 * gray[..., None]) + (1 - smooth[..., 3:]) * DIM * gray[..., None]
    return (np.clip(painted, 0, 1) * 255).round().astype(np.uint8)


def _spaced(panels: tuple[np.ndarray, ...] | list[np.ndarray]) -> list[np.ndarray]:
    gap = np.full((len(panels[0]), GAP, 3), GROUND, dtype=np.uint8)
    return [part for panel in panels for part in (panel, gap)][:-1]


def _stacked(rows: list[list[np.ndarray]], captions: tuple[str, ...]) -> Image.Image:
    """Stack rows of panels with a caption above each."""
    strips = [np.concatenate(_spaced(row), axis=1) for row in rows]
    font, line = ImageFont.load_default(size=18), 34
    width = max(strip.shape[1] for strip in strips) + 2 * GAP
    sheet = Image.new("RGB", (width, sum(len(strip) + line for strip in strips) + GAP), GROUND)
    draw, top = ImageDraw.Draw(sheet), 0
    for strip, caption in zip(strips, captions, strict=True):
        draw.text((GAP, top + line / 2), caption, fill=INK, font=font, anchor="lm")
        sheet.paste(Image.fromarray(strip), (width - GAP - strip.shape[1], top + line))
        top += line + len(strip)
    return sheet
