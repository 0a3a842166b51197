"""Validation: measures whether the reference is used, which the training loss does not show.

On validation samples that are always the same (clip, timestep, noise), compares the loss with the right reference to
the loss with another subject's reference and without one, by quarter of the timesteps, and measures how much each
layer's adapter adds. `usage_of` interprets the numbers. Independent of the loop, files and display.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from refilm.data.encoding import Subset
from refilm.diffusion import Process
from refilm.errors import NotFiniteError
from refilm.model import Adapter, Backbone, Block, References, swapped
from refilm.training.batches.stream import Batch
from refilm.training.batches.validation_set import ValidationSamples
from refilm.training.settings import StreamSettings, ValidationSettings

QUARTERS = ("q1", "q2", "q3", "q4")
"""Quarters of the timesteps, from the least noise to the most."""


class Measurable(Protocol):
    """What validation needs of the diffusion task."""

    transformer: Backbone
    adapter: Adapter | None
    schedule: Process
    held_out: Subset
    device: torch.device

    @property
    def settings(self) -> StreamSettings:
        """How samples are drawn."""
        ...

    def losses(self, batch: Batch) -> Tensor:
        """The loss of each clip, (B,)."""
        ...


@torch.no_grad()
def measure(task: Measurable, settings: ValidationSettings) -> dict[str, float]:
    """Scores of the current weights on the validation set.

    Returns:
        Mean losses: "right" with the clip's own reference, "wrong" with another subject's (missing if all validation
        clips show one subject), "none" without, and "masked" with the right references limited to their masks, if
        training does that; "gap" is wrong - right, "help" is none - right, "bound" is right - masked, and "gap_error"
        and so on are the standard errors of these paired differences. All also by quarter of the timesteps, as
        "right/q1" (least noise) to "right/q4". "share/00" and so on: how much each layer's adapter adds to a video
        token, as a fraction of the token's norm. Without an adapter, only "none".

    Raises:
        NotFiniteError: a loss is not finite because a validation clip is not; the message names it.
    """
    losses: dict[str, list[Tensor]] = {}
    timesteps: list[Tensor] = []
    ratios: list[Tensor] = []
    lesson = task.settings.curriculum[-1]
    samples = ValidationSamples(
        task.held_out,
        settings.samples,
        timesteps=task.schedule.steps,
        captions=task.settings.captions,
        frames=lesson.latent_frames,
        subjects=task.settings.subjects,
    )
    compared = {"references": task.adapter is not None, "masks": task.settings.subjects.masks > 0}
    for batch, wrong in samples.batches(settings.batch or lesson.batch):
        timesteps.append(batch.timesteps)
        for name, varied in _variants(batch, wrong, **compared):
            with added_ratios(task.transformer, ratios, wanted=name == "right"):
                losses.setdefault(name, []).append(task.losses(varied.to(task.device)))
    together = {name: torch.cat(parts).double().cpu() for name, parts in losses.items()}
    if not all(values.isfinite().all() for values in together.values()) and (found := samples.not_finite()):
        raise NotFiniteError(f"validation: a loss is not finite because its input is not finite: {found}")
    quarters = torch.cat(timesteps).cpu() * len(QUARTERS) // task.schedule.steps
    scores = _summary(together)
    for number, name in enumerate(QUARTERS):
        part = {kind: values[quarters == number] for kind, values in together.items()}
        scores |= {f"{kind}/{name}": value for kind, value in _summary(part).items()}
    if ratios:
        each = torch.cat(ratios, dim=1).mean(dim=1).tolist()
        scores |= {f"share/{layer:02}": ratio for layer, ratio in enumerate(each)}
    return scores


def _variants(batch: Batch, wrong: Tensor | None, *, references: bool, masks: bool) -> Iterator[tuple[str, Batch]]:
    """The same samples with the references that are compared, limited to their masks in one of them only."""
    free = replace(batch, where=None)
    if references:
        yield "right", free
        if wrong is not None:
            yield "wrong", replace(free, reference=wrong)
        if masks:
            yield "masked", batch
    yield "none", replace(free, reference_scale=0 * batch.reference_scale)


def _summary(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean of each loss, and of the paired differences with their standard errors."""
    scores = {name: values.mean().item() for name, values in losses.items()}
    for name, worse, better in (("gap", "wrong", "right"), ("help", "none", "right"), ("bound", "right", "masked")):
        if worse in losses and better in losses:
            difference = losses[worse] - losses[better]
            scores[name] = difference.mean().item()
            scores[f"{name}_error"] = difference.std().item() / math.sqrt(len(difference))
    return scores


@contextmanager
def added_ratios(transformer: Backbone, into: list[Tensor], *, wanted: bool = True) -> Iterator[None]:
    """Within the context every forward pass appends to `into` how much each layer's adapter adds: (layers, B)."""
    if not wanted:
        yield
        return
    found: list[Tensor] = []
    with (
        torch.compiler.set_stance("force_eager"),  # otherwise blocks would be recompiled for this
        swapped(transformer, Block, reference=lambda layer: Measured(layer, found)),
    ):
        yield
    into.append(torch.stack(found))


class Measured(nn.Module):
    """Wraps a reference layer, and records how much it adds to the video tokens."""

    def __init__(self, layer: nn.Module, ratios: list[Tensor]):
        super().__init__()
        self.layer, self.ratios = layer, ratios

    def forward(self, video: Tensor, references: References) -> Tensor:
        found = self.layer(video, references)  # (B, N, D)
        lengths = found.float().norm(dim=-1) / video.float().norm(dim=-1)
        self.ratios.append(lengths.mean(dim=1))
        return found
