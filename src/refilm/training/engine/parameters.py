"""What trains and what is frozen: the table that says so, and the check that gradients are asked for accordingly.

Knows parameters and their sizes; nothing of how they are trained.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from refilm.training.engine.optimizers import OptimizerSettings, by_muon
from refilm.training.engine.quantized import parts_of


@dataclass(frozen=True)
class Part:
    """Parameters that train together, or are frozen together."""

    name: str
    trains: bool
    parameters: tuple[tuple[str, nn.Parameter], ...]
    """With their names."""


@dataclass(frozen=True)
class ParameterRow:
    """A part's sizes, in all processes together where they share it; bytes, but for `parameters`."""

    name: str
    trains: bool
    parameters: int
    weights: int
    gradients: int
    states: int
    """Moments of the optimizer, and the moving average."""

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.states


@dataclass(frozen=True)
class ParameterTable:
    """What trains and what is frozen, part by part."""

    rows: tuple[ParameterRow, ...]

    @property
    def trained(self) -> int:
        """Parameters that train."""
        return sum(row.parameters for row in self.rows if row.trains)

    @property
    def frozen(self) -> int:
        """Parameters that do not."""
        return sum(row.parameters for row in self.rows if not row.trains)

    @property
    def bytes(self) -> int:
        """Memory of all of it, without activations."""
        return sum(row.bytes for row in self.rows)


def table(parts: Sequence[Part], optimizer: OptimizerSettings) -> ParameterTable:
    """The sizes of parts, under an optimizer; parameters on `meta` are enough."""
    return ParameterTable(tuple(_row(part, optimizer) for part in parts if part.parameters))


def _row(part: Part, optimizer: OptimizerSettings) -> ParameterRow:
    weights = sum(held(p) for _, p in part.parameters)
    states = sum(state_bytes(name, p, optimizer) for name, p in part.parameters) if part.trains else 0
    count = sum(p.numel() for _, p in part.parameters)
    return ParameterRow(part.name, part.trains, count, weights, weights if part.trains else 0, states)


def held(weight: Tensor) -> int:
    """Bytes of a weight, of one that torchao has quantized those of all its tensors."""
    return sum(tensor.nbytes for tensor in parts_of(weight))


def state_bytes(name: str, parameter: nn.Parameter, optimizer: OptimizerSettings) -> int:
    """Bytes of a parameter's moments and moving average."""
    moments = 2.0 * parameter.element_size()
    if by_muon(name, parameter, optimizer):
        moments /= 2
    elif optimizer.kind.startswith("adamw8bit") and parameter.numel() >= 4096:  # smaller ones are kept whole
        moments = 2 * (1 + 4 / 256)  # a byte each, and a float32 a block of 256
    return round(parameter.numel() * (moments + (parameter.element_size() if optimizer.ema else 0)))


def assert_trained(parts: Iterable[Part]) -> None:
    """That exactly those parameters require gradients whose part trains."""
    for part in parts:
        wrong = [name for name, p in part.parameters if p.requires_grad != part.trains]
        assert not wrong, f"{part.name} must {'train' if part.trains else 'be frozen'}, but {wrong[0]} does not do so"
