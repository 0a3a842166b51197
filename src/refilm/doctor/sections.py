"""All checks of `refilm doctor`, in order."""

import sqlite3
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from refilm.doctor import devices, environment, models_cache, processor, software, storage, trial, video_encoders
from refilm.doctor.checks import Check, Section

if TYPE_CHECKING:
    from refilm.doctor.fit import PlaceFacts


def sections(folder: Path, *, device: str | None = None, generate: bool = True) -> list[Section]:
    """The checks of this machine.

    Args:
        folder: the folder in which results will be written.
        device: where models will run. Default: a GPU if there is one.
        generate: whether to generate a video at the end.
    """
    found = cache(processor.gather)

    def fits() -> Iterator[Check]:
        from refilm.doctor import fit

        return fit.judge(_place(device, found()))

    def folders() -> Iterator[Check]:
        for purpose, path in _folders(folder).items():
            yield storage.judge(storage.gather(purpose, path))
        yield storage.judge_sqlite(sqlite3.sqlite_version_info)

    checks = [
        Section("software", lambda: software.judge(software.gather())),
        Section("devices", lambda: devices.judge(devices.gather())),
        Section("processor", lambda: processor.judge(found())),
        Section("folders", folders),
        Section("Hub", lambda: models_cache.judge(models_cache.gather())),
        Section("video encoders", lambda: video_encoders.judge(video_encoders.gather())),
        Section("environment", lambda: environment.judge(environment.gather())),
        Section("base models", fits),
    ]
    return [*checks, Section(trial.NAME, lambda: [trial.generate(device)])] if generate else checks


def _folders(results: Path) -> dict[storage.Purpose, Path]:
    from huggingface_hub import constants

    return {
        "cache": Path(constants.HF_HUB_CACHE),
        "temporary": Path(tempfile.gettempdir()),
        "result": results,
    }


def _place(name: str | None, found: processor.ProcessorFacts) -> "PlaceFacts":
    """The device that models will run on, with its speed."""
    import torch

    from refilm.checkpoints.bases import choose_device, choose_dtype
    from refilm.doctor.fit import PlaceFacts
    from refilm.doctor.probe import measure

    device = choose_device(name)
    dtype = choose_dtype(None, device)
    memory = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else found.memory or 0
    return PlaceFacts(str(device), memory, str(dtype).removeprefix("torch."), measure(device, dtype))
