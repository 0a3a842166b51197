"""Checkpoints of a run: written atomically, and verified when read.

A checkpoint is a folder `step-00001234` with `state.pt` (only tensors and plain values, loaded with
`weights_only=True`), the files of a sharded state, and the manifest. It is renamed into place after all files were
synced to disk and read back. All processes of a run call these functions together and share one file system.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh

from refilm.errors import MachineError, UserError
from refilm.training.checkpoint.checksums import (
    MANIFEST,
    Digest,
    Hashed,
    Manifest,
    digest,
    named,
    read_manifest,
    sync,
    verify,
    write_manifest,
)
from refilm.training.checkpoint.sharded import describe, load_shards, put_together, save_shards, take_apart
from refilm.training.distributed.consensus import agreed, gathered
from refilm.training.distributed.parallel import place

STATE = "state.pt"
SHARDS = "shards"


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], *, keep: int = 2) -> Path:
    """Write the run's state after `step` steps, then delete all but the newest `keep` checkpoints.

    Raises:
        MachineError: a file or folder could not be written; names it and the cause. No checkpoint is deleted.
    """
    first, final = place().first, folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.new"
    with _explained(f"the checkpoint of step {step} is not saved; earlier checkpoints are kept"):
        try:
            _write(temporary, step, state)
            with agreed():
                if first:
                    os.rename(temporary, final)
                    sync(folder)
        except OSError:
            if first:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
    with _explained(f"an older checkpoint could not be deleted; the checkpoint of step {step} is saved"), agreed():
        if first:
            for old in checkpoints(folder)[:-keep]:
                _remove(old)
    return final


def load_checkpoint(path: Path, *, mesh: DeviceMesh | None = None) -> dict[str, Any]:
    """Load the state from a checkpoint, or from the newest one of a run's folder; its tensors are on the CPU.

    Args:
        path: the folder of a checkpoint or of a run.
        mesh: the processes over which sharded tensors are distributed, on their devices; None: they are loaded whole.

    Raises:
        UserError: there is none, or it is damaged; the message names the newest intact one and how to load it.
    """
    path, here = _found(path), place()
    with agreed():
        try:
            files = sorted(read_manifest(path).files.items())
            verify(path, files[here.rank :: here.size])
        except UserError as error:
            raise UserError(f"{error}; {_remedy(path)}") from error
    with agreed():
        try:
            content = torch.load(path / STATE, map_location="cpu", weights_only=True)
            state, described = content["state"], content["sharded"]
        except Exception as error:
            raise UserError(f"{path / STATE}: cannot be read as a checkpoint: {error}") from error
    return put_together(state, load_shards(path / SHARDS, described, mesh)) if described else state


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, oldest first."""
    return sorted((path for path in folder.glob("step-*") if _is_step(path)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The number of steps that a checkpoint was written after."""
    return int(checkpoint.name.removeprefix("step-"))


def starting_point(folder: Path, resume: bool | Path) -> Path | None:
    """The checkpoint from which a run in `folder` starts; None: a new run.

    Args:
        folder: the run's folder.
        resume: a checkpoint, or a run's folder for its newest; True: the newest in `folder`; False: a new run.

    Raises:
        UserError: there is no such checkpoint, or `resume` is False and there are checkpoints.
    """
    if isinstance(resume, Path):
        return _found(resume)
    if resume:
        return _found(folder)
    if checkpoints(folder):
        raise UserError(
            f"{folder}: already contains a run; add --resume to continue it, or choose another --run folder"
        )
    return None


def set_aside(folder: Path, *, after: int) -> None:
    """Rename the checkpoints of later steps, so that a run resumed from an older one does not collide with them."""
    with agreed():
        if place().first:
            for path in checkpoints(folder):
                if step_of(path) > after:
                    path.rename(folder / f"aside-{secrets.token_hex(3)}-{path.name}")


def _write(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write all files of a checkpoint, each process its part; the manifest last."""
    here, (plain, sharded) = place(), take_apart(state)
    written: dict[str, Digest] = {}
    with agreed():
        if here.first:
            _make_temporary(folder)
    with agreed():
        if here.first:
            written[STATE] = _write_state(folder / STATE, {"state": plain, "sharded": describe(sharded)})
    if sharded:
        save_shards(folder / SHARDS, sharded)
    found = _read_back(folder)
    with agreed():
        if here.first:
            if written[STATE] != found[STATE]:
                raise MachineError(f"{folder / STATE}: the file read back differs from what was written")
            write_manifest(folder, Manifest(step=step, processes=here.size, files=found))
            for inside in (folder / SHARDS, folder) if sharded else (folder,):
                sync(inside)


def _make_temporary(temporary: Path) -> None:
    """Create the temporary folder, after deleting those left by killed processes."""
    for leftover in temporary.parent.glob(".step-*"):
        _delete(leftover)
    temporary.mkdir(parents=True)


def _write_state(path: Path, content: dict[str, Any]) -> Digest:
    with named(path), open(path, "xb") as file:
        hashed = Hashed(file)
        try:
            torch.save(content, hashed)  # type: ignore[arg-type]  # only `write` and `flush` are called
        except Exception as error:
            raise (hashed.error or error) from None
        file.flush()
        os.fsync(file.fileno())
    return hashed.digest


def _read_back(folder: Path) -> dict[str, Digest]:
    """The digests of all files; each process reads a part of them."""
    here = place()
    with agreed():
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        part = {name: digest(folder / name) for name in files[here.rank :: here.size]}
    return gathered(part)


def _remove(checkpoint: Path) -> None:
    """Rename before deleting: a partly deleted folder must not be taken for a checkpoint."""
    leftover = checkpoint.with_name(f".{checkpoint.name}.old")
    os.rename(checkpoint, leftover)
    _delete(leftover)


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        error.filename = str(folder)  # the error has only the name within the folder
        raise


def _is_step(path: Path) -> bool:
    return re.fullmatch(r"step-\d{8,}", path.name) is not None and path.is_dir()


def _found(path: Path) -> Path:
    if _is_step(path) or (path / MANIFEST).is_file():
        return path
    inside = checkpoints(path)
    if not inside:
        raise UserError(f"{path}: no checkpoint to resume from; remove --resume to start a new run")
    return inside[-1]


def _remedy(damaged: Path) -> str:
    for older in reversed([path for path in checkpoints(damaged.parent) if path.name < damaged.name]):
        try:
            verify(older, read_manifest(older).files.items())
        except UserError:
            continue
        return f"use the newest intact one before it: --resume-from {older}"
    return "no older one is intact; start a new run in another --run folder"


@contextmanager
def _explained(outcome: str) -> Iterator[None]:
    """Within the context an OSError becomes one line: file, cause, and the consequence for the run."""
    try:
        yield
    except OSError as error:
        cause = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise MachineError(f"{cause}; {outcome}") from error
