"""One optimizer step of a run, and the state that it changes: weights, optimizers, moving average.

Knows nothing of files, clocks or screens.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from refilm.settings import Settings
from refilm.training.optimizers import MovingAverage, OptimizerSettings, make_optimizers, rate
from refilm.training.parallel import average, average_gradients


class StepSettings(Settings):
    """How a step is computed."""

    steps: int
    """Optimizer steps in all."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """The arithmetic of matrix products; weights stay fp32."""
    optimizer: OptimizerSettings = OptimizerSettings()


class Task(Protocol):
    """What is trained. Draws are functions of the step alone, so that a run can resume; with several
    processes `loss` is that of this one's share of the batch."""

    module: nn.Module
    """All weights that may train; those that do have `requires_grad`."""

    def loss(self, step: int) -> dict[str, Tensor]:
        """The loss of a step under the key "loss", and what else is worth telling."""
        ...

    def validate(self) -> dict[str, float]:
        """Scores on held-out data with the weights as they are."""
        ...


class Trainer:
    """What changes from step to step: weights, optimizers, moving average, the step's number."""

    def __init__(self, task: Task, settings: StepSettings):
        self.task, self.settings, self.step = task, settings, 0
        self.trained = {name: p for name, p in task.module.named_parameters() if p.requires_grad}
        self.optimizers = make_optimizers(self.trained.items(), settings.optimizer)
        self.base_rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self.ema = MovingAverage(self.trained, settings.optimizer.ema)

    def advance(self) -> dict[str, float]:
        """One step; returns its numbers, "loss" among them.

        Raises:
            FloatingPointError: a loss or gradient that is not finite; the weights stay as they were.
        """
        share = rate(self.step, self.settings.steps, self.settings.optimizer)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, base in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = base * share
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bf16"):
            details = self.task.loss(self.step)
        details["loss"].backward()
        average_gradients(self.trained.values())
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.settings.optimizer.clip)
        told = average(details) | {"gradient_norm": norm.item()}
        if not math.isfinite(told["loss"]) or not math.isfinite(told["gradient_norm"]):
            raise FloatingPointError(f"step {self.step}: loss {told['loss']}, gradient norm {told['gradient_norm']}")
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.ema.update(self.trained, self.step)
        return told

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the context the averaged weights are in place."""
        current = {name: p.detach().clone() for name, p in self.trained.items()}
        self.take_average()
        try:
            yield
        finally:
            self._assign(current)

    def take_average(self) -> None:
        """Put the averaged weights in place for good."""
        self._assign(self.ema.average if self.settings.optimizer.ema else self.trained)

    @torch.no_grad()
    def _assign(self, tensors: Mapping[str, Tensor]) -> None:
        for name, p in self.trained.items():
            p.copy_(tensors[name])

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "step": self.step,
            "weights": {name: p.detach() for name, p in self.trained.items()},
            "average": self.ema.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Be where `state` was taken."""
        self.step = state["step"]
        self._assign(state["weights"])
        self.ema.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
