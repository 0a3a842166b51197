"""The subjects of a sample: which clips they come from, and their references and masks as tensors of a batch.

Clips of the same part of the same video show different subjects of it. Which of them a sample shows, and whether masks
limit them, are functions of the seed and the sample's number, with random numbers apart from those of the sample
stream: samples of a recipe without these settings do not depend on this module.

Letters: B samples, S subjects, M reference tokens of a subject, E channels; T, h, w latent frames and pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding import EncodedClip, Subset
from refilm.training.batches.rng import seed_of
from refilm.training.settings import SubjectSettings


class Shown(NamedTuple):
    """A subject of a sample: the clip it comes from, and uniform numbers in 0..1 that select its reference and view."""

    clip: int
    reference: float
    view: float


class Cast(NamedTuple):
    """The subjects of a sample."""

    subjects: tuple[Shown, ...]
    masked: bool
    """Whether each subject is limited to its mask."""


class Groups:
    """Clips in groups that become one sample each: up to `most` of them show the sample's subjects."""

    def __init__(self, clips: Subset, most: int):
        self.most = most
        self._firsts = clips.firsts if most > 1 else None
        if self._firsts is not None:
            self._order = np.argsort(self._firsts, kind="stable")
            self._sorted = self._firsts[self._order]

    def firsts(self, indices: np.ndarray) -> np.ndarray:
        """Of some clips in order, the first of each group: (n,) -> (m,)."""
        return indices if self._firsts is None else indices[self._firsts[indices] == indices]

    def clips(self, first: int) -> list[int]:
        """All clips of a group, by its first."""
        if self._firsts is None:
            return [first]
        start, end = np.searchsorted(self._sorted, [first, first + 1])
        return self._order[start:end].tolist()


def cast(
    clips: Sequence[int], settings: SubjectSettings, *, seed: int, sample: int, reference: float, view: float
) -> Cast:
    """The subjects of a sample, in random order.

    Args:
        clips: the sample's group.
        settings: how subjects are drawn.
        seed: of the run's samples.
        sample: its number.
        reference: uniform number in 0..1 that selects the reference of the first subject; others have their own.
        view: as `reference`.
    """
    generator = torch.Generator().manual_seed(seed_of(seed, 5, sample))
    masked, dropped, *selecting = torch.rand(2 * settings.most, generator=generator).tolist()
    order = torch.randperm(len(clips), generator=generator).tolist()[: settings.most]
    if len(order) > 1 and dropped < settings.drop:
        order.pop()
    selected = zip([reference, *selecting[::2]], [view, *selecting[1::2]], strict=True)
    subjects = (Shown(clips[place], *numbers) for place, numbers in zip(order, selected, strict=False))
    return Cast(tuple(subjects), masked < settings.masks)


def reference_of(clip: EncodedClip, shown: Shown) -> Tensor:
    """The reference that a subject's numbers select, (M, E)."""
    images, views = clip.references.shape[:2]
    return clip.references[int(shown.reference * images), int(shown.view * views)]


def padded(rows: Sequence[Sequence[Tensor]], most: int) -> Tensor:
    """Tensors of equal shape of each sample's subjects as one, (B, S, ...); zeros for samples with fewer subjects."""
    blank = torch.zeros_like(rows[0][0])
    return torch.stack([torch.stack([*row, *[blank] * (most - len(row))]) for row in rows])


def weights(counts: Sequence[int], most: int, tokens: int) -> Tensor | None:
    """Weights of the reference tokens, (B, S, M): 0 for subjects beyond a sample's count. None: all samples have one
    subject."""
    if most == 1:
        return None
    shown = torch.arange(most) < torch.tensor(counts)[:, None]
    return shown.float()[..., None].expand(-1, -1, tokens).contiguous()


def masks(clips: Sequence[Sequence[EncodedClip]], frames: int, most: int) -> Tensor | None:
    """Masks of the subjects, (B, S, T, h, w); all ones for a clip without a mask, zeros beyond a sample's subjects.
    None: no clip has a mask."""
    if all(clip.mask is None for row in clips for clip in row):
        return None
    return padded([[_mask(clip, frames) for clip in row] for row in clips], most)


def _mask(clip: EncodedClip, frames: int) -> Tensor:
    return torch.ones(clip.mean[:frames, 0].shape) if clip.mask is None else clip.mask[:frames].float()
