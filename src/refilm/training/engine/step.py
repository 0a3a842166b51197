"""One optimizer step of a run, and the state that it changes: weights, optimizers, moving average.

Knows nothing of files, clocks or screens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.settings import Settings
from refilm.training.distributed.consensus import agreed
from refilm.training.distributed.parallel import (
    Alone,
    Replicated,
    Sharded,
    like,
    own_device,
    place,
    shares,
    total,
    whole,
)
from refilm.training.engine.frozen import Frozen, finite
from refilm.training.engine.optimizers import (
    MovingAverage,
    OptimizerSettings,
    begin,
    make_optimizers,
    moved,
    rate,
    set_rate,
)
from refilm.training.engine.precision import Precision, dtype_of


class StepSettings(Settings):
    """How a step is computed."""

    steps: int = Field(ge=1, le=10**9)
    """Optimizer steps in all."""
    precision: Precision = "auto"
    """The arithmetic of matrix products, the optimizer's too (under fp16 these are fp32), fp16 with a scaled loss;
    weights that train stay fp32. `auto` is bf16 where the device is made for it, and fp32 elsewhere: name one of them
    for the same training on every machine."""
    accumulate: int = Field(default=1, ge=1, le=10**6)
    """Parts in which each process computes its share of a batch, one after another; more need less memory."""
    shard: bool = False
    """Several processes share all weights, gradients and moments (FSDP2), where otherwise each holds them whole (DDP):
    for train.what = "all"."""
    optimizer: OptimizerSettings = OptimizerSettings()


class Trainable(Protocol):
    """What is trained. Draws are functions of the samples' numbers alone, so that a run can resume, and any number of
    processes can share a batch."""

    module: nn.Module
    """All weights; those that train have `requires_grad`."""

    def samples(self, step: int) -> range:
        """The numbers of a step's samples, counted through the run."""
        ...

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The mean loss of some of a step's samples under the key "loss", and what else is worth telling."""
        ...

    def validate(self) -> dict[str, float]:
        """Scores on held-out data with the weights as they are."""
        ...


@runtime_checkable
class Shardable(Protocol):
    """A task whose weights can be spread over processes."""

    def shards(self) -> Sequence[nn.Module]:
        """The modules that are gathered one at a time, and last the one that holds them all."""
        ...

    def gathered(self, weights: Mapping[str, Tensor]) -> None:
        """Take whole weights, by their names in the task's module, in place of spread ones."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A task whose samples come from files."""

    def not_finite(self, step: int, samples: Sequence[int]) -> str | None:
        """What of some of a step's samples holds infinities or NaN, and where it is stored; none: nothing."""
        ...


class Trainer:
    """What changes from step to step: weights, optimizers, moving average, the step's number.

    Raises:
        ValueError: settings that this task cannot be trained with.
    """

    def __init__(self, task: Trainable, settings: StepSettings):
        self.task, self.settings, self.step = task, settings, 0
        self.run = _together(task, settings)
        self.trained = {name: p for name, p in task.module.named_parameters() if p.requires_grad}
        self.frozen, self.proven = Frozen.of(task.module), False
        self.device = next(iter(self.trained.values())).device
        products = dtype_of(settings.precision, self.device)
        self.optimizers = make_optimizers(self.trained.items(), settings.optimizer, products=products)
        for optimizer in self.optimizers:
            begin(optimizer)
        self.base_rates = [[float(group["lr"]) for group in o.param_groups] for o in self.optimizers]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.ema = MovingAverage(self.trained, settings.optimizer.ema)

    def close(self) -> None:
        """Let go of what several processes share, before their group is destroyed."""
        self.run = Alone(self.task)

    @property
    def sharded(self) -> bool:
        """Whether weights are spread over the processes: then all must take part in validating and in saving."""
        return self.run.sharded

    def advance(self) -> dict[str, float]:
        """One step; returns its numbers, "loss" among them.

        Raises:
            FloatingPointError: a loss or gradient that is not finite; names the cause. The weights stay as they were.
            ValueError: a batch too small for the processes and parts that share it.
        """
        self._set_rates()
        told = self._gradients()
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.settings.optimizer.clip)
        told["gradient_norm"] = whole(norm).item()
        told["learning_rate"] = float(self.optimizers[0].param_groups[0]["lr"])
        self._check(told)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self.step += 1
        self.ema.update(self.trained, self.step)
        if not self.proven:  # at the first step, as soon as it can be known
            self.check_frozen()
        return told

    def check_frozen(self) -> None:
        """That no frozen weight has changed since this was made, in any process; reads all of them once.

        Raises:
            AssertionError: one has; says which.
        """
        with agreed():
            self.frozen.check()
        self.proven = True

    def arithmetic(self) -> torch.autocast:
        """Within the context matrix products have the precision of the run."""
        dtype = dtype_of(self.settings.precision, self.device)
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def _set_rates(self) -> None:
        share = rate(self.step, self.settings.steps, self.settings.optimizer)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, base in zip(optimizer.param_groups, rates, strict=True):
                set_rate(group, base * share)
            optimizer.zero_grad(set_to_none=True)

    def _gradients(self) -> dict[str, float]:
        """Forward and backward of the batch, part by part; the numbers it tells, as means over all samples."""
        samples = self.task.samples(self.step)
        parts = shares(samples, self.settings.accumulate)
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.run.kept_apart():
                with self.arithmetic():
                    details = self.run.loss(self.step, part)
                weight = len(part) / len(samples)
                self.scaler.scale(details["loss"] * (weight * place().size)).backward()  # processes are averaged
            for name, value in details.items():
                sums[name] = sums.get(name, 0) + weight * value.detach()
        return total(sums)

    def _check(self, told: Mapping[str, float]) -> None:
        overflowed = self.scaler.is_enabled() and self.scaler.get_scale() >= 1  # its way to find the scale
        if not math.isfinite(told["loss"]) or not (math.isfinite(told["gradient_norm"]) or overflowed):
            what = f"step {self.step}: loss {told['loss']}, gradient norm {told['gradient_norm']}"
            raise FloatingPointError(f"{what}, {self._cause()}")

    def _cause(self) -> str:
        """Why a step's numbers are not finite, and what to do: its input, the base's weights, or the last steps."""
        samples = self.task.samples(self.step)
        found = self.task.not_finite(self.step, samples) if isinstance(self.task, Inspectable) else None
        if found is not None:
            return f"for its input is not finite: {found}"
        unsound = next((name for name, p in self.frozen.weights.items() if not finite(p)), None)
        if unsound is not None:
            return f"for the base's weight {unsound} is not finite; take a sound base model"
        where = f"in samples {samples[0]} to {samples[-1]}"
        if self.step == 0:
            return f'{where}, with the weights that the run began with; try loop.precision = "fp32"'
        return (
            f"{where}; the same again would end the same way, so lower loop.optimizer.learning_rate or look at these "
            "samples"
        )

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the context the averaged weights are in place."""
        if not self.ema.average:
            yield
            return
        current = {name: p.detach().clone() for name, p in self.trained.items()}
        self._assign(self.ema.average)
        try:
            yield
        finally:
            self._assign(current)

    def take_average(self) -> None:
        """Put the averaged weights in place for good, whole ones where they were spread over processes."""
        weights = self.ema.average or {name: p.detach() for name, p in self.trained.items()}
        if self.sharded:
            assert isinstance(self.task, Shardable)
            self.task.gathered({name: whole(weight).cpu() for name, weight in weights.items()})
        else:
            self._assign(weights)

    @torch.no_grad()
    def _assign(self, tensors: Mapping[str, Tensor]) -> None:
        for name, p in self.trained.items():
            _put(p, tensors[name], name)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors, spread ones (DTensor) where the weights are, and plain values."""
        return {
            "step": self.step,
            "weights": {name: p.detach() for name, p in self.trained.items()},
            "average": self.ema.average,
            "moments": {name: dict(optimizer.state[key]) for name, optimizer, key in self._moved()},
            "scaler": self.scaler.state_dict(),
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Be where `state` was taken. It may have been taken by another number of processes.

        Raises:
            ValueError: it is of a run in which something else trains, or by another kind of optimizer.
        """
        if other := sorted(state["weights"].keys() ^ self.trained.keys()):
            raise ValueError(f"{other[0]} trains in the saved run or in this one alone: go on with the same recipe")
        self.step = state["step"]
        self._assign(state["weights"])
        for name, average in self.ema.average.items():
            _put(average, state["average"].get(name, state["weights"][name]), name)
        for name, optimizer, key in self._moved():
            moments, saved = optimizer.state[key], state["moments"][name]
            if saved.keys() != moments.keys():
                raise ValueError(f"{name} was moved by another optimizer in the saved run: go on with the same recipe")
            for kind, value in saved.items():
                if isinstance(value, Tensor):
                    _put(moments[kind], value, f"{kind} of {name}")
                else:
                    moments[kind] = value
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def _moved(self) -> Iterator[tuple[str, torch.optim.Optimizer, nn.Parameter]]:
        """Each trained parameter's name, its optimizer, and what the optimizer keeps its moments under."""
        names = {id(p): name for name, p in self.trained.items()}
        for optimizer in self.optimizers:
            for ours, key in moved(optimizer):
                yield names[id(ours)], optimizer, key


def _put(tensor: Tensor, value: Tensor, name: str) -> None:
    """Take a value of the very same shape; `copy_` alone would also repeat a smaller one."""
    if tensor.shape != value.shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} in the saved run, {tuple(tensor.shape)} in this one: go on with "
            "the same recipe"
        )
    tensor.copy_(like(value, tensor))


def _together(task: Trainable, settings: StepSettings) -> Alone:
    """The task in the way its processes share the work."""
    if place().size == 1:
        return Alone(task)
    if not settings.shard:
        return Replicated(task)
    if not isinstance(task, Shardable):
        raise ValueError(f"loop.shard: a {type(task).__name__} trains with whole weights in each process; leave it out")
    if settings.precision == "fp16" or settings.optimizer.kind != "adamw":
        raise ValueError('loop.shard: works with bf16 or fp32, and with loop.optimizer.kind = "adamw"; change these')
    dtype = dtype_of(settings.precision, own_device())
    return Sharded(task, task.shards(), dtype=None if dtype == torch.float32 else dtype)
