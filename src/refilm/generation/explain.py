"""Heat maps: which part of the reference image each part of a video looked at, as a video and a contact sheet.

Each place of the image has a color. A part of the video glows in the color of the places it looks at, as brightly as
its look differs from that of the whole video; and the image glows where a frame looks at it, in the same colors.

Letters: F frames, H x W pixels; T x h x w video tokens; P x P patches of the image, S x S pixels.
Knows arrays; `looks` has the numbers.
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

SHORTER_SIDE = 256  # pixels of a panel, at least
FAINTEST = 0.05  # bits that glow fully where nothing tells more: noise stays dark
GAP = 12  # pixels between panels
DIM = 0.35  # how bright a gray video or image stays behind the colors
COLUMNS = 5  # frames on the sheet
GROUND, INK = (16, 16, 18), (225, 225, 225)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where one video looked."""

    video: Video
    """The video."""
    image: np.ndarray
    """The reference as the image encoder saw it, (S, S, 3) uint8."""
    looks: Tensor
    """How each video token's look is shared out over the image's patches: (T, h, w, P, P), sums to 1 over P x P."""

    def side_by_side(self) -> Video:
        """The video, where each part of it looks, and where the image is looked at, side by side."""
        panels = (np.concatenate(_spaced(self._panels(f)), axis=1) for f in range(len(self.video.frames)))
        return Video(np.stack([*panels]), self.video.fps)

    def sheet(self) -> Image.Image:
        """The image, its colors, and some frames of `side_by_side` below each other, with words."""
        frames = np.linspace(0, len(self.video.frames) - 1, min(COLUMNS, len(self.video.frames))).round().astype(int)
        rows = zip(*(self._panels(int(frame)) for frame in frames), strict=True)
        everywhere, on_the_whole = np.ones(self.light.shape[1:]), self.light.mean(axis=0)
        firsts = (self._square(self.image), self._lit(everywhere), self._lit(on_the_whole))
        words = (
            "the image, and frames of the video",
            "its places by color, and where each part of the video looks",
            "where the video looks, and each of the frames",
        )
        return _stacked([[first, *row] for first, row in zip(firsts, rows, strict=True)], words)

    def save(self, path: Path | str) -> list[Path]:
        """Write both beside the video of that name: `name.looks.mp4` (or .gif, if the video is one), `name.looks.png`.

        Raises:
            ValueError: no such folder.
        """
        path = Path(path)
        video, sheet = (path.with_name(f"{path.stem}.looks{suffix}") for suffix in (self._suffix(path), ".png"))
        self.side_by_side().save(video)
        self.sheet().save(sheet)
        return [video, sheet]

    @staticmethod
    def _suffix(path: Path) -> str:
        return ".gif" if path.suffix.lower() == ".gif" else ".mp4"

    @cached_property
    def bits(self) -> Tensor:
        """What each look at each place tells beyond the video's mean look: (T, h, w, P, P)."""
        return information(self.looks.flatten(0, 2).flatten(1)).view_as(self.looks)

    @cached_property
    def glow(self) -> np.ndarray:
        """How decidedly each video token looks, 0..1: (T, h, w)."""
        return _scaled(self.bits.sum(dim=(3, 4)))

    @cached_property
    def light(self) -> np.ndarray:
        """How decidedly each place of the image is looked at in a latent frame, 0..1: (T, P, P)."""
        return _scaled(self.bits.mean(dim=(1, 2)) * self.bits[0, 0, 0].numel())

    @cached_property
    def colors(self) -> np.ndarray:
        """The color of what each video token looks at, 0..1: (T, h, w, 3)."""
        legend = torch.from_numpy(color_chart(self.looks.shape[-1])).to(self.bits)
        told = (
            self.bits.flatten(3).clamp_min(0).square() + 1e-12
        )  # squared: the most telling, not the middle of several
        return (told @ legend.flatten(0, 1) / told.sum(-1, keepdim=True)).numpy()

    def _panels(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        t = -(-frame // self._stride)
        pixels = self._enlarged(self.video.frames[frame])
        return pixels, _glowing(pixels, self.colors[t], self.glow[t]), self._lit(self.light[t])

    @property
    def _stride(self) -> int:
        """Frames of a latent frame; the first stands alone."""
        return max(1, (len(self.video.frames) - 1) // max(1, len(self.looks) - 1))

    def _enlarged(self, frame: np.ndarray) -> np.ndarray:
        scale = math.ceil(SHORTER_SIDE / min(SHORTER_SIDE, *frame.shape[:2]))
        return frame.repeat(scale, axis=0).repeat(scale, axis=1)

    def _square(self, image: np.ndarray) -> np.ndarray:
        side = len(self._enlarged(self.video.frames[0]))
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))

    def _lit(self, light: np.ndarray) -> np.ndarray:
        return _glowing(self._square(self.image), color_chart(self.looks.shape[-1]), light)


def color_chart(side: int) -> np.ndarray:
    """A color for every place of a square: hue is the direction from the center, the center is gray. (P, P, 3), 0..1.

    In OKLCH, where equal steps look equal (Ottosson 2020).
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
    """To 0..1, where the brightest twentieth is 1, but nothing that is less than a quarter of the brightest."""
    full = max(values.flatten().quantile(0.95).item(), values.max().item() / 4, FAINTEST)
    return (values / full).clamp(0, 1).float().numpy()


def _glowing(pixels: np.ndarray, colors: np.ndarray, glow: np.ndarray) -> np.ndarray:
    """Colors over the gray of a video's frame or image: (H, W, 3) uint8, (h, w, 3), (h, w) -> (H, W, 3) uint8."""
    layers = np.concatenate(
        [colors * glow[..., None], glow[..., None]], axis=-1
    )  # premultiplied, so that dark adds none
    smooth = torch.from_numpy(layers).float().permute(2, 0, 1)[None]
    smooth = F.interpolate(smooth, pixels.shape[:2], mode="bilinear")[0].permute(1, 2, 0).numpy()
    gray = pixels @ np.array([0.2126, 0.7152, 0.0722]) / 255
    painted = smooth[..., :3] * (0.65 + 0.35 * gray[..., None]) + (1 - smooth[..., 3:]) * DIM * gray[..., None]
    return (np.clip(painted, 0, 1) * 255).round().astype(np.uint8)


def _spaced(panels: tuple[np.ndarray, ...] | list[np.ndarray]) -> list[np.ndarray]:
    gap = np.full((len(panels[0]), GAP, 3), GROUND, dtype=np.uint8)
    return [part for panel in panels for part in (panel, gap)][:-1]


def _stacked(rows: list[list[np.ndarray]], words: tuple[str, ...]) -> Image.Image:
    """Rows of panels, each with a line of words above."""
    strips = [np.concatenate(_spaced(row), axis=1) for row in rows]
    font, line = ImageFont.load_default(size=18), 34
    width = max(strip.shape[1] for strip in strips) + 2 * GAP
    sheet = Image.new("RGB", (width, sum(len(strip) + line for strip in strips) + GAP), GROUND)
    draw, top = ImageDraw.Draw(sheet), 0
    for strip, told in zip(strips, words, strict=True):
        draw.text((GAP, top + line / 2), told, fill=INK, font=font, anchor="lm")
        sheet.paste(Image.fromarray(strip), (width - GAP - strip.shape[1], top + line))
        top += line + len(strip)
    return sheet
