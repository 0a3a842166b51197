"""What a resumed run may change. All else must be as in the run that it goes on with, or be allowed by name.

Knows what a run recorded of itself, and compares; reads no weights.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refilm.settings import meant, names_of
from refilm.training.monitor.run_record import FILE, read_account
from refilm.training.recipes import Recipe

FREE = (
    "out",
    "base",
    "image_encoder",
    "data.cache",
    "data.held_out",
    "data.manifest",
    "data.encode.batch",
    "data.encode.shard",
    "data.encode.workers",
    "data.encode.patience",
    "diffusion.checkpointing",
    "diffusion.compile",
    "diffusion.validation.batch",
    "diffusion.validation.stop_if_unused",
    "videos",
    "loop.steps",
    "loop.accumulate",
    "loop.shard",
    "loop.save_every",
    "loop.validate_every",
    "loop.keep",
    "loop.silent_after",
    "loop.give_up_after",
)
"""Settings, and tables of them, that any resume may change: how long a run is, what it is watched by, what it needs of
its machine, and where things are. What is in the places is compared by its content, see `CONTENTS`."""

CONTENTS = ("data.train.identity", "data.held_out.identity", "base.fingerprint")
"""What a run records of its clips and its base model, by name in `run.json`."""


@dataclass(frozen=True)
class Change:
    """A setting, or what a run rests on, that is not as it was."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} was {_shown(self.before)}, now it is {_shown(self.now)}"


def changes_of_recipe(record: Mapping[str, Any], recipe: Recipe[Any]) -> list[Change]:
    """What a recipe has otherwise than the one that a run recorded; settings that are newer count as left out then.

    Raises:
        ValueError: the recorded recipe is none that this refilm knows.
    """
    recorded = type(recipe).from_values(record["recipe"])
    return _differences(dict(_leaves(recorded.to_values())), dict(_leaves(recipe.to_values())))


def changes_of_contents(record: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Change]:
    """Which of the clips and the base model that a run recorded are others now."""
    before, now = ({name: told for name, told in _leaves(of) if name in CONTENTS} for of in (record, sources))
    return _differences(before, now)


class Comparison:
    """A run that goes on, held against what it recorded of itself.

    Args:
        start: the checkpoint that it goes on from; none: it is new, and there is nothing to compare with.
        recipe: of now.
        allowed: names of settings, or of tables of them, that may change beside the free ones.

    Raises:
        ValueError: the recipe has changes that are not allowed, each named with its value then and now; nothing was
            recorded; an allowed name that does not exist.
    """

    def __init__(self, start: Path | None, recipe: Recipe[Any], allowed: Collection[str] = ()):
        self.path, self.allowed, self.record = None, tuple(allowed), {}
        self.changes: list[Change] = []
        """All that is otherwise than it was."""
        _require_known(self.allowed, recipe)
        if start is None:
            return
        self.path = start.parent / FILE
        if not self.path.is_file():
            raise ValueError(
                f"{self.path}: no such file; it has the recipe that the checkpoint was made with: put it back"
            )
        self.record = read_account(self.path)
        self._take(changes_of_recipe(self.record, recipe))

    def compare_contents(self, sources: Mapping[str, Any]) -> None:
        """Compare what the run rests on, as it is written to `run.json`.

        Raises:
            ValueError: clips or base model are others, and that is not allowed.
        """
        if self.path is not None:
            self._take(changes_of_contents(self.record, sources))

    def _take(self, changes: list[Change]) -> None:
        free = {change.name: () if change.name in CONTENTS else FREE for change in changes}
        refused = [change for change in changes if not _within(change.name, (*free[change.name], *self.allowed))]
        if refused:
            flags = " ".join(f"--allow-change {change.name}" for change in refused)
            raise ValueError(
                f"{self.path}: {'; '.join(map(str, refused))}: a run goes on as it began; make them the same again, or "
                f"go on with {flags}"
            )
        self.changes += changes


def _require_known(allowed: Collection[str], recipe: Recipe[Any]) -> None:
    known = [*names_of(type(recipe)), *CONTENTS]
    for name in allowed:
        if not any(_within(each, (name,)) for each in known):
            other = meant(name, known)
            words = f"did you mean {other}?" if other else "give a setting's dotted name"
            raise ValueError(f"--allow-change {name}: no such setting; {words}")


def _within(name: str, tables: Collection[str]) -> bool:
    return any(name == table or name.startswith(f"{table}.") for table in tables)


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield ".".join((*path, name)), value


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    names = [*before, *(name for name in now if name not in before)]
    return [Change(n, before.get(n), now.get(n)) for n in names if before.get(n) != now.get(n)]


def _shown(value: Any) -> str:
    return "left out" if value is None else json.dumps(value, ensure_ascii=False)
