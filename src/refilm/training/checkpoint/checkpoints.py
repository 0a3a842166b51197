"""Checkpoints of a run: written whole or not at all, verified when read, never guessed.

A checkpoint is a folder `step-00001234`. In it lie `state.pt` (tensors and plain values alone, loaded with
`weights_only=True`), the shards of a sharded state, and the manifest. It appears by one rename, after everything
inside has reached the disk and was read back. All processes of a run call these functions together, and see one disk.
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
    """Write the run's state after `step` steps, then drop all but the newest `keep` checkpoints.

    Raises:
        OSError: a file or folder could not be written; names it and the cause. Older checkpoints are all kept then.
    """
    first, final = place().first, folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.new"
    with _told(f"the checkpoint of step {step} is not safe, those before it are kept"):
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
    with _told(f"an older checkpoint is still there, that of step {step} is safe"), agreed():
        if first:
            for old in checkpoints(folder)[:-keep]:
                _remove(old)
    return final


def load_checkpoint(path: Path, *, mesh: DeviceMesh | None = None) -> dict[str, Any]:
    """The state in a checkpoint, or in the newest one of a run's folder; its tensors are on the CPU.

    Args:
        path: the folder of a checkpoint or of a run.
        mesh: the processes over which what was sharded is sharded now, on their devices; without it, it comes whole.

    Raises:
        ValueError: there is none, or it is damaged; says which older one is sound and how to take it.
    """
    path, here = _found(path), place()
    with agreed():
        try:
            files = sorted(read_manifest(path).files.items())
            verify(path, files[here.rank :: here.size])
        except ValueError as error:
            raise ValueError(f"{error}; {_remedy(path)}") from error
    with agreed():
        try:
            content = torch.load(path / STATE, map_location="cpu", weights_only=True)
            state, described = content["state"], content["sharded"]
        except Exception as error:
            raise ValueError(f"{path / STATE}: cannot be read as a checkpoint: {error}") from error
    return put_together(state, load_shards(path / SHARDS, described, mesh)) if described else state


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, oldest first."""
    return sorted((path for path in folder.glob("step-*") if _is_step(path)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """How many steps were done when it was written."""
    return int(checkpoint.name.removeprefix("step-"))


def starting_point(folder: Path, resume: bool | Path) -> Path | None:
    """The checkpoint from which a run in `folder` starts; none: from nothing.

    Args:
        folder: of the run.
        resume: a checkpoint, or a run's folder for its newest; True: the newest in `folder`; False: there may be none.

    Raises:
        ValueError: there is no such checkpoint, or there are some and the run is not to resume.
    """
    if isinstance(resume, Path):
        return _found(resume)
    if resume:
        return _found(folder)
    if checkpoints(folder):
        raise ValueError(f"{folder}: holds a run already; add --resume to go on, or choose another --run folder")
    return None


def set_aside(folder: Path, *, after: int) -> None:
    """Rename the checkpoints of later steps, which a run that goes on from an older one would run into."""
    with agreed():
        if place().first:
            for path in checkpoints(folder):
                if step_of(path) > after:
                    path.rename(folder / f"aside-{secrets.token_hex(3)}-{path.name}")


def _write(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Everything of a checkpoint, each process its part, the manifest last."""
    here, (plain, sharded) = place(), take_apart(state)
    written: dict[str, Digest] = {}
    with agreed():
        if here.first:
            _begin(folder)
    with agreed():
        if here.first:
            written[STATE] = _write_state(folder / STATE, {"state": plain, "sharded": describe(sharded)})
    if sharded:
        save_shards(folder / SHARDS, sharded)
    found = _read_back(folder)
    with agreed():
        if here.first:
            if written[STATE] != found[STATE]:
                raise OSError(f"{folder / STATE}: reads otherwise than it was written")
            write_manifest(folder, Manifest(step=step, processes=here.size, files=found))
            for inside in (folder / SHARDS, folder) if sharded else (folder,):
                sync(inside)


def _begin(temporary: Path) -> None:
    """A fresh temporary folder, after what killed processes have left is gone."""
    for leftover in temporary.parent.glob(".step-*"):
        _delete(leftover)
    temporary.mkdir(parents=True)


def _write_state(path: Path, content: dict[str, Any]) -> Digest:
    with named(path), open(path, "xb") as file:
        hashed = Hashed(file)
        try:
            torch.save(content, hashed)  # type: ignore[arg-type]  # it writes and flushes, and asks for no more
        except Exception as error:
            raise (hashed.error or error) from None
        file.flush()
        os.fsync(file.fileno())
    return hashed.digest


def _read_back(folder: Path) -> dict[str, Digest]:
    """The digests of all files, of which each process reads its share."""
    here = place()
    with agreed():
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        part = {name: digest(folder / name) for name in files[here.rank :: here.size]}
    return gathered(part)


def _remove(checkpoint: Path) -> None:
    """By a rename first: one that is half gone must not look like a checkpoint."""
    leftover = checkpoint.with_name(f".{checkpoint.name}.old")
    os.rename(checkpoint, leftover)
    _delete(leftover)


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        error.filename = str(folder)  # it tells the name within the folder alone
        raise


def _is_step(path: Path) -> bool:
    return re.fullmatch(r"step-\d{8,}", path.name) is not None and path.is_dir()


def _found(path: Path) -> Path:
    if _is_step(path) or (path / MANIFEST).is_file():
        return path
    inside = checkpoints(path)
    if not inside:
        raise ValueError(f"{path}: no checkpoint to resume from; leave --resume out to start anew")
    return inside[-1]


def _remedy(damaged: Path) -> str:
    for older in reversed([path for path in checkpoints(damaged.parent) if path.name < damaged.name]):
        try:
            verify(older, read_manifest(older).files.items())
        except ValueError:
            continue
        return f"the newest sound one before it is taken with --resume-from {older}"
    return "no older one is sound, start anew in another --run folder"


@contextmanager
def _told(outcome: str) -> Iterator[None]:
    """An OSError in one line: file, cause, and what that means for the run."""
    try:
        yield
    except OSError as error:
        cause = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise OSError(f"{cause}; {outcome}") from error
