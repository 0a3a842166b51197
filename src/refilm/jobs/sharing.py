"""Which rows of a list a process makes, from `--shard` and from the variables of torchrun and SLURM job arrays.

SLURM's SLURM_PROCID is not read: a batch script without `srun` has it too, as the first of many, and would make only
its part of the list.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from refilm.errors import UserError

Item = TypeVar("Item")
RANK, SIZE = "RANK", "WORLD_SIZE"
TASK, TASKS, FIRST, LAST, STEP = (f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP"))


@dataclass(frozen=True)
class Share:
    """One of `count` parts of a list: every `count`-th item, from `index` on, counted from 0."""

    index: int = 0
    count: int = 1
    source: str = ""
    """What it was read from."""

    def __str__(self) -> str:
        return f"share {self.index + 1}/{self.count} ({self.source})"

    @classmethod
    def of_text(cls, text: str) -> "Share":
        """Read "3/16", the third of 16 shares.

        Raises:
            UserError: the text has another form.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--shard {text!r:.100}: give a number and how many there are, from 1/16 to 16/16")
        return cls(int(match[1]) - 1, int(match[2]), "--shard")

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Share":
        """The share of this process among the tasks of a SLURM job array and, within a task, those of torchrun.

        Raises:
            UserError: a variable is not a number, or the tasks of the array are not evenly spaced.
        """
        return cls.of_array(environment).divided(cls.of_torchrun(environment))

    @classmethod
    def of_torchrun(cls, environment: Mapping[str, str]) -> "Share":
        """The share of a process that torchrun started; the whole list without torchrun.

        Raises:
            UserError: a variable is not a number.
        """
        if RANK not in environment or SIZE not in environment:
            return cls()
        return cls(_number(environment, RANK), _number(environment, SIZE), "torchrun")

    @classmethod
    def of_array(cls, environment: Mapping[str, str]) -> "Share":
        """The share of a task of a SLURM job array; the whole list outside of an array.

        Raises:
            UserError: a variable is not a number, or the tasks of the array are not evenly spaced.
        """
        if TASK not in environment or TASKS not in environment:
            return cls()
        task, count, first = (_number(environment, name) for name in (TASK, TASKS, FIRST))
        step = _number(environment, STEP) if STEP in environment else 1
        last = _number(environment, LAST) if LAST in environment else first + (count - 1) * step
        index, beside = divmod(task - first, max(step, 1))
        if beside or not 0 <= index < count or last != first + (count - 1) * step:
            raise UserError(
                f"{TASK}={task}: the tasks of this job array are not evenly spaced; number them 1-{count}, or share "
                "the rows with --claim"
            )
        return cls(index, count, "SLURM job array")

    def divided(self, inner: "Share") -> "Share":
        """The part `inner` of this share."""
        source = " and ".join(filter(None, (self.source, inner.source)))
        return Share(self.index + self.count * inner.index, self.count * inner.count, source)

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this share."""
        return list(items[self.index :: self.count])

    def first(self, items: Sequence[Item]) -> list[Item]:
        """All items, those of this share first, then those of the shares after it."""
        return [
            item for number in range(self.count) for item in items[(self.index + number) % self.count :: self.count]
        ]


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text):
        raise UserError(f"{name}={text!r:.100}: must be a number; unset it to make all rows in this process")
    return int(text)
