"""The run record `run.json`: everything that is needed to repeat a run, and its results.

Written as a whole before the first step, at each validation and at the end. A resumed run adds a part to it.
"""

import importlib.metadata
import math
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import AwareDatetime, BaseModel, FiniteFloat, StrictInt, ValidationError

from refilm.errors import UserError
from refilm.files import read_json, write_json
from refilm.settings import explain
from refilm.training.engine.loop import Progress

FILE = "run.json"
PACKAGES = ("refilm", "torch", "transformers", "diffusers", "safetensors", "numpy", "av", "Pillow")


class _Part(BaseModel):
    since: AwareDatetime
    until: AwareDatetime


class _Validation(BaseModel):
    step: StrictInt
    scores: dict[str, FiniteFloat]
    words: str


class _RunRecord(BaseModel):
    """The fields of a run record that are read again; it has more."""

    id: str = ""
    recipe: dict[str, Any]
    parts: list[_Part] = []
    validations: list[_Validation] = []


def read_run_record(path: Path) -> dict[str, Any]:
    """Read a run record.

    Raises:
        UserError: it is missing, damaged or was edited; the message names it.
    """
    content = read_json(path)
    try:
        _RunRecord.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: damaged or edited ({explain(error)[:200]}); restore the original file") from error
    return content


class RunRecord:
    """Writes a run record.

    Args:
        folder: the run's folder.
        recipe: plain values of the complete recipe.
        sources: data and base model, with their identities.
        processes: number of processes.
        step: the step after which the run is resumed; 0: a new run. Records of later steps are removed.
        changes: differences of this part of the run from the one before, by name: [before, now].
    """

    def __init__(
        self,
        folder: Path,
        recipe: Mapping[str, Any],
        *,
        sources: Mapping[str, Any],
        processes: int,
        step: int = 0,
        changes: Mapping[str, Any] | None = None,
    ):
        self.path = folder / FILE
        known = read_run_record(self.path) if step and self.path.exists() else {}
        self.content: dict[str, Any] = {
            "id": known.get("id", secrets.token_hex(4)),
            "recipe": dict(recipe),
            **sources,
            "parts": [*known.get("parts", ()), {**surroundings(processes, step), "changes": dict(changes or {})}],
            "validations": [each for each in known.get("validations", ()) if each["step"] <= step],
            "result": None,
        }

    def start(self) -> None:
        """Write the record: this part of the run starts."""
        self._write()

    @property
    def name(self) -> str:
        """A unique name of the run: its folder and its id."""
        return f"{self.path.parent.name}-{self.content['id']}"

    @property
    def scores(self) -> list[dict[str, float]]:
        """The scores of all validations so far."""
        return [each["scores"] for each in self.content["validations"]]

    def validated(self, progress: Progress) -> None:
        """Record a validation."""
        scores = {name: value for name, value in progress.scores.items() if math.isfinite(value)}
        self.content["validations"].append({"step": progress.step, "scores": scores, "words": progress.words})
        self._now(progress.step)

    def ended(self, step: int, how: str, *, result: Path | None = None) -> None:
        """Record how this part of the run ended, and the path of the result."""
        self.content["parts"][-1]["end"] = how
        self.content["result"] = None if result is None else str(result)
        self._now(step)

    def facts(self) -> dict[str, Any]:
        """Facts about the run for a model card."""
        last = self.content["validations"][-1] if self.content["validations"] else {"scores": {}, "words": ""}
        parts = self.content["parts"]
        about = {name: self.content[name] for name in ("data", "base", "recipe") if name in self.content}
        return {
            **about,
            "steps": parts[-1]["to_step"],
            "hours": round(sum(_seconds(part) for part in parts) / 3600, 3),
            "processes": parts[-1]["processes"],
            "device": parts[-1]["device"],
            "versions": parts[-1]["versions"],
            "git": parts[-1]["git"],
            "scores": last["scores"],
            "words": last["words"],
        }

    def _now(self, step: int) -> None:
        self.content["parts"][-1] |= {"to_step": step, "until": _clock()}
        self._write()

    def _write(self) -> None:
        write_json(self.path, self.content)


def surroundings(processes: int, step: int) -> dict[str, Any]:
    """Command, versions, machine and time of a part of a run."""
    return {
        "command": sys.argv,
        "folder": str(Path.cwd()),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "git": git_commit(Path.cwd()),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "from_step": step,
        "to_step": step,
        "since": _clock(),
        "until": _clock(),
        "end": "not ended",
    }


def git_commit(folder: Path) -> dict[str, Any] | None:
    """The commit of the repository that contains a folder, and whether files differ from it; None without one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    quiet = ["-c", "core.fsmonitor=false"]  # it could run a program named by an untrusted repository
    command = ["git", *quiet, "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, stdin=subprocess.DEVNULL)
    return done.stdout


def _clock() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _seconds(part: Mapping[str, Any]) -> float:
    since, until = (datetime.fromisoformat(part[name]) for name in ("since", "until"))
    return (until - since).total_seconds()
