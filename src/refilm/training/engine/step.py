"""One optimizer step of a run, and the state that it changes: weights, optimizers, moving average.

Independent of files, time and display.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from refilm.errors import NotFiniteError, UserError
from refilm.training.distributed.consensus import agreed
from refilm.training.distributed.parallel import Replicated, SingleProcess, own_device, place, split_batch, total
from refilm.training.distributed.sharding import Sharded, like, whole
from refilm.training.engine.frozen import Frozen, finite
from refilm.training.engine.optimizers import MovingAverage, create_moments, make_optimizers, moved, rate, set_rate
from refilm.training.engine.precision import dtype_of
from refilm.training.settings import StepSettings


class Trainable(Protocol):
    """What the loop trains. Random numbers are functions of the sample number only, so that a run can resume, and any
    number of processes can share a batch."""

    module: nn.Module
    """Contains all weights; trained ones have `requires_grad`."""
    products: torch.dtype
    """The dtype of matrix products in the model's forward pass, and only there (`products_in`); set by the trainer."""

    def samples(self, step: int) -> range:
        """The numbers of a step's samples, counted through the run."""
        ...

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        """The mean loss of some of a step's samples under the key "loss", and other metrics to log."""
        ...

    def validate(self) -> dict[str, float]:
        """Scores of the current weights on the validation set."""
        ...


@runtime_checkable
class Shardable(Protocol):
    """A task whose weights can be sharded over processes."""

    def shards(self) -> Sequence[nn.Module]:
        """The FSDP units, inner modules before those that contain them."""
        ...

    def gathered(self, weights: Mapping[str, Tensor]) -> None:
        """Replace sharded weights by whole ones, given by their names in the task's module."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A task whose samples come from files."""

    def not_finite(self, step: int, samples: Sequence[int]) -> str | None:
        """The first non-finite tensor among some of a step's samples, and its file; None: all are finite."""
        ...


class Trainer:
    """The state of a run: weights, optimizers, moving average, step number.

    Raises:
        UserError: the settings do not suit the task.
    """

    def __init__(self, task: Trainable, settings: StepSettings):
        self.task, self.settings, self.step = task, settings, 0
        self.run = _together(task, settings)
        self.trained = {name: p for name, p in task.module.named_parameters() if p.requires_grad}
        self.frozen, self.proven = Frozen.of(task.module), False
        self.device = next(iter(self.trained.values())).device
        task.products = dtype_of(settings.precision, self.device)
        self.optimizers = make_optimizers(self.trained.items(), settings.optimizer, products=task.products)
        for optimizer in self.optimizers:
            create_moments(optimizer)
        self.base_rates = [[float(group["lr"]) for group in o.param_groups] for o in self.optimizers]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.ema = MovingAverage(self.trained, settings.optimizer.ema)

    def close(self) -> None:
        """Release the DDP or FSDP modules, before the process group is destroyed."""
        self.run = SingleProcess(self.task)

    @property
    def sharded(self) -> bool:
        """Whether weights are sharded over the processes: then all must take part in validation and saving."""
        return self.run.sharded

    def advance(self) -> dict[str, float]:
        """Compute one step; returns its metrics, including "loss".

        Raises:
            NotFiniteError: a loss or gradient is not finite; the message names the cause. Weights do not change.
            UserError: the batch is too small for the number of processes and parts.
        """
        self._set_rates()
        metrics = self._gradients()
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.settings.optimizer.clip)
        metrics["gradient_norm"] = whole(norm).item()
        metrics["learning_rate"] = float(self.optimizers[0].param_groups[0]["lr"])
        self._check(metrics)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self.step += 1
        self.ema.update(self.trained, self.step)
        if not self.proven:  # after the first step
            self.check_frozen()
        return metrics

    def check_frozen(self) -> None:
        """Check that no frozen weight has changed since this trainer was created, in any process.

        Raises:
            AssertionError: a frozen weight changed; the message names it.
        """
        with agreed():
            self.frozen.check()
        self.proven = True

    def _set_rates(self) -> None:
        fraction = rate(self.step, self.settings.steps, self.settings.optimizer)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, base in zip(optimizer.param_groups, rates, strict=True):
                set_rate(group, base * fraction)
            optimizer.zero_grad(set_to_none=True)

    def _gradients(self) -> dict[str, float]:
        """Forward and backward passes of the batch, part by part; returns metrics as means over all samples."""
        samples = self.task.samples(self.step)
        parts = split_batch(samples, self.settings.accumulate)
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self.run.no_sync():
                details = self.run.loss(self.step, part)
                weight = len(part) / len(samples)
                self.scaler.scale(
                    details["loss"] * (weight * place().size)
                ).backward()  # gradients are averaged over processes
            for name, value in details.items():
                sums[name] = sums.get(name, 0) + weight * value.detach()
        return total(sums)

    def _check(self, metrics: Mapping[str, float]) -> None:
        overflowed = self.scaler.is_enabled() and self.scaler.get_scale() >= 1  # the scaler then lowers the scale
        if not math.isfinite(metrics["loss"]) or not (math.isfinite(metrics["gradient_norm"]) or overflowed):
            what = f"step {self.step}: loss {metrics['loss']}, gradient norm {metrics['gradient_norm']}"
            raise NotFiniteError(f"{what}, {self._cause()}")

    def _cause(self) -> str:
        """Why a step is not finite, and how to fix it: its input, the base's weights, or the training itself."""
        samples = self.task.samples(self.step)
        found = self.task.not_finite(self.step, samples) if isinstance(self.task, Inspectable) else None
        if found is not None:
            return f"because its input is not finite: {found}"
        unsound = next((name for name, p in self.frozen.weights.items() if not finite(p)), None)
        if unsound is not None:
            return f"because the base model's weight {unsound} is not finite; use an intact base model"
        where = f"in samples {samples[0]} to {samples[-1]}"
        if self.step == 0:
            return f'{where}, with the initial weights; try loop.precision = "fp32"'
        return (
            f"{where}; resuming unchanged would fail again, so lower loop.optimizer.learning_rate or inspect these "
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
        """Put the averaged weights in place permanently; sharded weights are gathered."""
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
        """The state for a checkpoint: tensors (DTensors where the weights are sharded) and plain values."""
        return {
            "step": self.step,
            "weights": {name: p.detach() for name, p in self.trained.items()},
            "average": self.ema.average,
            "moments": {name: dict(optimizer.state[key]) for name, optimizer, key in self._moved()},
            "scaler": self.scaler.state_dict(),
        }

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state; it may come from another number of processes.

        Raises:
            UserError: other parameters train, or the optimizer is of another kind.
        """
        if other := sorted(state["weights"].keys() ^ self.trained.keys()):
            raise UserError(f"{other[0]} trains in only one of the saved run and this one: resume with the same recipe")
        self.step = state["step"]
        self._assign(state["weights"])
        for name, average in self.ema.average.items():
            _put(average, state["average"].get(name, state["weights"][name]), name)
        for name, optimizer, key in self._moved():
            moments, saved = optimizer.state[key], state["moments"][name]
            if saved.keys() != moments.keys():
                raise UserError(f"{name} has another optimizer in the saved run: resume with the same recipe")
            for kind, value in saved.items():
                if isinstance(value, Tensor):
                    _put(moments[kind], value, f"{kind} of {name}")
                else:
                    moments[kind] = value
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def _moved(self) -> Iterator[tuple[str, torch.optim.Optimizer, nn.Parameter]]:
        """Each trained parameter's name, its optimizer, and the key of its moments in the optimizer's state."""
        names = {id(p): name for name, p in self.trained.items()}
        for optimizer in self.optimizers:
            for ours, key in moved(optimizer):
                yield names[id(ours)], optimizer, key


def _put(tensor: Tensor, value: Tensor, name: str) -> None:
    """Copy a value of exactly the same shape; `copy_` would broadcast a smaller one."""
    if tensor.shape != value.shape:
        raise UserError(
            f"{name} has shape {tuple(value.shape)} in the saved run, {tuple(tensor.shape)} in this one: resume with "
            "the same recipe"
        )
    tensor.copy_(like(value, tensor))


def _together(task: Trainable, settings: StepSettings) -> SingleProcess:
    """Wrap the task for the number of processes and `shard`."""
    if place().size == 1:
        return SingleProcess(task)
    if not settings.shard:
        return Replicated(task)
    if not isinstance(task, Shardable):
        raise UserError(f"loop.shard: a {type(task).__name__} cannot be sharded; remove the setting")
    if settings.precision == "fp16" or settings.optimizer.kind != "adamw":
        raise UserError('loop.shard: works with bf16 or fp32, and with loop.optimizer.kind = "adamw"; change these')
    dtype = dtype_of(settings.precision, own_device())
    return Sharded(task, task.shards(), dtype=None if dtype == torch.float32 else dtype)
