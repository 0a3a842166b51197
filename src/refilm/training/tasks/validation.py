"""Whether a run learns to use the image, which the training loss does not tell.

On held-out samples that are the same at every validation (clip, timestep, noise), the loss with the right image is
compared with that under another subject's and under none, by quarter of the timesteps, and every layer's adapter is
asked how much it adds. What the numbers mean is said by `verdict`. Knows nothing of the loop, of files or screens.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.model import Block, Transformer, swapped
from refilm.settings import Settings
from refilm.training.batches.stream import Batch
from refilm.training.batches.validation_set import FixedSamples

if TYPE_CHECKING:
    from refilm.training.tasks.diffusion import DiffusionTask

QUARTERS = ("q1", "q2", "q3", "q4")
"""Of the timesteps, from the least noise to the most."""


class ValidationSettings(Settings):
    """How a run is looked at while it lasts."""

    samples: int = Field(default=64, ge=8)
    """Held-out samples; clip, timestep and noise of each are the same at every validation."""
    batch: int | None = Field(default=None, ge=1)
    """Samples that are computed at once; left out: as many as in the last lesson's batch."""
    stop_if_unused: int = Field(default=0, ge=0)
    """End the run when so many validations in a row find that the image is not used; 0: go on whatever they find."""


@torch.no_grad()
def measure(task: "DiffusionTask", settings: ValidationSettings) -> dict[str, float]:
    """Scores of the weights as they are, on fixed held-out samples.

    Returns:
        Mean losses: "right" with the clip's own image, "wrong" with another subject's (left out where all held-out
        clips show one subject), "none" without; "gap" is wrong - right, "help" is none - right, and "gap_error" and
        "help_error" their standard errors, of the paired differences. All by quarter of the timesteps too, as
        "right/q1" (least noise) to "right/q4". "share/00" and so on: how much each layer's adapter adds to a video
        token, as a share of the token's norm. Without an adapter, "none" alone.

    Raises:
        FloatingPointError: a loss is not finite because a held-out clip is not; names it.
    """
    losses: dict[str, list[Tensor]] = {}
    timesteps: list[Tensor] = []
    shares: list[Tensor] = []
    lesson = task.settings.curriculum[-1]
    samples = FixedSamples(
        task.held_out,
        settings.samples,
        timesteps=task.schedule.steps,
        captions=task.settings.captions,
        frames=lesson.latent_frames,
    )
    for batch, wrong in samples.batches(settings.batch or lesson.batch):
        timesteps.append(batch.timesteps)
        for name, varied in _variants(batch, wrong, with_reference=task.adapter is not None):
            with added_ratios(task.transformer, shares, wanted=name == "right"):
                losses.setdefault(name, []).append(task.losses(varied.to(task.device)))
    together = {name: torch.cat(parts).double().cpu() for name, parts in losses.items()}
    if not all(values.isfinite().all() for values in together.values()) and (found := samples.not_finite()):
        raise FloatingPointError(f"validation: a loss is not finite, for its input is not finite: {found}")
    quarters = torch.cat(timesteps).cpu() * len(QUARTERS) // task.schedule.steps
    scores = _summary(together)
    for number, name in enumerate(QUARTERS):
        part = {kind: values[quarters == number] for kind, values in together.items()}
        scores |= {f"{kind}/{name}": value for kind, value in _summary(part).items()}
    if shares:
        each = torch.cat(shares, dim=1).mean(dim=1).tolist()
        scores |= {f"share/{layer:02}": share for layer, share in enumerate(each)}
    return scores


def _variants(batch: Batch, wrong: Tensor | None, *, with_reference: bool) -> Iterator[tuple[str, Batch]]:
    """The same samples under the images that are compared."""
    if with_reference:
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
def added_ratios(transformer: Transformer, into: list[Tensor], *, wanted: bool = True) -> Iterator[None]:
    """Within the context, every forward pass appends what each layer's adapter adds: (layers, B), in `into`."""
    if not wanted:
        yield
        return
    found: list[Tensor] = []
    with (
        torch.compiler.set_stance("force_eager"),  # or blocks would be compiled anew for this alone
        swapped(transformer, Block, reference=lambda layer: Measured(layer, found)),
    ):
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
