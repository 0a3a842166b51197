"""Cores and threads, and main memory."""

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refilm.doctor.checks import Check, gib, ok, warning
from refilm.doctor.limits import Limits, read_limits
from refilm.files import read_text

THREADS = "OMP_NUM_THREADS"
ACTIVE = {"OMP_WAIT_POLICY": "active", "KMP_LIBRARY": "turnaround"}
BUSY = 0.75  # load per core
MEMINFO, SHARED = Path("/proc/meminfo"), Path("/dev/shm")
LEAST_MEMORY, LEAST_SHARED = 4 << 30, 128 << 20


@dataclass(frozen=True)
class ProcessorFacts:
    """Cores, threads and memory."""

    cores: int
    """Cores of the machine."""
    usable: int
    """Cores that the process may run on."""
    threads: int
    """Threads of torch."""
    load: float = 0.0
    """Mean number of running processes in the last minute."""
    total: int | None = None
    """Bytes of memory; None: unknown."""
    available: int | None = None
    """Bytes that can be allocated without swapping."""
    limits: Limits = field(default_factory=Limits)
    shared: int | None = None
    """Size of /dev/shm in bytes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of OpenMP."""

    @property
    def allowed(self) -> float:
        """Cores that the process can use at a time."""
        return min(self.usable, self.limits.cores or self.usable)

    @property
    def memory(self) -> int | None:
        """Bytes that the process can allocate."""
        free = [] if self.available is None else [self.available]
        free += [] if self.limits.memory is None else [max(0, self.limits.memory - self.limits.used)]
        return min(free, default=None)


def gather() -> ProcessorFacts:
    """Ask the system."""
    import torch

    cores = os.cpu_count() or 1
    lines = read_text(MEMINFO).splitlines() if MEMINFO.is_file() else []
    memory = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
    return ProcessorFacts(
        cores,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
        torch.get_num_threads(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        memory.get("MemTotal"),
        memory.get("MemAvailable"),
        read_limits(),
        shutil.disk_usage(SHARED).total if SHARED.is_dir() else None,
        {name: os.environ[name] for name in (THREADS, *ACTIVE) if name in os.environ},
    )


def judge(facts: ProcessorFacts) -> Iterator[Check]:
    """Checks of threads and memory."""
    yield _threads(facts)
    if active := [name for name, value in ACTIVE.items() if facts.environment.get(name, "").lower() == value]:
        yield _waiting(active[0], facts)
    yield _memory(facts)
    if facts.shared is not None:
        yield _shared(facts.shared)


def _threads(facts: ProcessorFacts) -> Check:
    given = facts.environment.get(THREADS)
    cause = f" ({THREADS}={given})" if given else ""
    cores = f"{facts.usable} of {facts.cores} cores"
    if facts.limits.cores is not None:
        cores += f", limited to the time of {facts.limits.cores:g} by a control group"
    finding = f"{facts.threads} thread{'s' * (facts.threads > 1)}{cause} on {cores}"
    most = max(1, math.floor(facts.allowed))
    if facts.threads > max(most, math.ceil(facts.allowed)):
        return warning("threads", finding, f"More threads than cores take time from each other: set {THREADS}={most}.")
    if given and 2 * facts.threads <= most and facts.load < BUSY * most:
        return warning(
            "threads",
            finding,
            f"Unset {THREADS}, or set it to {most}, unless several processes share these cores.",
        )
    return ok("threads", finding)


def _waiting(name: str, facts: ProcessorFacts) -> Check:
    finding = f"{name}={facts.environment[name]}: waiting threads spin, at a load of {facts.load:.1f}"
    if facts.load < BUSY * facts.allowed:
        return ok("waiting threads", finding)
    return warning(
        "waiting threads",
        f"{finding} on {facts.allowed:g} cores",
        f"Unset {name}; refilm then lets waiting threads sleep, which is faster on a busy machine.",
    )


def _memory(facts: ProcessorFacts) -> Check:
    if facts.memory is None or facts.total is None:
        return ok("memory", "unknown on this system")
    finding = f"{gib(facts.memory)} of {gib(facts.total)} available"
    if facts.limits.memory is not None:
        finding += f", {gib(facts.limits.memory)} allowed by a control group"
    if facts.memory < LEAST_MEMORY:
        return warning("memory", finding, "Close other programs, or raise the memory limit of the container or job.")
    return ok("memory", finding)


def _shared(size: int) -> Check:
    if size < LEAST_SHARED:
        return warning(
            "shared memory",
            f"/dev/shm has {gib(size)}",
            "For training on several GPUs in a container, start it with `--shm-size 1g` or `--ipc host`.",
        )
    return ok("shared memory", f"/dev/shm has {gib(size)}")
