"""Whether a run learns to use the picture, which the training loss does not tell.

On held-out samples that are the same at every validation (clip, timestep, noise), the loss with the right picture is
compared with that under another subject's and under none, by quarter of the timesteps, and every layer's adapter is
asked how much it adds. What the numbers mean is said by `verdict`. Knows nothing of the loop, of files or screens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.data.encoding import Entry
from refilm.model import Block, Transformer, swapped
from refilm.settings import Settings
from refilm.training.stream import Batch, Clip, Clips

if TYPE_CHECKING:
    from refilm.training.diffusion import DiffusionTask

QUARTERS = ("q1", "q2", "q3", "q4")
"""Of the timesteps, from the least noise to the most."""
GOLDEN = (math.sqrt(5) - 1) / 2
SEED = 1 << 62  # far from the seeds of training samples


class ValidationSettings(Settings):
    """How a run is looked at while it lasts."""

    samples: int = Field(default=128, ge=8)
    """Held-out samples; clip, timestep and noise of each are the same at every validation."""
    batch: int = Field(default=32, ge=1)
    """Samples that are computed at once."""
    stop_if_unused: int = Field(default=0, ge=0)
    """End the run when so many validations in a row find that the picture is not used; 0: go on whatever they find."""


@torch.no_grad()
def measure(task: "DiffusionTask", settings: ValidationSettings) -> dict[str, float]:
    """Scores of the weights as they are, on fixed held-out samples.

    Returns:
        Mean losses: "right" with the clip's own picture, "wrong" with another subject's (left out where all held-out
        clips show one subject), "none" without; "gap" is wrong - right, "help" is none - right, and "gap_error" and
        "help_error" their standard errors, of the paired differences. All by quarter of the timesteps too, as
        "right/q1" (least noise) to "right/q4". "share/00" and so on: how much each layer's adapter adds to a video
        token, as a share of the token's norm. Without an adapter, "none" alone.
    """
    losses: dict[str, list[Tensor]] = {}
    timesteps: list[Tensor] = []
    shares: list[Tensor] = []
    for batch, wrong in fixed_samples(task, settings):
        timesteps.append(batch.timesteps)
        for name, varied in _variants(batch, wrong, with_picture=task.adapter is not None):
            with added_shares(task.transformer, shares, wanted=name == "right"):
                losses.setdefault(name, []).append(task.losses(varied))
    together = {name: torch.cat(parts).double().cpu() for name, parts in losses.items()}
    quarters = torch.cat(timesteps).cpu() * len(QUARTERS) // task.schedule.steps
    scores = _summary(together)
    for number, name in enumerate(QUARTERS):
        part = {kind: values[quarters == number] for kind, values in together.items()}
        scores |= {f"{kind}/{name}": value for kind, value in _summary(part).items()}
    if shares:
        each = torch.cat(shares, dim=1).mean(dim=1).tolist()
        scores |= {f"share/{layer:02}": share for layer, share in enumerate(each)}
    return scores


class HeldOut(Clips, Protocol):
    """Encoded clips, of which it is known whom they show."""

    def __len__(self) -> int: ...

    @property
    def entries(self) -> Sequence[Entry]:
        """What is known of each clip."""
        ...


def fixed_samples(
    clips: HeldOut, settings: ValidationSettings, *, captions: Sequence[float] | None, frames: int | None, steps: int
) -> Iterator[tuple[Batch, Tensor | None]]:
    """Samples in batches, nothing dropped, each with another subject's picture: (B, M, E), or none.

    Sample n is a function of n and of the clips alone. Timesteps follow the golden ratio, so that any row of samples
    covers all of them evenly.

    Args:
        captions: shares of a clip's captions, of which the largest tells which is taken; none: the first.
        frames: latent frames of a clip, at most; none: all.
        steps: timesteps in all.
    """
    chosen = chosen_clips(len(clips), settings.samples)
    strangers = others([subject_of(clips.entries[clip]) for clip in chosen])
    caption = 0 if captions is None else max(range(len(captions)), key=captions.__getitem__)
    for bucket, indices in sorted(clips.buckets.items()):
        inside = set(indices.tolist())
        numbers = [number for number, clip in enumerate(chosen) if clip in inside]
        for part in range(0, len(numbers), settings.batch):
            rows = numbers[part : part + settings.batch]
            latents, noise = zip(*(_noised(clips[chosen[n]], n, frames) for n in rows), strict=True)
            read = [clips[chosen[n]] for n in rows]
            ones = torch.ones(len(rows))
            batch = Batch(
                latents=torch.stack(latents),
                text=torch.stack([clip.text[caption].float() for clip in read]),
                reference=torch.stack([_picture(clip, n // len(clips)) for clip, n in zip(read, rows, strict=True)]),
                timesteps=torch.tensor([int((n + 0.5) * GOLDEN % 1 * steps) for n in rows]),
                noise=torch.stack(noise),
                text_scale=ones,
                reference_scale=ones,
                mask=torch.ones(len(rows), min(bucket[0], frames or bucket[0]), *bucket[1:]),
            )
            wrong = None
            if strangers is not None:
                wrong = torch.stack([_picture(clips[chosen[strangers[n]]], n // len(clips)) for n in rows])
            yield batch, wrong


def chosen_clips(clips: int, samples: int) -> list[int]:
    """Which clip each sample is of: all in turn, or as many as there are samples, spread over them."""
    return [n * clips // samples if clips > samples else n % clips for n in range(samples)]


def subject_of(entry: Entry) -> str:
    """Whom a clip shows; where nobody said, clips of one video show the same."""
    return entry.source if entry.subject is None else f"subject {entry.subject}"


def others(subjects: Sequence[str]) -> list[int] | None:
    """For each the number of the next one, in a circle, that is of another subject; none if all are the same."""
    if len(set(subjects)) < 2:
        return None
    count = len(subjects)
    circle = [[(n + ahead) % count for ahead in range(1, count)] for n in range(count)]
    return [next(m for m in row if subjects[m] != subjects[n]) for n, row in enumerate(circle)]


def _noised(clip: Clip, number: int, frames: int | None) -> tuple[Tensor, Tensor]:
    """A sample's latents, drawn from the posterior, and the noise to come over them."""
    generator = torch.Generator().manual_seed(SEED + number)
    mean, logvar = clip.mean[:frames].float(), clip.logvar[:frames].float()
    posterior, noise = (torch.randn(mean.shape, generator=generator) for _ in range(2))
    return mean + (0.5 * logvar).exp() * posterior, noise


def _picture(clip: Clip, number: int) -> Tensor:
    """Tokens of one of a clip's references, as it is: (M, E)."""
    return clip.references[number % len(clip.references), 0].float()


def _variants(batch: Batch, wrong: Tensor | None, *, with_picture: bool) -> Iterator[tuple[str, Batch]]:
    """The same samples under the pictures that are compared."""
    if with_picture:
        yield "right", batch
        if wrong is not None:
            yield "wrong", replace(batch, reference=wrong)
    yield "none", replace(batch, reference_scale=0 * batch.reference_scale)


def _summary(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Means of each kind, and of the paired differences with their standard errors."""
    scores = {name: values.mean().item() for name, values in losses.items()}
    for name, worse in (("gap", "wrong"), ("help", "none")):
        if "right" in losses and worse in losses:
            difference = losses[worse] - losses["right"]
            scores[name] = difference.mean().item()
            scores[f"{name}_error"] = difference.std().item() / math.sqrt(len(difference))
    return scores


@contextmanager
def added_shares(transformer: Transformer, into: list[Tensor], *, wanted: bool = True) -> Iterator[None]:
    """Within the context, every forward pass appends what each layer's adapter adds: (layers, B), in `into`."""
    if not wanted:
        yield
        return
    found: list[Tensor] = []
    with swapped(transformer, Block, reference=lambda layer: Measured(layer, found)):
        yield
    into.append(torch.stack(found))


class Measured(nn.Module):
    """A reference layer that notes how much it adds to the tokens it is asked about."""

    def __init__(self, layer: nn.Module, notes: list[Tensor]):
        super().__init__()
        self.layer, self.notes = layer, notes

    def forward(self, video: Tensor, reference: Tensor) -> Tensor:
        found = self.layer(video, reference)  # (B, N, D)
        lengths = found.float().norm(dim=-1) / video.float().norm(dim=-1)
        self.notes.append(lengths.mean(dim=1))
        return found
