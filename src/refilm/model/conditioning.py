"""The inputs of a block besides its tokens."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self, cast, get_args

import torch
from torch import Tensor

from refilm.geometry import Grid
from refilm.model.references import References

Branch = Literal["conditional", "text only", "unconditional"]
"""A branch of guidance: with text and reference, without the reference, without both."""


class Row(NamedTuple):
    """What a row of a batch is: one branch of one sample, or of a part of it in time."""

    branch: Branch
    sample: int
    window: int = 0
    """The first token frame, within the whole video, of the part that the row is."""

    def __str__(self) -> str:
        return f"{self.branch}.{self.sample}.{self.window}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The row that this text names."""
        branch, sample, window = text.split(".")
        if branch not in get_args(Branch):
            raise ValueError(f"{branch!r} is not a branch of guidance")
        return cls(cast(Branch, branch), int(sample), int(window))


def conditional_rows(batch: int) -> tuple[Row, ...]:
    """The rows of a batch without guidance."""
    return tuple(Row("conditional", sample) for sample in range(batch))


@dataclass(frozen=True, eq=False)
class Time:
    """What a transformer computes of a timestep alone. B rows, or 1 for all of them; E channels."""

    embedding: Tensor
    """(B or 1, E)"""
    modulations: tuple[Tensor, ...] = ()
    """Of the layers that modulate by the time, in the order in which they run; empty: the layers compute them."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    """The conditions of one forward. B rows, E channels of the time embedding."""

    time: Tensor
    """(B, E), or (1, E) for all rows."""
    text_length: int
    """Number of text tokens; they come first."""
    grid: Grid
    """Grid of the video tokens, which follow the text tokens in (frame, row, column) order."""
    rows: tuple[Row, ...]
    """What each row is: the branch of guidance and the sample."""
    rotary: tuple[Tensor, Tensor] | None = None
    """Cosines and sines for the video tokens' queries and keys, (N, head_dim) each."""
    references: References | None = None
    """None: blocks skip their reference attention."""
    modulations: tuple[Tensor, ...] = ()
    """Modulations that were computed before, of each block and then of the head; within a block its own alone. Empty:
    they compute them from the time."""

    def select(self, which: Tensor) -> Self:
        """The conditions of a subset of the rows: `which` contains their indices, or is a boolean mask."""
        indices = torch.arange(len(self.rows), device=which.device)[which].tolist()
        return replace(
            self,
            time=of_rows(self.time, which),
            modulations=tuple(of_rows(one, which) for one in self.modulations),
            rows=tuple(self.rows[index] for index in indices),
            references=None if self.references is None else self.references.select(which),
        )

    def in_block(self, index: int) -> Self:
        """The same conditions with the references' scale and the modulation of one block."""
        references = None if self.references is None else self.references.in_block(index)
        if references is self.references and not self.modulations:
            return self
        return replace(self, references=references, modulations=self.modulations[index : index + 1])


def of_rows(values: Tensor, which: Tensor) -> Tensor:
    """A subset of the rows of (B, ...); what is the same for all rows, (1, ...), is returned unchanged."""
    return values if len(values) == 1 else values[which]
