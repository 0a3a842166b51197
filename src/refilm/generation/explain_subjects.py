"""Heat maps of several subjects: which subject each part of a video reads, as a video and a contact sheet.

Each subject has a color. A part of the video glows in the color of the subject that it reads, the more the brighter.

Letters: S subjects, N video tokens, M reference tokens, F frames, T x h x w video tokens.
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

COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))
"""Colors that differ for color-blind people, too (Okabe and Ito 2008)."""


@dataclass(frozen=True, eq=False)
class SubjectExplanation:
    """Which subject each part of one video reads."""

    video: Video
    """The video."""
    names: tuple[str, ...]
    """The names of its subjects."""
    presence: Tensor
    """How much each video token reads each subject, (S, T, h, w), 0 or more."""

    def side_by_side(self) -> Video:
        """The video and the subjects that its parts read, side by side."""
        return side_by_side(self.video, self._panels)

    def sheet(self) -> Image.Image:
        """A contact sheet with captions: some frames, and below each the subjects that its parts read."""
        rows = zip(*(self._panels(frame) for frame in sheet_frames(self.video)), strict=True)
        legend = ", ".join(f"{name}: {_word(number)}" for number, name in enumerate(self.names))
        return stacked(
            [list(row) for row in rows], ("frames of the video", f"the subject that each part reads ({legend})")
        )

    def save(self, path: Path | str) -> list[Path]:
        """Write both next to the video `path`: `name.subjects.mp4` (.gif for a .gif video) and `name.subjects.png`.

        Raises:
            UserError: the folder does not exist.
        """
        return save_beside(Path(path), "subjects", self.side_by_side(), self.sheet())

    @cached_property
    def glow(self) -> np.ndarray:
        """Brightness of each video token, 0..1: (T, h, w)."""
        return scaled(self.presence.amax(dim=0))

    @cached_property
    def colors(self) -> np.ndarray:
        """The color of each video token, a mixture of those of the subjects that it reads, 0..1: (T, h, w, 3)."""
        legend = torch.tensor([COLORS[number % len(COLORS)] for number in range(len(self.names))]) / 255.0
        weights = self.presence / self.presence.sum(dim=0).clamp_min(1e-12)
        return torch.einsum("sthw,sc->thwc", weights, legend).numpy()

    def _panels(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        panels = Panels(self.video, self.presence.shape[1])
        pixels, t = panels.pixels(frame), panels.token_frame(frame)
        return pixels, glowing(pixels, self.colors[t], self.glow[t])


def presence_of(weights: Tensor, strengths: Tensor) -> Tensor:
    """How much each video token reads each subject: (S, N, M), (S, N) -> (S, N).

    The information of the token's attention (`information`) times the strength with which it reads the subject: a token
    that attends to the image as all others do shows nothing of it.
    """
    within = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    bits = torch.stack([information(one).sum(dim=1) for one in within])
    return (bits * strengths).clamp_min(0)


def _word(number: int) -> str:
    return ("orange", "blue", "green", "pink", "yellow", "red")[number % len(COLORS)]
