"""The fixed samples of a validation: clip, timestep and noise are functions of a sample's number alone.

So two validations of the same weights are the same numbers, and what changes from one to the next is the weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from refilm.data.encoding import EncodedClip, Entry, Subset
from refilm.training.batches.rng import GOLDEN, kronecker, own_seed, seed_of
from refilm.training.batches.stream import Batch

SEED = seed_of(0x7661_6C69_6461_7465) >> 1  # "validate"; no training sample shares a generator's seed with these


class Compared(NamedTuple):
    """Samples, and the image that is wrong for each."""

    batch: Batch
    wrong: Tensor | None
    """(B, M, E), of other subjects; none where all clips show the same one."""


@dataclass(frozen=True)
class FixedSamples:
    """Samples of clips, nothing dropped and every reference as it is."""

    clips: Subset
    count: int
    timesteps: int
    """How many there are; the samples cover them evenly, whatever part of the samples is looked at."""
    captions: Sequence[float] | None
    """Shares of a clip's captions, of which the largest tells which one is taken; none: the first."""
    frames: int | None
    """Latent frames of a clip, at most; none: all."""

    def batches(self, size: int) -> Iterator[Compared]:
        """All samples, at most so many at once, those of one size of clips together."""
        chosen = chosen_clips(len(self.clips), self.count)
        strangers = others([subject_of(self.clips.entries[clip]) for clip in chosen])
        for _, indices in sorted(self.clips.buckets.items()):
            inside = set(indices.tolist())
            numbers = [number for number, clip in enumerate(chosen) if clip in inside]
            for first in range(0, len(numbers), size):
                rows = numbers[first : first + size]
                wrong = None
                if strangers is not None:
                    wrong = torch.stack([self._image(chosen[strangers[n]], n) for n in rows])
                yield Compared(self._batch([chosen[n] for n in rows], rows), wrong)

    def not_finite(self) -> str | None:
        """What of the clips holds infinities or NaN, and where it is stored; none: nothing."""
        clips = sorted(set(chosen_clips(len(self.clips), self.count)))
        return next((found for clip in clips if (found := self.clips.not_finite(clip))), None)

    @torch.autocast("cpu", enabled=False)  # which knows no half precision but its own
    def _batch(self, clips: Sequence[int], numbers: Sequence[int]) -> Batch:
        caption = 0 if self.captions is None else int(np.argmax(self.captions))
        read = [self.clips[clip] for clip in clips]
        latents, noise = zip(*(self._noised(clip, n) for clip, n in zip(read, numbers, strict=True)), strict=True)
        shares = kronecker(np.array(numbers, dtype=np.uint64), GOLDEN, GOLDEN >> 1)
        ones = torch.ones(len(numbers))
        return Batch(
            latents=torch.stack(latents),
            text=torch.stack([clip.text[caption].float() for clip in read]),
            reference=torch.stack([self._image(clip, n) for clip, n in zip(clips, numbers, strict=True)]),
            timesteps=torch.from_numpy(shares * self.timesteps).long(),
            noise=torch.stack(noise),
            text_scale=ones,
            reference_scale=ones,
            mask=torch.ones(len(numbers), *latents[0][:, 0].shape),
        )

    def _noised(self, clip: EncodedClip, number: int) -> tuple[Tensor, Tensor]:
        """A sample's latents, drawn from the posterior, and the noise to come over them."""
        generator = torch.Generator().manual_seed(own_seed(SEED, number))
        mean, logvar = clip.mean[: self.frames].float(), clip.logvar[: self.frames].float()
        noise = torch.randn(mean.shape, generator=generator)
        return mean + (0.5 * logvar).exp() * torch.randn(mean.shape, generator=generator), noise

    @torch.autocast("cpu", enabled=False)
    def _image(self, clip: int, number: int) -> Tensor:
        """Tokens of one of a clip's references, (M, E)."""
        references = self.clips[clip].references
        return references[number // len(self.clips) % len(references), 0].float()


def chosen_clips(clips: int, samples: int) -> list[int]:
    """Which clip each sample is of: all in rounds, or of more clips than samples as many, spread evenly."""
    if clips >= samples:
        return [n * clips // samples for n in range(samples)]
    rounds = range(-(-samples // clips))
    orders = (torch.randperm(clips, generator=torch.Generator().manual_seed(number)) for number in rounds)
    return torch.cat(list(orders))[:samples].tolist()


def subject_of(entry: Entry) -> str:
    """Whom a clip shows; where nobody said, clips of one video show the same."""
    return entry.source if entry.subject is None else f"subject {entry.subject}"


def others(subjects: Sequence[str]) -> list[int] | None:
    """For each the place of the next one, in a circle, that is another subject; none if all are the same."""
    if len(set(subjects)) < 2:
        return None
    count = len(subjects)
    ahead = ([(n + step) % count for step in range(1, count)] for n in range(count))
    return [next(m for m in places if subjects[m] != subjects[n]) for n, places in enumerate(ahead)]
