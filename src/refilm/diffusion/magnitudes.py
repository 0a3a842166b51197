"""Step cache by magnitudes: a calibration of the model says which sampler steps reuse the trunk's previous output.

The residual that the trunk adds to its tokens shrinks over a run in nearly the same way for all prompts (MagCache, Ma
et al. 2025, arXiv:2506.09045). Where the known ratio of its magnitudes stays near 1, an earlier residual still fits.
Nothing is compared during a run, so no step waits for the device.

Letters: B samples, S text tokens, N video tokens, L = S + N; D channels per token.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.diffusion.memory import State
from refilm.errors import UserError
from refilm.model import Branch, Conditioning, Row

FIRST = 0.2
MOST = 4
CONDITIONAL: Branch = "conditional"


@dataclass(frozen=True)
class Magnitudes:
    """How the magnitude of the trunk's residual changes over a run, for each branch of guidance.

    Raises:
        UserError: the timesteps do not decrease, or a branch has not one value for each; or none is conditional.
    """

    timesteps: tuple[float, ...]
    """The timesteps of the calibration, noise first."""
    logarithms: Mapping[Branch, tuple[float, ...]]
    """For each branch and timestep the logarithm of the residual's magnitude relative to that at the first one."""

    def __post_init__(self) -> None:
        if len(self.timesteps) < 2 or any(np.diff(self.timesteps) >= 0):
            raise UserError("magnitudes: give at least two timesteps, noise first")
        if CONDITIONAL not in self.logarithms:
            raise UserError("magnitudes: the conditional branch is missing")
        for branch, values in self.logarithms.items():
            if len(values) != len(self.timesteps) or not all(np.isfinite(values)):
                raise UserError(f"magnitudes: {branch}: give one number for each of {len(self.timesteps)} timesteps")

    def ratio(self, branch: Branch, earlier: float, later: float) -> float:
        """The magnitude at a later timestep of a run relative to that at an earlier one, interpolated in between.

        A branch that was not calibrated has the values of the conditional one.
        """
        values = self.logarithms.get(branch, self.logarithms[CONDITIONAL])
        start, end = np.interp([earlier, later], self.timesteps[::-1], values[::-1])
        return exp(end - start)


class MagnitudeCache:
    """A trunk wrapper that skips the blocks where the calibration says that the last residual still fits.

    The error of a step is the distance of the magnitude ratio from 1, and errors of skipped steps in a row add up
    (arXiv:2506.09045, eq. 6 to 8); the first fifth of a run is never skipped. Unlike there, the magnitudes are a
    function of the timestep, so that a calibration fits any number of steps, and a residual that is used again is
    scaled by the ratio. Rows that run together skip together, if all their branches allow it. Call `begin` before each
    step, and use one cache per run.

    Args:
        threshold: sum of errors below which steps are skipped. 0 disables the cache; higher is faster and less exact.
        magnitudes: the calibration of the model.
        first: fraction of the steps, from the first one, that are never skipped.
        most: number of steps in a row that can be skipped.

    Raises:
        UserError: the threshold is below 0 or not a number.
    """

    @checked
    def __init__(self, threshold: float, magnitudes: Magnitudes, *, first: float = FIRST, most: int = MOST):
        if not threshold >= 0:
            raise UserError(f"step_cache: the threshold must be 0 or more (received {threshold})")
        self.threshold, self.magnitudes, self.first, self.most = threshold, magnitudes, first, most
        self.calls, self.skipped = 0, 0
        self._timestep, self._fraction = 0.0, 0.0
        self._batches: dict[tuple[Row, ...], _Batch] = {}

    def begin(self, timestep: float, fraction: float) -> None:
        """Begin a step: its timestep, and the fraction of the steps that are done."""
        self._timestep, self._fraction = timestep, fraction

    def __call__(self, run: Callable[[Tensor, Conditioning], Tensor], x: Tensor, conditioning: Conditioning) -> Tensor:
        """For use as `trunk.wrap_blocks`: (B, L, D) -> (B, L, D)."""
        self.calls += len(x)
        batch = self._batches.get(conditioning.rows)
        if batch is not None and self._skips(batch, conditioning.rows):
            self.skipped += len(x)
            ratios = [self.magnitudes.ratio(row.branch, batch.timestep, self._timestep) for row in conditioning.rows]
            parts = zip(x, batch.added, ratios, strict=True)
            return torch.stack([torch.add(one, added, alpha=ratio) for one, added, ratio in parts])
        out = run(x, conditioning)
        self._batches[conditioning.rows] = _Batch(out - x, self._timestep)
        return out

    def _skips(self, batch: "_Batch", rows: Sequence[Row]) -> bool:
        """Whether a batch of rows skips this step; its error grows if so."""
        if self._fraction < self.first or batch.skipped == self.most:
            return False
        ratios = (self.magnitudes.ratio(row.branch, batch.timestep, self._timestep) for row in rows)
        error = batch.error + max(abs(1 - ratio) for ratio in ratios)
        if not error < self.threshold:
            return False
        batch.error, batch.skipped = error, batch.skipped + 1
        return True

    def state(self) -> State:
        """The counters, and two tensors for each batch of rows."""
        tensors = {"counters": torch.tensor([self.calls, self.skipped])}
        for rows, batch in self._batches.items():
            key = ",".join(map(str, rows))
            numbers = [batch.timestep, batch.error, batch.skipped]
            tensors |= {f"{key}/added": batch.added, f"{key}/numbers": torch.tensor(numbers, dtype=torch.float64)}
        return tensors

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self.calls, self.skipped = map(int, state["counters"])
        self._batches = {}
        for key in {name.partition("/")[0] for name in state.keys() - {"counters"}}:
            timestep, error, skipped = state[f"{key}/numbers"].tolist()
            rows = tuple(map(Row.read, key.split(",")))
            self._batches[rows] = _Batch(state[f"{key}/added"], timestep, error, int(skipped))


@dataclass(eq=False)
class _Batch:
    """The state of rows that run together."""

    added: Tensor
    """Residual of the trunk at the last run: (B, L, D)."""
    timestep: float
    """The timestep of that run."""
    error: float = 0.0
    """Sum of the errors of the steps skipped since."""
    skipped: int = 0
    """Number of steps skipped since."""


class MagnitudeRecorder:
    """A trunk wrapper that measures `Magnitudes` while all blocks run. Call `begin` before each step."""

    def __init__(self) -> None:
        self._timesteps: list[float] = []
        self._earlier: dict[Row, Tensor] = {}
        self._ratios: dict[Branch, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))

    def begin(self, timestep: float) -> None:
        """Begin a step with this timestep; at the first step of a run its videos are new."""
        if self._timesteps and timestep >= self._timesteps[-1]:
            self._earlier = {}
        if timestep not in self._timesteps:
            self._timesteps.append(timestep)
        self._timestep = timestep

    def __call__(self, run: Callable[[Tensor, Conditioning], Tensor], x: Tensor, conditioning: Conditioning) -> Tensor:
        """For use as `trunk.wrap_blocks`: (B, L, D) -> (B, L, D)."""
        out = run(x, conditioning)
        norms = (out - x)[:, conditioning.text_length :].float().norm(dim=-1)  # (B, N)
        for row, norm in zip(conditioning.rows, norms, strict=True):
            if row in self._earlier:
                self._ratios[row.branch][self._timestep].append((norm / self._earlier[row]).mean().item())
            self._earlier[row] = norm
        return out

    def magnitudes(self) -> Magnitudes:
        """What was measured: the mean ratio of all videos and tokens from each timestep to the next.

        Raises:
            UserError: the runs had fewer than two steps.
        """
        logarithms: dict[Branch, tuple[float, ...]] = {}
        for branch, ratios in self._ratios.items():
            steps = [np.log(np.mean(ratios[timestep])) for timestep in self._timesteps[1:]]
            logarithms[branch] = tuple(round(float(value), 6) for value in np.cumsum([0.0, *steps]))
        return Magnitudes(tuple(self._timesteps), logarithms)
