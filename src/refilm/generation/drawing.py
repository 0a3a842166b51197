"""Drawing of heat maps: frames beside their maps, as videos and as contact sheets. Knows arrays only.

Letters: F frames, H x W pixels, h x w cells of a map.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from refilm.media import Video

SHORTER_SIDE = 256  # minimum size of a panel in pixels
FAINTEST = 0.05  # minimum number of bits for full brightness, so that noise stays dark
GAP = 12  # pixels between panels
DIM = 0.35  # brightness of the gray video or image behind the colors
COLUMNS = 5  # frames on the sheet
GROUND, INK = (16, 16, 18), (225, 225, 225)


@dataclass(frozen=True, eq=False)
class Panels:
    """The frames of a video as panels."""

    video: Video
    """The video."""
    token_frames: int
    """Number of frames of its map."""

    def pixels(self, frame: int) -> np.ndarray:
        """A frame, enlarged to the size of a panel: (H, W, 3) uint8."""
        pixels = self.video.frames[frame]
        scale = math.ceil(SHORTER_SIDE / min(SHORTER_SIDE, *pixels.shape[:2]))
        return pixels.repeat(scale, axis=0).repeat(scale, axis=1)

    def token_frame(self, frame: int) -> int:
        """The frame of the map that covers a frame of the video; the first covers the first frame alone."""
        stride = max(1, (len(self.video.frames) - 1) // max(1, self.token_frames - 1))
        return -(-frame // stride)


def side_by_side(video: Video, panels: Callable[[int], Sequence[np.ndarray]]) -> Video:
    """A video of the panels of each frame, beside each other."""
    return Video(np.stack([np.concatenate(spaced(panels(f)), axis=1) for f in range(len(video.frames))]), video.fps)


def sheet_frames(video: Video) -> list[int]:
    """The frames on a contact sheet: a few, from the first to the last."""
    last = len(video.frames) - 1
    return np.linspace(0, last, min(COLUMNS, last + 1)).round().astype(int).tolist()


def save_beside(path: Path, what: str, video: Video, sheet: Image.Image) -> list[Path]:
    """Write heat maps next to the video `path`: `name.WHAT.mp4` (.gif for a .gif video) and `name.WHAT.png`.

    Raises:
        UserError: the folder does not exist.
    """
    moving = ".gif" if path.suffix.lower() == ".gif" else ".mp4"
    files = [path.with_name(f"{path.stem}.{what}{suffix}") for suffix in (moving, ".png")]
    video.save(files[0])
    sheet.save(files[1])
    return files


def scaled(values: Tensor) -> np.ndarray:
    """Scale to 0..1: values from the 95th percentile up are 1, but none below a quarter of the maximum."""
    full = max(values.flatten().quantile(0.95).item(), values.max().item() / 4, FAINTEST)
    return (values / full).clamp(0, 1).float().numpy()


def glowing(pixels: np.ndarray, colors: np.ndarray, glow: np.ndarray) -> np.ndarray:
    """Blend colors over a gray frame or image: (H, W, 3) uint8, (h, w, 3), (h, w) -> (H, W, 3) uint8."""
    # premultiplied, so that dark patches add no color
    layers = np.concatenate([colors * glow[..., None], glow[..., None]], axis=-1)
    smooth = torch.from_numpy(layers).float().permute(2, 0, 1)[None]
    smooth = F.interpolate(smooth, pixels.shape[:2], mode="bilinear")[0].permute(1, 2, 0).numpy()
    gray = pixels @ np.array([0.2126, 0.7152, 0.0722]) / 255
    painted = smooth[..., :3] * (0.65 + 0.35 * gray[..., None]) + (1 - smooth[..., 3:]) * DIM * gray[..., None]
    return (np.clip(painted, 0, 1) * 255).round().astype(np.uint8)


def spaced(panels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Panels with gaps between them."""
    gap = np.full((len(panels[0]), GAP, 3), GROUND, dtype=np.uint8)
    return [part for panel in panels for part in (panel, gap)][:-1]


def stacked(rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str]) -> Image.Image:
    """Stack rows of panels with a caption above each."""
    strips = [np.concatenate(spaced(row), axis=1) for row in rows]
    font, line = ImageFont.load_default(size=18), 34
    width = max(strip.shape[1] for strip in strips) + 2 * GAP
    sheet = Image.new("RGB", (width, sum(len(strip) + line for strip in strips) + GAP), GROUND)
    draw, top = ImageDraw.Draw(sheet), 0
    for strip, caption in zip(strips, captions, strict=True):
        draw.text((GAP, top + line / 2), caption, fill=INK, font=font, anchor="lm")
        sheet.paste(Image.fromarray(strip), (width - GAP - strip.shape[1], top + line))
        top += line + len(strip)
    return sheet
