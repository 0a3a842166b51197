"""Classifier-free guidance (Ho & Salimans 2022): push a model's prediction away from what it says unconditionally.

`guided` makes one prediction out of a model and its conditions; samplers ask it and know neither. How strong the
push is may change over a run: a `GuidanceScale` tells. Knows nothing of schedules: velocities mix as they are.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from refilm.arguments import checked

Predict = Callable[[Tensor, int, float], Tensor]
"""What a sampler asks: (latents, timestep, share of the steps done) -> velocity like the latents, after guidance."""

GuidanceScale = Callable[[float, int], float]
"""How strong guidance is: (share of the steps done, timestep) -> scale; 1 is no guidance."""


class Model(Protocol):
    """A video model as guidance needs it. `reference` None means that no reference is attended to."""

    def __call__(self, latents: Tensor, timesteps: Tensor, text: Tensor, reference: Tensor | None, /) -> Tensor:
        """(B, T, C, H, W), (B,), (B, L, D), (B, N, E) -> velocity (B, T, C, H, W)."""
        ...


@dataclass(frozen=True, eq=False)
class Condition:
    """What a prediction is conditioned on. One row, or as many as there are latents."""

    text: Tensor
    """The prompt's embedding, (B or 1, L, D)."""
    reference: Tensor | None = None
    """The reference image's tokens, (B or 1, N, E)."""


@checked
def constant(scale: float) -> GuidanceScale:
    """The same scale at every step."""
    return lambda share, timestep: scale


@checked
def rising(scale: float, *, power: float = 5.0) -> GuidanceScale:
    """From 1 at the first step towards 1 + `scale` at the end, late, on a cosine; what CogVideoX's code means to do."""
    return lambda share, timestep: _cosine(share, scale, power)


@checked
def by_timestep(steps: int, scale: float = 6.0, *, power: float = 5.0) -> GuidanceScale:
    """CogVideoX's "dynamic" guidance as published: `rising` with a timestep for the step's index.

    The scale jumps about between 1 and 1 + `scale`. Only for making the videos that the original research code and
    diffusers' `use_dynamic_cfg` make.

    Args:
        steps: how many steps the run has.
        scale: called guidance scale by both.
        power: 5 in both.
    """
    return lambda share, timestep: _cosine((steps - timestep) / steps, scale, power)


def _cosine(share: float, scale: float, power: float) -> float:
    return 1 + scale * (1 - math.cos(math.pi * share**power)) / 2


@checked
def guided(
    model: Model,
    conditional: Condition,
    *,
    unconditional: Condition,
    guidance: GuidanceScale,
    reference_guidance: GuidanceScale | None = None,
) -> Predict:
    """A prediction guided away from `unconditional`.

    Without `reference_guidance` text and image are dropped together (Ho & Salimans 2022, eq. 6):
    `v_0 + s (v_text,ref - v_0)`. With it they are dropped one after the other, as in InstructPix2Pix (Brooks et al.
    2023, eq. 3; there the image comes first): `v_0 + s_text (v_text - v_0) + s_ref (v_text,ref - v_text)`.
    What plays no part is not run: at a scale of exactly 1 the model runs once. Conditions whose tensors have the same
    sizes run as one batch, unconditional first; one without a reference runs apart from those with.

    Args:
        model: (latents, timesteps, text, reference) -> velocity; it sees the latents in the dtype they are sampled in.
        conditional: the prompt and the image.
        unconditional: what they are replaced by when dropped.
        guidance: the scale of both together, or of the text alone.
        reference_guidance: the scale of the image.
    """
    text_only = Condition(conditional.text, unconditional.reference)

    def predict(latents: Tensor, timestep: int, share: float) -> Tensor:
        scale = guidance(share, timestep)
        if reference_guidance is None:
            branches = [(unconditional, 1 - scale), (conditional, scale)]
        else:
            likeness = reference_guidance(share, timestep)
            branches = [(unconditional, 1 - scale), (text_only, scale - likeness), (conditional, likeness)]
        return _weighted_sum(model, latents, timestep, [branch for branch in branches if branch[1]])

    return predict


def _weighted_sum(model: Model, latents: Tensor, timestep: int, branches: Sequence[tuple[Condition, float]]) -> Tensor:
    batches: dict[tuple[object, ...], list[tuple[Condition, float]]] = defaultdict(list)
    for condition, weight in branches:
        reference = condition.reference
        sizes = condition.text.shape[1:], None if reference is None else reference.shape[1:]
        batches[sizes].append((condition, weight))
    total = torch.zeros_like(latents)
    for batch in batches.values():
        velocities = _run(model, latents, timestep, [condition for condition, _ in batch])
        for velocity, (_, weight) in zip(velocities, batch, strict=True):
            total = total + weight * velocity.to(latents.dtype)
    return total


def _run(model: Model, latents: Tensor, timestep: int, conditions: Sequence[Condition]) -> tuple[Tensor, ...]:
    """One call of the model for conditions of the same sizes: a velocity each."""
    rows = len(latents)
    text = torch.cat([condition.text.expand(rows, -1, -1) for condition in conditions])  # (N * B, L, D)
    references = [c.reference.expand(rows, -1, -1) for c in conditions if c.reference is not None]
    reference = torch.cat(references) if references else None
    timesteps = torch.full((len(text),), timestep, device=latents.device)
    velocities = model(latents.repeat(len(conditions), 1, 1, 1, 1), timesteps, text, reference)
    return velocities.chunk(len(conditions))
