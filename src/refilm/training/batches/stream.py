"""The sample stream: what a run learns from, sample by sample, numbered from 0 through the whole run.

All that is drawn for sample n - clip, image, caption, timestep, noise, drops - is a function of the seed and of n
alone. So it matters neither how many processes share a batch, nor in how many parts it is computed, nor where a run
was stopped. Knows clips by number; nothing of models.

- Clips: every bucket (clips of one size) is read in rounds, each a fresh permutation that visits every clip once. A
  batch is of one bucket; which, and whether it is of stills, follows a sequence of low discrepancy over the steps.
- Timesteps: 0..1 is cut into as many equal parts as the batch has samples, and every sample takes a place in its own
  part, by the golden ratio's multiples; then through the quantile function of their distribution. So every batch, and
  with batches of one every row of steps, covers all timesteps evenly: losses vary less than with free draws.
- The rest: uniform and normal numbers of the sample's own generator, in a fixed order.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, field_validator, model_validator
from torch import Tensor

from refilm.data.encoding import EncodedClip, Subset
from refilm.settings import Seed, Settings
from refilm.training.batches.curriculum import Lesson, lesson_at, samples_at
from refilm.training.batches.rng import GOLDEN, PLASTIC, kronecker, own_seed, seed_of

Bucket = tuple[int, int, int]
"""Latent frames, height and width of clips."""


class DropSettings(Settings):
    """How often what conditions a clip is left out, so that a transformer that trains can be guided away from it."""

    text: float = Field(default=0.0, ge=0, le=1)
    """Share of clips without their caption."""
    reference: float = Field(default=0.0, ge=0, le=1)
    """Share of clips without their reference image."""
    both: float = Field(default=0.0, ge=0, le=1)
    """Share of clips with neither."""

    @model_validator(mode="after")
    def _possible(self) -> "DropSettings":
        if self.text + self.reference + self.both > 1:
            raise ValueError("text, reference and both are shares of all clips: together they must not be above 1")
        return self


class TimestepSettings(Settings):
    """Which timesteps are learned how often."""

    distribution: Literal["uniform", "logit-normal"] = "uniform"
    """`uniform`, or `logit-normal`: most in the middle (Esser et al. 2024, section 3.1)."""
    mean: float = Field(default=0.0, ge=-20, le=20)
    """Of the normal whose sigmoid the logit-normal is; above 0 means more noise."""
    std: float = Field(default=1.0, gt=0, le=20)
    """Its standard deviation; smaller means more in the middle."""


class ClipLesson(Lesson):
    """Encoded clips, or their first frames."""

    latent_frames: int | None = Field(default=None, ge=1)
    """Latent frames of a clip, at most; 1 is stills, none is all."""


class StreamSettings(Settings):
    """What is drawn from the encoded clips, and how often."""

    RENAMED: ClassVar = {"still_share": "still_fraction"}

    captions: tuple[NonNegativeFloat, ...] | None = None
    """How often each of a clip's captions is taken, by share; none: all as often."""
    drop: DropSettings | None = None
    """None: nothing where an adapter trains alone, and 0.05 each where the transformer's layers train too."""
    timesteps: TimestepSettings = TimestepSettings()
    still_fraction: float = Field(default=0.0, ge=0, le=1)
    """Share of batches that are stills, the clips' first frames: a model that also learns stills keeps them apart from
    motion."""
    curriculum: tuple[ClipLesson, ...]
    seed: Seed = 0

    @field_validator("curriculum")
    @classmethod
    def _learned(cls, lessons: tuple[ClipLesson, ...]) -> tuple[ClipLesson, ...]:
        if not lessons:
            raise ValueError("is empty; give at least one lesson")
        return lessons

    @field_validator("captions")
    @classmethod
    def _some(cls, shares: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if shares is not None and not sum(shares) > 0:
            raise ValueError("give one caption at least a share above 0")
        return shares


@dataclass(frozen=True)
class Batch:
    """A batch of clips with everything that was drawn for them, B rows each."""

    latents: Tensor
    """(B, T, C, h, w), clean."""
    text: Tensor
    """(B, L, D)"""
    reference: Tensor
    """(B, M, E)"""
    timesteps: Tensor
    """(B,)"""
    noise: Tensor
    """Like the latents."""
    text_scale: Tensor
    """(B,), 0 where the caption is dropped."""
    reference_scale: Tensor
    """(B,), 0 where the reference is dropped."""
    mask: Tensor | None = None
    """(B, T, h, w), 0..1: where the subject is; none: nobody said."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; from pinned memory the copy does not wait."""
        if device.type == "cpu":
            return self
        tensors = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return Batch(**{name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()})


class Drawn(NamedTuple):
    """What is drawn for one sample, but for its noise."""

    clip: int
    timestep: int
    caption: float
    """Uniform in 0..1, as the next ones: which of what there is."""
    reference: float
    view: float
    fate: float
    """What is dropped."""
    generator: torch.Generator
    """Where its noise comes from."""


class Stream:
    """The samples of a run.

    Args:
        clips: what is learned from.
        settings: how often what is drawn.
        timesteps: how many there are.

    Raises:
        ValueError: there are no clips, or no lessons.
    """

    def __init__(self, clips: Subset, settings: StreamSettings, *, timesteps: int):
        self.clips, self.settings, self.timesteps = clips, settings, timesteps
        self._buckets = sorted((bucket, indices) for bucket, indices in clips.buckets.items() if len(indices))
        if not self._buckets:
            raise ValueError("there are no clips to learn from: give a data set that holds some")
        self._rounds: dict[tuple[Bucket, int], Tensor] = {}
        samples_at(settings.curriculum, 0)

    def samples(self, step: int) -> range:
        """The numbers of a step's samples."""
        return samples_at(self.settings.curriculum, step)

    def drawn(self, step: int, samples: Sequence[int]) -> list[Drawn]:
        """What is drawn for samples of a step."""
        bucket, _, before = self._at(step)
        ranks = np.asarray(samples, dtype=np.int64) - self.samples(step).start
        places = kronecker(np.asarray(samples, dtype=np.uint64), GOLDEN, seed_of(self.settings.seed, 4))
        evenly = torch.from_numpy((ranks + places) / len(self.samples(step)))
        timesteps = timesteps_at(evenly, self.settings.timesteps, steps=self.timesteps).tolist()
        clips = self._visits(bucket, before + ranks)
        drawn = []
        for n, clip, timestep in zip(samples, clips, timesteps, strict=True):
            generator = torch.Generator().manual_seed(own_seed(self.settings.seed, n))
            caption, reference, view, fate = torch.rand(4, generator=generator).tolist()
            drawn.append(Drawn(clip, timestep, caption, reference, view, fate, generator))
        return drawn

    @torch.autocast("cpu", enabled=False)  # which knows no half precision but its own
    def batch(self, step: int, samples: Sequence[int]) -> Batch:
        """Samples of a step, read and drawn.

        Raises:
            ValueError: a clip has another number of captions than the settings have shares for.
        """
        drawn, frames = self.drawn(step, samples), self._at(step)[1]
        clips = [self.clips[one.clip] for one in drawn]
        read = _read(clips, drawn, frames, self.settings.captions)
        noise = torch.empty(2, *read.mean.shape)
        for row, one in enumerate(drawn):
            for kind in noise:
                kind[row].normal_(generator=one.generator)
        text_scale, reference_scale = drops(torch.tensor([one.fate for one in drawn]), self.settings.drop)
        return Batch(
            latents=read.latents(noise[1]),
            text=read.text.float(),
            reference=read.references.float(),
            timesteps=torch.tensor([one.timestep for one in drawn]),
            noise=noise[0],
            text_scale=text_scale,
            reference_scale=reference_scale,
            mask=read.mask,
        )

    def most(self) -> Bucket:
        """Latent frames, height and width of most clips, in the last lesson."""
        (frames, height, width), _ = max(self._buckets, key=lambda bucket: (len(bucket[1]), bucket[0]))
        return min(frames, self.settings.curriculum[-1].latent_frames or frames), height, width

    def not_finite(self, step: int, samples: Sequence[int]) -> str | None:
        """What of some of a step's samples holds infinities or NaN, and where it is stored; none: nothing."""
        clips = [one.clip for one in self.drawn(step, samples)]
        return next((found for clip in clips if (found := self.clips.not_finite(clip))), None)

    def _at(self, step: int) -> tuple[int, int, int]:
        """A step's bucket, latent frames, and how many samples that bucket has given before.

        Takes time with the steps before it, a millisecond for some hundred thousand, where there are several buckets.
        """
        bucket = 0
        before = self.samples(step).start
        shift = [seed_of(self.settings.seed, 2, kind) for kind in range(2)]
        if len(self._buckets) > 1:
            sizes = np.array([len(indices) for _, indices in self._buckets], dtype=np.float64)
            shares = kronecker(np.arange(step + 1, dtype=np.uint64), PLASTIC[0], shift[0])
            which = np.minimum(np.searchsorted(sizes.cumsum() / sizes.sum(), shares, side="right"), len(sizes) - 1)
            bucket = int(which[-1])
            before = int(_batches(self.settings.curriculum, step)[which[:-1] == bucket].sum())
        still = kronecker(np.array([step], dtype=np.uint64), PLASTIC[1], shift[1])[0] < self.settings.still_fraction
        frames = self._buckets[bucket][0][0]
        most = 1 if still else lesson_at(self.settings.curriculum, step).latent_frames or frames
        return bucket, min(frames, most), before

    def _visits(self, bucket: int, positions: np.ndarray) -> list[int]:
        """The clips at some places of a bucket's endless row of rounds."""
        size, indices = self._buckets[bucket]
        rounds, places = np.divmod(positions, len(indices))
        orders = {number: self._round(size, number, len(indices)) for number in np.unique(rounds).tolist()}
        self._rounds = {key: order for key, order in self._rounds.items() if key[0] != size or key[1] in orders}
        visits = [int(orders[number][place]) for number, place in zip(rounds.tolist(), places.tolist(), strict=True)]
        return indices[torch.tensor(visits)].tolist()

    def _round(self, bucket: Bucket, number: int, size: int) -> Tensor:
        """The order in which a bucket is read in one of its rounds."""
        if (bucket, number) not in self._rounds:
            generator = torch.Generator().manual_seed(seed_of(self.settings.seed, 3, *bucket, number))
            self._rounds[bucket, number] = torch.randperm(size, generator=generator)
        return self._rounds[bucket, number]


def _batches(curriculum: Sequence[Lesson], steps: int) -> np.ndarray:
    """Samples of each of the first steps: (steps,)."""
    ends = np.clip(np.maximum.accumulate([lesson.until for lesson in curriculum[:-1]] or [0]), 0, steps)
    ends = ends[: len(curriculum) - 1].tolist()
    lengths = np.diff([0, *ends, steps])
    return np.repeat([lesson.batch for lesson in curriculum], lengths)


def _read(
    clips: Sequence[EncodedClip], drawn: Sequence[Drawn], frames: int, shares: Sequence[float] | None
) -> EncodedClip:
    """What is drawn of the clips, stacked: like one clip, with an axis of B before all others."""
    text, references = [], []
    for clip, one in zip(clips, drawn, strict=True):
        captions, (images, views) = len(clip.text), clip.references.shape[:2]
        if shares is not None and len(shares) != captions:
            raise ValueError(
                f"diffusion.captions has {len(shares)} shares, but clip {one.clip} has {captions} captions: give one "
                "share a caption, or leave captions out to take all as often"
            )
        text.append(clip.text[_chosen(one.caption, shares or (1.0,) * captions)])
        references.append(clip.references[int(one.reference * images), int(one.view * views)])
    return EncodedClip(
        mean=torch.stack([clip.mean[:frames] for clip in clips]),
        logvar=torch.stack([clip.logvar[:frames] for clip in clips]),
        text=torch.stack(text),
        references=torch.stack(references),
        mask=_masks(clips, frames),
    )


def _masks(clips: Sequence[EncodedClip], frames: int) -> Tensor | None:
    """Where the subjects are, (B, T, h, w); everywhere in a clip of which nobody said; none if nobody said of any."""
    if all(clip.mask is None for clip in clips):
        return None
    return torch.stack(
        [torch.ones(clip.mean[:frames, 0].shape) if clip.mask is None else clip.mask[:frames].float() for clip in clips]
    )


def _chosen(share: float, shares: Sequence[float]) -> int:
    """Which one a uniform number means, where each has its share."""
    ends = list(accumulate(shares))
    return min(bisect(ends, share * ends[-1]), len(shares) - 1)


def drops(fates: Tensor, settings: DropSettings | None) -> tuple[Tensor, Tensor]:
    """What is kept of text and of reference, 1 or 0, by uniform draws (B,): each kind of drop has its own interval."""
    settings = settings or DropSettings()
    edges = torch.tensor([settings.both, settings.text, settings.reference]).cumsum(0)
    kind = torch.bucketize(fates, edges, right=True)
    return ((kind != 0) & (kind != 1)).float(), ((kind != 0) & (kind != 2)).float()


def timesteps_at(shares: Tensor, settings: TimestepSettings, *, steps: int) -> Tensor:
    """The quantiles of the timesteps' distribution: (B,) in 0..1 -> (B,) integers in 0..steps - 1."""
    if settings.distribution == "logit-normal":
        shares = torch.sigmoid(settings.mean + settings.std * torch.special.ndtri(shares.double()))
    return (shares.double() * steps).long().clamp(0, steps - 1)
