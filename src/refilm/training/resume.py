"""Checkpoints of a run: written whole or not at all, found again, never guessed.

A checkpoint is a folder `step-00001234` holding `state.pt` (tensors and plain values only, loaded with
`weights_only=True`). It appears by one rename, after everything inside has reached the disk.
"""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], *, keep: int = 2) -> Path:
    """Write the run's state after `step` steps and drop all but the newest `keep` checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    with open(temporary / "state.pt", "wb") as file, uninterrupted():
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    _sync(temporary)
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    _sync(folder)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints in `folder`, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.pt").is_file())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, or the newest one of a run's folder.

    Raises:
        ValueError: there is none, or it cannot be read; says where it looked.
    """
    if not (path / "state.pt").is_file():
        found = checkpoints(path)
        if not found:
            raise ValueError(f"{path}: no checkpoint to resume from; leave --resume out to start anew")
        path = found[-1]
    try:
        return torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path / 'state.pt'}: cannot be read as a checkpoint: {error}") from error


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done: inside `torch.save` it would come out as another error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held and callable(before):
        before(*held[0])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
