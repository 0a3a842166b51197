"""Trained and frozen parameters: a table of their sizes, and a check of their `requires_grad` flags.

Independent of how they are trained.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from refilm.training.engine.optimizers import by_muon
from refilm.training.engine.quantized import parts_of
from refilm.training.settings import OptimizerSettings


@dataclass(frozen=True)
class Part:
    """A group of parameters that are all trained or all frozen."""

    name: str
    trains: bool
    parameters: tuple[tuple[str, nn.Parameter], ...]
    """Names and parameters."""


@dataclass(frozen=True)
class ParameterRow:
    """Sizes of a part, over all processes together if it is sharded; in bytes, except for `parameters`."""

    name: str
    trains: bool
    parameters: int
    weights: int
    gradients: int
    states: int
    """Optimizer moments and moving average."""

    @property
    def bytes(self) -> int:
        """The sum of all sizes."""
        return self.weights + self.gradients + self.states


@dataclass(frozen=True)
class ParameterTable:
    """Sizes of trained and frozen parameters, part by part."""

    rows: tuple[ParameterRow, ...]

    @property
    def trained(self) -> int:
        """Number of trained parameters."""
        return sum(row.parameters for row in self.rows if row.trains)

    @property
    def frozen(self) -> int:
        """Number of frozen parameters."""
        return sum(row.parameters for row in self.rows if not row.trains)

    @property
    def bytes(self) -> int:
        """Memory of all parts, without activations."""
        return sum(row.bytes for row in self.rows)


def table(parts: Sequence[Part], optimizer: OptimizerSettings) -> ParameterTable:
    """The sizes of parts under an optimizer; parameters may be on device `meta`."""
    return ParameterTable(tuple(_row(part, optimizer) for part in parts if part.parameters))


def _row(part: Part, optimizer: OptimizerSettings) -> ParameterRow:
    weights = sum(weight_bytes(p) for _, p in part.parameters)
    states = sum(state_bytes(name, p, optimizer) for name, p in part.parameters) if part.trains else 0
    count = sum(p.numel() for _, p in part.parameters)
    return ParameterRow(part.name, part.trains, count, weights, weights if part.trains else 0, states)


def weight_bytes(weight: Tensor) -> int:
    """Bytes of a weight; of a weight quantized by torchao, those of all its tensors."""
    return sum(tensor.nbytes for tensor in parts_of(weight))


def state_bytes(name: str, parameter: nn.Parameter, optimizer: OptimizerSettings) -> int:
    """Bytes of a parameter's moments and of its moving average."""
    moments = 2.0 * parameter.element_size()
    if by_muon(name, parameter, optimizer):
        moments /= 2
    elif optimizer.kind.startswith("adamw8bit") and parameter.numel() >= 4096:  # smaller ones are not quantized
        moments = 2 * (1 + 4 / 256)  # one byte each, and one float32 per block of 256
    return round(parameter.numel() * (moments + (parameter.element_size() if optimizer.ema else 0)))


def assert_trained(parts: Iterable[Part]) -> None:
    """Check that exactly the parameters of trained parts require gradients."""
    for part in parts:
        wrong = [name for name, p in part.parameters if p.requires_grad != part.trains]
        assert not wrong, f"{part.name} must be {'trained' if part.trains else 'frozen'}, but {wrong[0]} is not"
