"""Classifier-free guidance (Ho & Salimans 2022): move the prediction away from the unconditional prediction.

`guided` combines a model and its conditions into one prediction function, which samplers call. The scale can change
over a run, given by a `GuidanceScale`. Independent of the noise schedule: velocities are mixed directly.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.model import Branch, References, Row

Predict = Callable[[Tensor, float, float], Tensor]
"""The function a sampler calls: (latents, timestep, fraction of the steps done) -> velocity after guidance."""

GuidanceScale = Callable[[float, float], float]
"""(fraction of the steps done, timestep) -> guidance scale; 1 disables guidance."""


class Model(Protocol):
    """A video model as used by guidance. With `references` None there is no reference attention."""

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        references: References | None,
        /,
        *,
        rows: Sequence[Row] | None = None,
    ) -> Tensor:
        """(B, T, C, H, W), (B,), (B, L, D) -> velocity (B, T, C, H, W); `rows` names what each row of the batch is."""
        ...


@dataclass(frozen=True, eq=False)
class Condition:
    """The conditions of a prediction: one row, or one row per sample."""

    text: Tensor
    """The prompt's embedding, (B or 1, L, D)."""
    references: References | None = None
    """The projected references, of one row or one row per sample."""


@checked
def constant(scale: float) -> GuidanceScale:
    """The same scale at every step."""
    return lambda fraction, timestep: scale


@checked
def rising(scale: float, *, power: float = 5.0) -> GuidanceScale:
    """Rise on a cosine from 1 at the first step to 1 + `scale` at the end; what CogVideoX's code intends."""
    return lambda fraction, timestep: _cosine(fraction, scale, power)


@checked
def by_timestep(steps: int, scale: float = 6.0, *, power: float = 5.0) -> GuidanceScale:
    """CogVideoX's "dynamic" guidance as published: `rising`, but with the timestep in place of the step index.

    The scale jumps between 1 and 1 + `scale`. Use it only to reproduce videos of the SAT fork with reference
    cross-attention and of diffusers' `use_dynamic_cfg`.

    Args:
        steps: number of steps of the run.
        scale: the `guidance_scale` of both.
        power: exponent; 5 in both.
    """
    return lambda fraction, timestep: _cosine((steps - timestep) / steps, scale, power)


def _cosine(fraction: float, scale: float, power: float) -> float:
    return 1 + scale * (1 - math.cos(math.pi * fraction**power)) / 2


@checked
def guided(
    model: Model,
    conditional: Condition,
    *,
    unconditional: Condition,
    guidance: GuidanceScale,
    reference_guidance: GuidanceScale | None = None,
) -> Predict:
    """Return a prediction function that is guided away from `unconditional`.

    Without `reference_guidance` text and image are dropped together (Ho & Salimans 2022, eq. 6):
    `v_0 + s (v_text,ref - v_0)`. With it they are dropped one at a time, as in InstructPix2Pix (Brooks et al.
    2023, eq. 3; there the image comes first): `v_0 + s_text (v_text - v_0) + s_ref (v_text,ref - v_text)`.
    Branches of weight 0 are skipped: at a scale of exactly 1 the model runs once. Conditions with tensors of the same
    sizes run as one batch, unconditional first; a condition without a reference runs separately.

    Args:
        model: (latents, timesteps, text, references) -> velocity; it receives the latents in the dtype of sampling.
        conditional: the prompt and the image.
        unconditional: the condition that replaces them when dropped.
        guidance: the scale of text and image together, or of the text if `reference_guidance` is given.
        reference_guidance: the scale of the image.
    """
    text_only = Condition(conditional.text, unconditional.references)

    def predict(latents: Tensor, timestep: float, fraction: float) -> Tensor:
        scale = guidance(fraction, timestep)
        if reference_guidance is None:
            parts = [_Part("unconditional", unconditional, 1 - scale), _Part("conditional", conditional, scale)]
        else:
            likeness = reference_guidance(fraction, timestep)
            parts = [
                _Part("unconditional", unconditional, 1 - scale),
                _Part("text only", text_only, scale - likeness),
                _Part("conditional", conditional, likeness),
            ]
        return _weighted_sum(model, latents, timestep, [part for part in parts if part.weight])

    return predict


class _Part(NamedTuple):
    """One branch of the weighted sum."""

    branch: Branch
    condition: Condition
    weight: float


def _weighted_sum(model: Model, latents: Tensor, timestep: float, parts: Sequence[_Part]) -> Tensor:
    batches: dict[tuple[object, ...], list[_Part]] = defaultdict(list)
    for part in parts:
        references = part.condition.references
        layout = part.condition.text.shape[1:], None if references is None else references.layout
        batches[layout].append(part)
    total = torch.zeros_like(latents)
    for batch in batches.values():
        for velocity, part in zip(_run(model, latents, timestep, batch), batch, strict=True):
            total = total + part.weight * velocity.to(latents.dtype)
    return total


def _run(model: Model, latents: Tensor, timestep: float, parts: Sequence[_Part]) -> tuple[Tensor, ...]:
    """Run the model once on branches whose conditions have the same sizes, and return one velocity per branch."""
    batch, conditions = len(latents), [part.condition for part in parts]
    text = torch.cat([condition.text.expand(batch, -1, -1) for condition in conditions])  # (N * B, L, D)
    given = [c.references.expand(batch) for c in conditions if c.references is not None]
    references = References.joined(given) if given else None
    timesteps = torch.full((len(text),), timestep, device=latents.device)
    rows = tuple(Row(part.branch, sample) for part in parts for sample in range(batch))
    velocities = model(latents.repeat(len(parts), 1, 1, 1, 1), timesteps, text, references, rows=rows)
    return velocities.chunk(len(parts))
