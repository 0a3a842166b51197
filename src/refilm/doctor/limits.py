"""The limits of control groups, with which containers and schedulers restrict a process on Linux."""

from dataclasses import dataclass
from pathlib import Path

from refilm.files import read_text

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
UNLIMITED = 1 << 60  # version 1 writes numbers above this for no limit


@dataclass(frozen=True)
class Limits:
    """Limits of the process; None: unlimited."""

    cores: float | None = None
    memory: int | None = None
    """Bytes."""
    used: int = 0
    """Bytes that processes of the limited group use."""


def read_limits(root: Path = ROOT, own: Path = OWN) -> Limits:
    """The smallest limits of the process's group and of the groups that contain it."""
    if not own.is_file():
        return Limits()
    groups = dict(line.split(":", 2)[1:] for line in read_text(own).splitlines() if line.count(":") >= 2)
    if "" in groups:  # version 2
        folders = _chain(root, groups[""])
        cores = [quota for folder in folders if (quota := _quota(folder / "cpu.max"))]
        memory = [
            (number, folder / "memory.current") for folder in folders if (number := _number(folder / "memory.max"))
        ]
    else:
        by_name = {name: path for names, path in groups.items() for name in names.split(",")}
        cores = [
            quota / period
            for folder in _chain(root / "cpu", by_name.get("cpu", "/"))
            if (quota := _number(folder / "cpu.cfs_quota_us")) and (period := _number(folder / "cpu.cfs_period_us"))
        ]
        memory = [
            (number, folder / "memory.usage_in_bytes")
            for folder in _chain(root / "memory", by_name.get("memory", "/"))
            if (number := _number(folder / "memory.limit_in_bytes"))
        ]
    limit, usage = min(memory, default=(None, None))
    return Limits(min(cores, default=None), limit, (_number(usage) or 0) if usage else 0)


def _chain(root: Path, group: str) -> list[Path]:
    """The folders of a group and of all groups that contain it; in a container, `root` is the group itself."""
    own = root / group.lstrip("/")
    return [root, *(folder for folder in (own, *own.parents) if root in folder.parents)]


def _quota(path: Path) -> float | None:
    if not path.is_file():
        return None
    quota, period = read_text(path).split()
    return None if quota == "max" else int(quota) / int(period)


def _number(path: Path) -> int | None:
    """A positive number in a file; None for no file and for no limit."""
    text = read_text(path).strip() if path.is_file() else "max"
    return int(text) if text.isdigit() and 0 < int(text) < UNLIMITED else None
