"""Videos longer than the model's: overlapping windows in time that are denoised together, step by step.

At every step the model predicts each window on its own, and the predictions are blended where windows overlap
(MultiDiffusion, Bar-Tal et al. 2023, arXiv:2302.08113, there in space; Gen-L-Video, Wang et al. 2023,
arXiv:2305.18264, in time). All windows read the same text and references.

Autoencoders that are causal in time encode the first frame of a video alone, and models expect such a latent frame at
their start. So a window within the video sees the video's first token frame in place of its own first one, whose
prediction it leaves to the window before. This also shows every window the subject as it is in the first.

Letters: B rows, T latent frames, W windows, n token frames of the video, N video tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from refilm.diffusion.guidance import Model
from refilm.errors import UserError
from refilm.model import References, Row, Time, conditional_rows


@dataclass(frozen=True)
class Windows:
    """Windows over the token frames of a video, as evenly spaced as possible.

    Raises:
        UserError: the windows would not advance.
    """

    frames: int
    """Token frames of the video, n."""
    length: int
    """Token frames of a window."""
    overlap: int
    """Token frames that neighbors share at least."""
    patch_time: int = 1
    """Latent frames that a token covers."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.length:
            raise UserError(f"windows of {self.length} token frames cannot overlap by {self.overlap}; use fewer")

    @property
    def starts(self) -> tuple[int, ...]:
        """The first token frame of each window."""
        last = self.frames - self.length
        if last <= 0:
            return (0,)
        steps = math.ceil(last / (self.length - self.overlap))
        return tuple(round(last * step / steps) for step in range(steps + 1))

    def weights(self) -> Tensor:
        """The weight of each window at each token frame, (W, n) float64; they sum to 1 over the windows.

        Weights rise and fall linearly over an overlap, from 0 at the first token frame of a window within the video.
        """
        weights = torch.zeros(len(self.starts), self.frames, dtype=torch.float64)
        ends = [min(start + self.length, self.frames) for start in self.starts]
        for index, (start, end) in enumerate(zip(self.starts, ends, strict=True)):
            weights[index, start:end] = 1
            if index and (shared := ends[index - 1] - start) > 0:
                rising = torch.arange(shared, dtype=torch.float64) / shared
                weights[index, start : start + shared] *= rising
                weights[index - 1, start : start + shared] *= 1 - rising
        return weights / weights.sum(dim=0)

    def seen(self, index: int) -> tuple[int, ...]:
        """The token frames of the video that a window sees: its own, but for the first, if another window covers it."""
        start = self.starts[index]
        covered = index > 0 and start < self.starts[index - 1] + self.length
        return (0 if covered else start, *range(start + 1, min(start + self.length, self.frames)))


def windowed(model: Model, windows: Windows) -> Model:
    """A model of long videos from a model of short ones; a video of one window is given to the model as it is.

    It costs as many transformer passes as there are windows, one after another, and the memory of one.
    """
    if len(windows.starts) == 1:
        return model
    placed: dict[tuple[torch.device, torch.dtype], list[_Window]] = {}

    def run(
        latents: Tensor,
        timesteps: Tensor | Time,
        text: Tensor,
        references: References | None,
        /,
        *,
        rows: Sequence[Row] | None = None,
    ) -> Tensor:
        total = torch.zeros_like(latents, dtype=torch.promote_types(latents.dtype, torch.float32))
        rows = conditional_rows(len(latents)) if rows is None else rows
        if (key := (total.device, total.dtype)) not in placed:  # once per run
            placed[key] = _placed(windows, total)
        for start, frames, weight in placed[key]:
            here = None if references is None else references.in_frames(frames, of=windows.frames)
            own = [row._replace(window=start) for row in rows]
            part = latents.unflatten(1, (windows.frames, windows.patch_time))[:, frames].flatten(1, 2)
            velocity = model(part, timesteps, text, here, rows=own)  # (B, T of the window, C, h, w)
            first = start * windows.patch_time
            total[:, first : first + len(weight)] += weight[:, None, None, None] * velocity
        return total

    return run


class _Window(NamedTuple):
    """A window on a device."""

    start: int
    """Its first token frame within the video."""
    frames: Tensor
    """The token frames of the video that it sees, (n,)."""
    weight: Tensor
    """Its weight at each of its latent frames, (T,)."""


def _placed(windows: Windows, like: Tensor) -> list[_Window]:
    """The windows on the device and with weights in the dtype of `like`."""
    placed = []
    for index, (start, weight) in enumerate(zip(windows.starts, windows.weights(), strict=True)):
        seen = windows.seen(index)
        own = weight[start : start + len(seen)].repeat_interleave(windows.patch_time)
        placed.append(_Window(start, torch.tensor(seen, device=like.device), own.to(like)))
    return placed
