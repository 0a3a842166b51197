"""Classifier-free guidance (Ho & Salimans 2022): move the prediction away from the unconditional prediction.

`guided` combines a model and its conditions into one prediction function, which samplers call. The scale can change
over a run, given by a `GuidanceScale`. Independent of the noise schedule: velocities are mixed directly.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.guidance_forms import GuidanceForm, plain
from refilm.model import Branch, References, Row, Time

Predict = Callable[[Tensor, float, float], Tensor]
"""The function a sampler calls: (latents, timestep, fraction of the steps done) -> velocity after guidance."""

GuidanceScale = Callable[[float, float], float]
"""(fraction of the steps done, timestep) -> guidance scale; 1 disables guidance."""

TimeOf = Callable[[float], Tensor | Time]
"""timestep -> what a model receives of it: the timestep, (1,), or what it made of it before the run."""


class Model(Protocol):
    """A video model as used by guidance. With `references` None there is no reference attention."""

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor | Time,
        text: Tensor,
        references: References | None,
        /,
        *,
        rows: Sequence[Row] | None = None,
    ) -> Tensor:
        """(B, T, C, H, W), (1,), (B, L, D) -> velocity (B, T, C, H, W); `rows` names what each row of the batch is."""
        ...


@dataclass(frozen=True, eq=False)
class Condition:
    """The conditions of a prediction: one row, or one row per sample."""

    text: Tensor
    """The prompt's embedding, (B or 1, L, D)."""
    references: References | None = None
    """The projected references, of one row or one row per sample."""
    strength: Tensor | None = None
    """Factor on the references' scale at each step of a run, (steps, B or 1, S). None: always 1."""

    def along(self) -> "list[Condition]":
        """The condition at each step of a run, without references where all have strength 0; one for all steps if the
        strength is always 1. What they contain is on the device of the references' tokens.
        """
        if self.references is None:
            return [self]
        references = self.references.placed()
        if self.strength is None:
            return [Condition(self.text, references)]
        return [Condition(self.text, _strengthened(references, factor)) for factor in self.strength]


def _strengthened(references: References, factor: Tensor) -> References | None:
    if not factor.any():
        return None
    return references if (factor == 1).all() else references.scaled(factor.to(references.tokens.device))


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


@checked
def limited(guidance: GuidanceScale, indices: Container[int], *, steps: int) -> GuidanceScale:
    """Guidance at some steps only; at the others the scale is 1, the model's own prediction (Kynkäänniemi et al. 2024,
    arXiv:2404.07724, there as an interval of noise levels).

    Args:
        guidance: the scale at those steps; it still depends on the fraction of all steps.
        indices: their indices, counted from 0.
        steps: number of steps of the run.
    """
    return lambda fraction, timestep: guidance(fraction, timestep) if round(fraction * steps) in indices else 1.0


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
    form: GuidanceForm = plain,
    time_of: TimeOf | None = None,
) -> Predict:
    """Return a prediction function that is guided away from `unconditional`.

    Without `reference_guidance` text and image are dropped together (Ho & Salimans 2022, eq. 6):
    `v_0 + s (v_text,ref - v_0)`. With it they are dropped one at a time, as in InstructPix2Pix (Brooks et al.
    2023, eq. 3; there the image comes first): `v_0 + s_text (v_text - v_0) + s_ref (v_text,ref - v_text)`. If
    `unconditional` has references, a negative reference, they replace the image wherever it is dropped: in `v_0` and in
    `v_text`.

    Every step runs as few branches as its sum needs: branches of weight 0 are skipped, and branches with equal
    conditions run once. A step with one branch left is the model's own prediction, without a form. Conditions with
    tensors of the same sizes run as one batch, unconditional first; the others run separately.

    Args:
        model: (latents, timesteps, text, references) -> velocity; it receives the latents in the dtype of sampling.
        conditional: the prompt and the image.
        unconditional: the condition that replaces them when dropped.
        guidance: the scale of text and image together, or of the text if `reference_guidance` is given.
        reference_guidance: the scale of the image.
        form: changes the guided prediction; it receives that of the last branch that ran as the conditional one.
        time_of: returns what the model receives of a timestep. Default: the timestep itself, (1,).
    """
    of_reference = reference_guidance or guidance  # equal scales leave out the text alone
    # all that depends on values of tensors is found out here: within a run it would wait for the device
    if _equal(unconditional.text, conditional.text):
        unconditional = replace(unconditional, text=conditional.text)
    along, without_along = conditional.along(), unconditional.along()

    def predict(latents: Tensor, timestep: float, fraction: float) -> Tensor:
        given, without = _at(along, fraction), _at(without_along, fraction)
        branches = _shared(
            _Branch("unconditional", without),
            _Branch("text only", Condition(given.text, without.references)),
            _Branch("conditional", given),
        )
        scale, likeness = guidance(fraction, timestep), of_reference(fraction, timestep)
        weights: dict[_Branch, float] = defaultdict(float)
        for branch, weight in zip(branches, (1 - scale, scale - likeness, likeness), strict=True):
            weights[branch] += weight
        needed = {branch: weight for branch, weight in weights.items() if weight}
        time = torch.full((1,), timestep, device=latents.device) if time_of is None else time_of(timestep)
        velocities = _velocities(model, latents, time, list(needed))
        if len(velocities) == 1:
            return velocities[0]
        total = torch.zeros_like(latents)
        for velocity, weight in zip(velocities, needed.values(), strict=True):
            total = total + weight * velocity
        return form(total, velocities[-1], latents, fraction)

    return predict


def _equal(text: Tensor, other: Tensor) -> bool:
    return text is other or (text.shape[1:] == other.shape[1:] and bool((text == other).all()))


def _at(along: Sequence[Condition], fraction: float) -> Condition:
    return along[min(round(fraction * len(along)), len(along) - 1)]


@dataclass(frozen=True, eq=False)
class _Branch:
    """A branch of guidance and its condition."""

    name: Branch
    condition: Condition

    def equals(self, other: "_Branch") -> bool:
        """Whether the model makes the same prediction for both. Values of tensors are not compared."""
        return self.condition.references is other.condition.references and self.condition.text is other.condition.text


def _shared(*branches: _Branch) -> list[_Branch]:
    """For every branch the last one with an equal condition."""
    return [next(other for other in reversed(branches) if branch.equals(other)) for branch in branches]


def _velocities(model: Model, latents: Tensor, time: Tensor | Time, branches: Sequence[_Branch]) -> list[Tensor]:
    """One velocity per branch, in the dtype of the latents."""
    batches: dict[tuple[object, ...], list[_Branch]] = defaultdict(list)
    for branch in branches:
        references = branch.condition.references
        layout = branch.condition.text.shape[1:], None if references is None else references.layout
        batches[layout].append(branch)
    velocities: dict[_Branch, Tensor] = {}
    for batch in batches.values():
        for branch, velocity in zip(batch, _run(model, latents, time, batch), strict=True):
            velocities[branch] = velocity.to(latents.dtype)
    return [velocities[branch] for branch in branches]


def _run(model: Model, latents: Tensor, time: Tensor | Time, branches: Sequence[_Branch]) -> tuple[Tensor, ...]:
    """Run the model once on branches whose conditions have the same sizes, and return one velocity per branch."""
    batch, conditions = len(latents), [branch.condition for branch in branches]
    text = torch.cat([condition.text.expand(batch, -1, -1) for condition in conditions])  # (N * B, L, D)
    given = [c.references.expand(batch) for c in conditions if c.references is not None]
    references = References.joined(given) if given else None
    rows = tuple(Row(branch.name, sample) for branch in branches for sample in range(batch))
    velocities = model(latents.repeat(len(branches), 1, 1, 1, 1), time, text, references, rows=rows)
    return velocities.chunk(len(branches))
