"""The sample stream: the training samples of a run, numbered from 0 through the whole run.

Everything random in sample n - clip, image, caption, timestep, noise, drops - is a function of the seed and n only. It
depends neither on the number of processes that share a batch, nor on the number of parts in which it is computed, nor
on where a run was stopped. Independent of models.

- Clips: every bucket (clips of one size) is read in rounds; each round is a new permutation of its clips. A batch comes
  from one bucket; the bucket, and whether the batch consists of stills, follow low-discrepancy sequences over steps.
  A batch of stills comes from the buckets of stills; without any, it consists of the first frames of clips.
- Timesteps: 0..1 is divided into as many equal parts as the batch has samples. Each sample has a position in its own
  part, by multiples of the golden ratio; the quantile function of the distribution maps positions to timesteps. So
  every batch, or with batch size 1 every row of steps, covers all timesteps evenly, and losses vary less.
- Subjects: see `refilm.training.batches.subjects`.
- The rest: uniform and normal numbers from the sample's own generator, in a fixed order.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding import EncodedClip, Subset
from refilm.errors import UserError
from refilm.training.batches.curriculum import lesson_at, samples_at
from refilm.training.batches.rng import GOLDEN, PLASTIC, kronecker, own_seed, seed_of
from refilm.training.batches.subjects import Cast, Groups, cast, masks, padded, reference_of, weights
from refilm.training.settings import DropSettings, Lesson, StreamSettings, TimestepSettings

Bucket = tuple[int, int, int]
"""Latent frames, height and width of clips."""


@dataclass(frozen=True)
class Batch:
    """A batch of B clips with all random numbers of their samples."""

    latents: Tensor
    """(B, T, C, h, w), clean."""
    text: Tensor
    """(B, L, D)"""
    reference: Tensor
    """(B, S, M, E), of S subjects."""
    timesteps: Tensor
    """(B,)"""
    noise: Tensor
    """Like the latents."""
    text_scale: Tensor
    """(B,), 0 where the caption is dropped."""
    reference_scale: Tensor
    """(B,), 0 where the reference is dropped."""
    mask: Tensor | None = None
    """(B, T, h, w), 0..1: 1 where a subject is; None: no clip has a mask."""
    weight: Tensor | None = None
    """(B, S, M), 0 for the tokens of subjects that a sample does not have; None: all samples have one subject."""
    where: Tensor | None = None
    """(B, S, T, h, w), 0..1: the mask that limits each subject; None: no subject is limited."""

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device; from pinned memory the copy is asynchronous."""
        if device.type == "cpu":
            return self
        tensors = {name: tensor for name, tensor in vars(self).items() if tensor is not None}
        return Batch(**{name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()})


class SampleDraw(NamedTuple):
    """Random numbers of one sample, without its noise."""

    timestep: int
    caption: float
    """Uniform in 0..1: position in the list of captions."""
    cast: Cast
    drop: float
    """Uniform in 0..1: selects what is dropped, see `drops`."""
    generator: torch.Generator
    """For the noise."""

    @property
    def clip(self) -> int:
        """The clip whose latents and caption are read."""
        return self.cast.subjects[0].clip


class Stream:
    """The samples of a run.

    Args:
        clips: the training set.
        settings: how samples are drawn.
        timesteps: number of timesteps of the noise schedule.
        still: latent frames of a still.

    Raises:
        UserError: there are no clips, or no lessons, or only stills are drawn although there are other clips.
    """

    def __init__(self, clips: Subset, settings: StreamSettings, *, timesteps: int, still: int = 1):
        self.clips, self.settings, self.timesteps, self.still = clips, settings, timesteps, still
        self._groups = Groups(clips, settings.subjects.most)
        self.buckets = sorted(
            (bucket, self._groups.firsts(indices)) for bucket, indices in clips.buckets.items() if len(indices)
        )
        if not self.buckets:
            raise UserError("the training set is empty: give a data set with clips")
        self._stills = sum(frames <= still for (frames, _, _), _ in self.buckets)  # they are sorted first
        if 0 < self._stills < len(self.buckets) and settings.still_fraction == 1:
            videos = sum(len(indices) for _, indices in self.buckets[self._stills :])
            raise UserError(
                f"diffusion.still_fraction: is 1, so {videos} clips with motion would never be used beside the stills; "
                "reduce it, or leave out these clips"
            )
        self._rounds: dict[tuple[Bucket, int], Tensor] = {}
        samples_at(settings.curriculum, 0)

    def samples(self, step: int) -> range:
        """The numbers of a step's samples."""
        return samples_at(self.settings.curriculum, step)

    def sample_draws(self, step: int, samples: Sequence[int]) -> list[SampleDraw]:
        """Random numbers of some samples of a step."""
        bucket, _, before = self._at(step)
        ranks = np.asarray(samples, dtype=np.int64) - self.samples(step).start
        places = kronecker(np.asarray(samples, dtype=np.uint64), GOLDEN, seed_of(self.settings.seed, 4))
        evenly = torch.from_numpy((ranks + places) / len(self.samples(step)))
        timesteps = timesteps_at(evenly, self.settings.timesteps, steps=self.timesteps).tolist()
        clips = self._visits(bucket, before + ranks)
        draws = []
        for n, clip, timestep in zip(samples, clips, timesteps, strict=True):
            generator = torch.Generator().manual_seed(own_seed(self.settings.seed, n))
            caption, reference, view, drop = torch.rand(4, generator=generator).tolist()
            group, seed = self._groups.clips(clip), self.settings.seed
            shown = cast(group, self.settings.subjects, seed=seed, sample=n, reference=reference, view=view)
            draws.append(SampleDraw(timestep, caption, shown, drop, generator))
        return draws

    def batch(self, step: int, samples: Sequence[int]) -> Batch:
        """Read some samples of a step as a batch.

        Raises:
            UserError: the number of a clip's captions differs from the number of caption frequencies in the settings.
        """
        draws, frames = self.sample_draws(step, samples), self._at(step)[1]
        clips = [[self.clips[shown.clip] for shown in draw.cast.subjects] for draw in draws]
        read = _read(clips, draws, frames, self.settings)
        noise = torch.empty(2, *read.mean.shape)
        for row, draw in enumerate(draws):
            for kind in noise:
                kind[row].normal_(generator=draw.generator)
        text_scale, reference_scale = drops(torch.tensor([draw.drop for draw in draws]), self.settings.drop)
        return Batch(
            latents=read.latents(noise[1]),
            text=read.text.float(),
            reference=read.references.float(),
            timesteps=torch.tensor([draw.timestep for draw in draws]),
            noise=noise[0],
            text_scale=text_scale,
            reference_scale=reference_scale,
            mask=None if read.mask is None else read.mask.amax(dim=1),
            weight=weights([len(row) for row in clips], self.settings.subjects.most, read.references.shape[2]),
            where=self._where(read.mask, draws),
        )

    def _where(self, mask: Tensor | None, draws: Sequence[SampleDraw]) -> Tensor | None:
        """Masks, (B, S, T, h, w), of the samples whose subjects are limited; all ones for the others."""
        if mask is None or not self.settings.subjects.masks:
            return None
        limited = torch.tensor([draw.cast.masked for draw in draws]).view(-1, 1, 1, 1, 1)
        return torch.where(limited, mask, 1.0)

    def most(self) -> Bucket:
        """Latent frames, height and width of the largest bucket, of stills only if there is no other, in the last
        lesson."""
        buckets = self.buckets[self._stills :] or self.buckets
        (frames, height, width), _ = max(buckets, key=lambda bucket: (len(bucket[1]), bucket[0]))
        return min(frames, self.settings.curriculum[-1].latent_frames or frames), height, width

    def not_finite(self, step: int, samples: Sequence[int]) -> str | None:
        """The first non-finite tensor among some of a step's samples, and its file; None: all are finite."""
        clips = [shown.clip for draw in self.sample_draws(step, samples) for shown in draw.cast.subjects]
        return next((found for clip in clips if (found := self.clips.not_finite(clip))), None)

    def _at(self, step: int) -> tuple[int, int, int]:
        """A step's bucket, its latent frames, and the number of earlier samples from that bucket.

        With several buckets the time grows with the step, about a millisecond per some hundred thousand steps.
        """
        bucket = 0
        before = self.samples(step).start
        shift = [seed_of(self.settings.seed, 2, kind) for kind in range(2)]
        numbers = np.arange(0 if len(self.buckets) > 1 else step, step + 1, dtype=np.uint64)
        are_stills = kronecker(numbers, PLASTIC[1], shift[1]) < self.settings.still_fraction
        if len(self.buckets) > 1:
            which = self._buckets_at(kronecker(numbers, PLASTIC[0], shift[0]), are_stills)
            bucket = int(which[-1])
            before = int(_batches(self.settings.curriculum, step)[which[:-1] == bucket].sum())
        frames = self.buckets[bucket][0][0]
        most = self.still if are_stills[-1] else lesson_at(self.settings.curriculum, step).latent_frames or frames
        return bucket, min(frames, most), before

    def _buckets_at(self, positions: np.ndarray, are_stills: np.ndarray) -> np.ndarray:
        """The buckets of steps by their positions in 0..1 and by whether they are steps of stills, (n,) each."""
        sizes = np.array([len(indices) for _, indices in self.buckets], dtype=np.float64)
        if self._stills in (0, len(sizes)) or not self.settings.still_fraction:
            return _places(positions, sizes)
        stills, others = sizes[: self._stills], sizes[self._stills :]
        return np.where(are_stills, _places(positions, stills), self._stills + _places(positions, others))

    def _visits(self, bucket: int, positions: np.ndarray) -> list[int]:
        """The clips at some positions of a bucket's infinite sequence of rounds."""
        size, indices = self.buckets[bucket]
        rounds, places = np.divmod(positions, len(indices))
        orders = {number: self._round(size, number, len(indices)) for number in np.unique(rounds).tolist()}
        self._rounds = {key: order for key, order in self._rounds.items() if key[0] != size or key[1] in orders}
        visits = [int(orders[number][place]) for number, place in zip(rounds.tolist(), places.tolist(), strict=True)]
        return indices[visits].tolist()

    def _round(self, bucket: Bucket, number: int, size: int) -> Tensor:
        """The order in which a bucket is read in one of its rounds."""
        if (bucket, number) not in self._rounds:
            generator = torch.Generator().manual_seed(seed_of(self.settings.seed, 3, *bucket, number))
            self._rounds[bucket, number] = torch.randperm(size, generator=generator)
        return self._rounds[bucket, number]


def _places(positions: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Positions in 0..1 as places in a row of intervals of these relative sizes: (n,) -> (n,)."""
    return np.minimum(np.searchsorted(sizes.cumsum() / sizes.sum(), positions, side="right"), len(sizes) - 1)


def _batches(curriculum: Sequence[Lesson], steps: int) -> np.ndarray:
    """Samples of each of the first steps: (steps,)."""
    ends = np.clip(np.maximum.accumulate([lesson.until for lesson in curriculum[:-1]] or [0]), 0, steps)
    ends = ends[: len(curriculum) - 1].tolist()
    lengths = np.diff([0, *ends, steps])
    return np.repeat([lesson.batch for lesson in curriculum], lengths)


def _read(
    clips: Sequence[Sequence[EncodedClip]], draws: Sequence[SampleDraw], frames: int, settings: StreamSettings
) -> EncodedClip:
    """The drawn captions, references and frames of each sample's clips, stacked along a new first axis B; references
    and masks have a second new axis S."""
    frequencies, most = settings.captions, settings.subjects.most
    firsts = [row[0] for row in clips]  # all clips of a sample have the same video
    text = []
    for clip, draw in zip(firsts, draws, strict=True):
        if frequencies is not None and len(frequencies) != len(clip.text):
            raise UserError(
                f"diffusion.captions has {len(frequencies)} numbers, but clip {draw.clip} has {len(clip.text)} "
                "captions: give one number per caption, or remove diffusion.captions to use all equally often"
            )
        text.append(clip.text[_chosen(draw.caption, frequencies or (1.0,) * len(clip.text))])
    return EncodedClip(
        mean=torch.stack([clip.mean[:frames] for clip in firsts]),
        logvar=torch.stack([clip.logvar[:frames] for clip in firsts]),
        text=torch.stack(text),
        references=padded(
            [
                [reference_of(clip, shown) for clip, shown in zip(row, draw.cast.subjects, strict=True)]
                for row, draw in zip(clips, draws, strict=True)
            ],
            most,
        ),
        mask=masks(clips, frames, most),
    )


def _chosen(uniform: float, frequencies: Sequence[float]) -> int:
    """The index that a uniform number in 0..1 selects, by relative frequencies."""
    ends = list(accumulate(frequencies))
    return min(bisect(ends, uniform * ends[-1]), len(frequencies) - 1)


def drops(uniform: Tensor, settings: DropSettings | None) -> tuple[Tensor, Tensor]:
    """Scales of text and of reference, 1 (kept) or 0 (dropped), by uniform numbers (B,): one interval per kind."""
    settings = settings or DropSettings()
    edges = torch.tensor([settings.both, settings.text, settings.reference]).cumsum(0)
    kind = torch.bucketize(uniform, edges, right=True)
    return ((kind != 0) & (kind != 1)).float(), ((kind != 0) & (kind != 2)).float()


def timesteps_at(quantiles: Tensor, settings: TimestepSettings, *, steps: int) -> Tensor:
    """Quantiles of the timesteps' distribution: (B,) in 0..1 -> (B,) integers in 0..steps - 1."""
    if settings.distribution == "logit-normal":
        quantiles = torch.sigmoid(settings.mean + settings.std * torch.special.ndtri(quantiles.double()))
    return (quantiles.double() * steps).long().clamp(0, steps - 1)
