"""What a resumed run may change. Everything else must match the earlier part of the run, or be allowed by name.

Compares the recipe and data with the run record; reads no weights.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refilm.data.settings import EncodeSettings
from refilm.errors import UserError
from refilm.settings import meant, names_of
from refilm.training.monitor.run_record import FILE, read_run_record
from refilm.training.recipes import Recipe
from refilm.training.settings import OF_BASE

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
    "evaluate",
    "loop.steps",
    "loop.accumulate",
    "loop.shard",
    "loop.save_every",
    "loop.validate_every",
    "loop.keep",
    "loop.silent_after",
    "loop.give_up_after",
)
"""Settings, and tables of settings, that may change on any resume: the length of the run, its monitoring, machine
resources, and paths. What the paths contain is compared by content, see `CONTENTS`."""

CONTENTS = ("data.train.identity", "data.held_out.identity", "base.fingerprint")
"""Identities of clips and base model, by their names in `run.json`."""


@dataclass(frozen=True)
class Change:
    """A setting, a data set or a base model that differs from the run record."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} was {_shown(self.before)}, now it is {_shown(self.now)}"


def changes_of_recipe(record: Mapping[str, Any], recipe: Recipe[Any]) -> list[Change]:
    """Differences between a recipe and the recorded one; a setting that did not exist then counts as not given.

    Raises:
        UserError: this version of refilm cannot read the recorded recipe.
    """
    recorded = type(recipe).from_values(record["recipe"])
    before, now = (_defaults_of_encoding() | dict(_leaves(one.to_values())) for one in (recorded, recipe))
    return _differences(before, now)


def changes_of_contents(record: Mapping[str, Any], sources: Mapping[str, Any]) -> list[Change]:
    """Differences between the recorded clips and base model and the current ones."""
    before, now = ({name: value for name, value in _leaves(of) if name in CONTENTS} for of in (record, sources))
    return _differences(before, now)


class Comparison:
    """Compares a resumed run with its run record.

    Args:
        start: the checkpoint to resume from; None: a new run, nothing is compared.
        recipe: the current recipe.
        allowed: names of settings, or of tables of settings, that may change in addition to `FREE`.

    Raises:
        UserError: the recipe has changes that are not allowed (the message lists old and new values), the run record
            is missing, or an allowed name does not exist.
    """

    def __init__(self, start: Path | None, recipe: Recipe[Any], allowed: Collection[str] = ()):
        self.path, self.allowed, self.record = None, tuple(allowed), {}
        self.changes: list[Change] = []
        """All differences found so far."""
        _require_known(self.allowed, recipe)
        if start is None:
            return
        self.path = start.parent / FILE
        if not self.path.is_file():
            raise UserError(
                f"{self.path}: no such file; restore it: it contains the recipe that the checkpoint was trained with"
            )
        self.record = read_run_record(self.path)
        self._take(changes_of_recipe(self.record, recipe))

    def compare_contents(self, sources: Mapping[str, Any]) -> None:
        """Compare clips and base model with those in `run.json`.

        Raises:
            UserError: clips or base model changed, and that is not allowed.
        """
        if self.path is not None:
            self._take(changes_of_contents(self.record, sources))

    def _take(self, changes: list[Change]) -> None:
        free = {change.name: () if change.name in CONTENTS else FREE for change in changes}
        refused = [change for change in changes if not _within(change.name, (*free[change.name], *self.allowed))]
        if refused:
            flags = " ".join(f"--allow-change {change.name}" for change in refused)
            raise UserError(
                f"{self.path}: {'; '.join(map(str, refused))}: a resumed run cannot change this; restore it, or allow "
                f"it with {flags}"
            )
        self.changes += changes


def _require_known(allowed: Collection[str], recipe: Recipe[Any]) -> None:
    known = [*names_of(type(recipe)), *CONTENTS]
    for name in allowed:
        if not any(_within(each, (name,)) for each in known):
            other = meant(name, known)
            words = f"did you mean {other}?" if other else "give a setting's dotted name"
            raise UserError(f"--allow-change {name}: no such setting; {words}")


def _within(name: str, tables: Collection[str]) -> bool:
    return any(name == table or name.startswith(f"{table}.") for table in tables)


def _leaves(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield ".".join((*path, name)), value


def _defaults_of_encoding() -> dict[str, Any]:
    """Defaults that a recipe does not contain unless they are given, without those that depend on the base model."""
    defaults = EncodeSettings().model_dump(mode="json", exclude=set(OF_BASE))
    return dict(_leaves(defaults, ("data", "encode")))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    names = [*before, *(name for name in now if name not in before)]
    return [Change(n, before.get(n), now.get(n)) for n in names if before.get(n) != now.get(n)]


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
