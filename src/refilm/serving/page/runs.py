"""Training runs that the page starts: one process at a time, which outlives the server.

What is running is in a file, so that every server that is started later finds it.
"""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from refilm.errors import UserError
from refilm.files import write_json
from refilm.jobs.claims import Process, process_with
from refilm.serving.errors import NotFoundError
from refilm.training.checkpoint.checkpoints import checkpoints, step_of
from refilm.training.monitor.run_record import read_run_record

MOST_RECIPES = 200
SAMPLE = re.compile(r"step-\d{8,}-\d+\.mp4")
LOG_TAIL = 4000  # bytes
State = Literal["none", "running", "stopping", "stopped", "finished"]


@dataclass(frozen=True)
class Run:
    """The newest training run."""

    state: State
    recipe: str = ""
    """Path of the recipe within the folder of recipes."""
    name: str = ""
    """Name of the run's folder."""
    step: int | None = None
    """The step of the newest checkpoint."""
    validations: tuple[dict[str, Any], ...] = ()
    """Step, scores and words of each validation."""
    result: str = ""
    """Path of the adapter."""
    samples: tuple[str, ...] = ()
    """Names of the newest sample videos."""
    log: str = ""
    """The end of what the process has printed."""


class Runs:
    """Starts, stops and resumes `refilm train`.

    Args:
        recipes: folder with the recipes; other recipes cannot be trained. Relative paths in them count from it.
        folder: where the runs are; it is created.

    Raises:
        UserError: there is no folder with recipes.
    """

    def __init__(self, recipes: Path, folder: Path):
        if not recipes.is_dir():
            raise UserError(f"--train {recipes}: no such folder; give the folder with your recipes")
        self.recipes, self.folder = recipes.resolve(), folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file, self._lock = self.folder / "current.json", FileLock(self.folder / "current.lock")

    def list(self) -> list[str]:
        """The recipes, as paths within their folder."""
        found = (path for path in sorted(self.recipes.rglob("*.toml")) if path.resolve().is_relative_to(self.recipes))
        return [str(path.relative_to(self.recipes)) for path, _ in zip(found, range(MOST_RECIPES), strict=False)]

    def start(self, recipe: str) -> None:
        """Start a new run of a recipe.

        Raises:
            UserError: the recipe is none of the folder's, or another run is running.
        """
        if recipe not in self.list():
            raise UserError("choose a recipe; write one with: refilm recipe adapter > FILE.toml")
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", recipe.removesuffix(".toml")).strip("-") or "run"
        taken = {path.name for path in self.folder.iterdir()}
        number = next(number for number in range(1, 10**6) if f"{name}-{number}" not in taken)
        self._run(recipe, f"{name}-{number}", resume=False)

    def resume(self) -> None:
        """Continue the newest run from its newest checkpoint, or from the beginning if it has none.

        Raises:
            UserError: there is none, or it is running.
        """
        run = self.current()
        if run.state == "none":
            raise UserError("there is no run to resume; start one")
        self._run(run.recipe, run.name, resume=run.step is not None)

    def stop(self) -> None:
        """Ask the run to save its last step and to end.

        Raises:
            UserError: none is running.
        """
        with self._lock:
            known = self._known()
            if known is None or _is_gone(known):
                raise UserError("no training is running")
            write_json(self._file, {**known, "stopping": True})
            os.kill(known["pid"], signal.SIGTERM)

    def current(self) -> Run:
        """The newest run."""
        known = self._known()
        if known is None:
            return Run("none")
        folder = self.folder / known["run"]
        record = read_run_record(folder / "run.json") if (folder / "run.json").is_file() else {}
        kept = checkpoints(folder)
        state: State = "stopping" if known.get("stopping") else "running"
        if _is_gone(known):
            state = "finished" if record.get("result") else "stopped"
        return Run(
            state,
            known["recipe"],
            known["run"],
            step_of(kept[-1]) if kept else None,
            tuple(record.get("validations", ())),
            record.get("result") or "",
            self._samples(folder),
            _tail(self._log(known["run"])),
        )

    def sample(self, run: str, name: str) -> Path:
        """The path of a sample video.

        Raises:
            NotFoundError: there is none.
        """
        if re.fullmatch(r"[A-Za-z0-9_-]+", run) and SAMPLE.fullmatch(name):
            path = self.folder / run / "videos" / name
            if path.is_file():
                return path
        raise NotFoundError(f"{name!a}: no such sample video")

    def _run(self, recipe: str, name: str, *, resume: bool) -> None:
        with self._lock:
            known = self._known()
            if known is not None and not _is_gone(known):
                raise UserError(f"{known['recipe']} is being trained; stop it first")
            command = [sys.executable, "-m", "refilm.cli", "train", str(self.recipes / recipe)]
            command += ["--run", str(self.folder / name), *(["--resume"] if resume else [])]
            with self._log(name).open("ab") as log:
                process = subprocess.Popen(
                    command,
                    cwd=self.recipes,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # the end of the server does not end it
                )
            values = {**process_with(process.pid)._asdict(), "recipe": recipe, "run": name}
            write_json(self._file, values)

    def _known(self) -> dict[str, Any] | None:
        return json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else None

    def _log(self, run: str) -> Path:
        return self.folder / f"{run}.log"

    def _samples(self, folder: Path) -> tuple[str, ...]:
        names = sorted(path.name for path in folder.glob("videos/step-*.mp4"))
        newest = names[-1].rpartition("-")[0] if names else ""
        return tuple(name for name in names if name.rpartition("-")[0] == newest)


def _is_gone(known: dict[str, Any]) -> bool:
    return Process(known["machine"], known["pid"], known["started"]).is_gone()


def _tail(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL))
        return file.read().decode(errors="replace")
