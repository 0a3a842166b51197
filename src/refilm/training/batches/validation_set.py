"""The samples of the validation set: clip, timestep and noise are functions of a sample's number only.

So two validations of the same weights give the same numbers; a change from one to the next comes from the weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding import EncodedClip, Entry, Subset
from refilm.training.batches.rng import GOLDEN, kronecker, own_seed, seed_of
from refilm.training.batches.stream import Batch
from refilm.training.batches.subjects import Groups, masks, padded, weights
from refilm.training.settings import SubjectSettings

SEED = seed_of(0x7661_6C69_6461_7465) >> 1  # "validate"; no training sample has the same generator seed


class ValidationBatch(NamedTuple):
    """A batch of samples, with a reference of another subject for each."""

    batch: Batch
    wrong: Tensor | None
    """(B, S, M, E), references of other subjects; None if all clips show the same subjects."""


@dataclass(frozen=True)
class ValidationSamples:
    """Validation samples: nothing is dropped and references are not augmented."""

    clips: Subset
    count: int
    timesteps: int
    """Number of timesteps of the noise schedule; any range of samples covers them evenly."""
    captions: Sequence[float] | None
    """Relative frequencies of a clip's captions; the most frequent is used. None: the first caption."""
    frames: int | None
    """Maximum latent frames of a clip; None: all."""
    subjects: SubjectSettings
    """Of several subjects none is dropped, and all are limited to their masks if training does that at all."""

    def batches(self, size: int) -> Iterator[ValidationBatch]:
        """All samples in batches of at most `size`, each of clips of one size."""
        chosen = self._chosen
        wrong_of = others([self._names(group) for group in chosen])
        for _, indices in sorted(self.clips.buckets.items()):
            inside = set(indices.tolist())
            numbers = [number for number, group in enumerate(chosen) if group[0] in inside]
            for first in range(0, len(numbers), size):
                rows = numbers[first : first + size]
                wrong = None
                if wrong_of is not None:
                    wrong = self._images([_repeated(chosen[wrong_of[n]], len(chosen[n])) for n in rows], rows)
                yield ValidationBatch(self._batch([chosen[n] for n in rows], rows), wrong)

    def not_finite(self) -> str | None:
        """The first non-finite tensor among the clips, and its file; None: all are finite."""
        clips = sorted({clip for group in self._chosen for clip in group})
        return next((found for clip in clips if (found := self.clips.not_finite(clip))), None)

    @cached_property
    def _groups(self) -> Groups:
        return Groups(self.clips, self.subjects.most)

    @cached_property
    def _firsts(self) -> list[int]:
        return self._groups.firsts(np.arange(len(self.clips))).tolist()

    @cached_property
    def _chosen(self) -> list[list[int]]:
        """The clips of each sample, one per subject."""
        firsts = (self._firsts[place] for place in chosen_clips(len(self._firsts), self.count))
        return [self._groups.clips(first)[: self.subjects.most] for first in firsts]

    def _names(self, group: Sequence[int]) -> str:
        return " and ".join(sorted(subject_of(self.clips.entries[clip]) for clip in group))

    def _batch(self, groups: Sequence[Sequence[int]], numbers: Sequence[int]) -> Batch:
        caption = 0 if self.captions is None else int(np.argmax(self.captions))
        clips = [[self.clips[clip] for clip in group] for group in groups]
        read, most = [row[0] for row in clips], self.subjects.most
        latents, noise = zip(*(self._noised(clip, n) for clip, n in zip(read, numbers, strict=True)), strict=True)
        positions = kronecker(np.array(numbers, dtype=np.uint64), GOLDEN, GOLDEN >> 1)
        ones, reference = torch.ones(len(numbers)), self._images(groups, numbers)
        return Batch(
            latents=torch.stack(latents),
            text=torch.stack([clip.text[caption].float() for clip in read]),
            reference=reference,
            timesteps=torch.from_numpy(positions * self.timesteps).long(),
            noise=torch.stack(noise),
            text_scale=ones,
            reference_scale=ones,
            mask=torch.ones(len(numbers), *latents[0][:, 0].shape),
            weight=weights([len(group) for group in groups], most, reference.shape[2]),
            where=masks(clips, len(latents[0]), most) if self.subjects.masks else None,
        )

    def _noised(self, clip: EncodedClip, number: int) -> tuple[Tensor, Tensor]:
        """A sample's latents, sampled from the posterior, and the noise that is added to them."""
        generator = torch.Generator().manual_seed(own_seed(SEED, number))
        mean, logvar = clip.mean[: self.frames].float(), clip.logvar[: self.frames].float()
        noise = torch.randn(mean.shape, generator=generator)
        return mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=generator), noise

    def _images(self, groups: Sequence[Sequence[int]], numbers: Sequence[int]) -> Tensor:
        """Tokens of one reference of each clip of some samples, (B, S, M, E)."""
        rounds = (number // len(self._firsts) for number in numbers)
        rows = [[_image(self.clips[clip], turn) for clip in group] for group, turn in zip(groups, rounds, strict=True)]
        return padded(rows, self.subjects.most)


def _image(clip: EncodedClip, turn: int) -> Tensor:
    return clip.references[turn % len(clip.references), 0].float()


def _repeated(group: Sequence[int], count: int) -> list[int]:
    return [group[place % len(group)] for place in range(count)]


def chosen_clips(clips: int, samples: int) -> list[int]:
    """The clip of each sample: all clips in rounds, or, with more clips than samples, evenly spaced clips."""
    if clips >= samples:
        return [n * clips // samples for n in range(samples)]
    rounds = range(-(-samples // clips))
    orders = (torch.randperm(clips, generator=torch.Generator().manual_seed(number)) for number in rounds)
    return torch.cat(list(orders))[:samples].tolist()


def subject_of(entry: Entry) -> str:
    """The subject of a clip; without one, clips of the same video count as one subject."""
    return entry.source if entry.subject is None else f"subject {entry.subject}"


def others(subjects: Sequence[str]) -> list[int] | None:
    """For each subject, the cyclically next index of a different one; None if all are the same."""
    if len(set(subjects)) < 2:
        return None
    count = len(subjects)
    ahead = ([(n + step) % count for step in range(1, count)] for n in range(count))
    return [next(m for m in places if subjects[m] != subjects[n]) for n, places in enumerate(ahead)]
