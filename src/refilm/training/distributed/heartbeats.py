"""Heartbeats between the processes of a run: report a process that the others wait for, and end after a timeout.

A collective operation waits for every process silently and cannot be interrupted. So a thread of each process counts
up in the group's store while the process lives, and reads the counts of the others: a process that is stopped, dead or
disconnected is reported by name. A process that lives but is slow is waited for.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from refilm.errors import MachineError
from refilm.training.settings import GIVE_UP_AFTER, SILENT_AFTER

logger = logging.getLogger(__name__)
LEFT = "left"  # stored by a process that ended regularly


@contextmanager
def heartbeats(*, silent_after: float = SILENT_AFTER, give_up_after: float = GIVE_UP_AFTER) -> Iterator[None]:
    """Within the context this process sends heartbeats and watches those of the others.

    Args:
        silent_after: seconds without a heartbeat from a process after which a warning names it.
        give_up_after: seconds without a heartbeat after which this process ends with exit code 2.

    Raises:
        MachineError: the connection to another process broke.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        yield
        return
    watch = _Watch(silent_after, give_up_after)
    for work in (watch.send, watch.watch):
        threading.Thread(target=work, daemon=True).start()
    try:
        yield
        watch.left = True
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise MachineError(
                f"the connection to another process of the run broke ({_first_sentence(error)}); see its error "
                "message. The last checkpoint is kept: run the same command with --resume"
            ) from error
        raise
    finally:
        watch.done.set()
        watch.finished.wait(watch.pause)


class _Watch:
    """Two threads: one exchanges counts with the store, which may not answer; one reports missing heartbeats."""

    def __init__(self, silent_after: float, give_up_after: float):
        self.silent_after, self.give_up_after = silent_after, give_up_after
        self.pause = min(10.0, silent_after / 4)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.places = [""] * self.size
        dist.all_gather_object(self.places, f"{socket.gethostname()}, process id {os.getpid()}")
        store: Any = dist.distributed_c10d._get_default_store()
        self.store: dist.Store = store.clone()  # a separate connection, not blocked by other operations
        self.done, self.finished, self.left = threading.Event(), threading.Event(), False
        now = time.monotonic()
        self.answered = now
        """When the store last answered. The launcher hosts it, or the first process if there is no launcher."""
        self.counts = dict.fromkeys(range(self.size), "")
        self.last_seen = dict.fromkeys(range(self.size), now)
        self.warned: dict[int, float] = {}
        """Ranks that were reported, with the silence in seconds after which they are reported again."""

    def send(self) -> None:
        """Store heartbeats of this process and read those of the others, until this process ends."""
        count = 0
        while not self.done.is_set():
            with suppress(RuntimeError):  # the store is gone or slow: its host is then reported as silent
                self.store.set(_key(self.rank), str(count := count + 1))
                self._read()
                self.answered = time.monotonic()
            self.done.wait(self.pause)
        if self.left:
            with suppress(RuntimeError):
                self.store.set(_key(self.rank), LEFT)
        self.finished.set()

    def watch(self) -> None:
        """Report processes without heartbeats, until this process ends."""
        while not self.done.wait(self.pause):
            self._report()

    def _read(self) -> None:
        for rank in self.counts:
            if self.store.check([_key(rank)]):
                count = self.store.get(_key(rank)).decode()
                if count != self.counts[rank] or count == LEFT:
                    self.counts[rank], self.last_seen[rank] = count, time.monotonic()

    def _report(self) -> None:
        now = time.monotonic()
        silences = {rank: now - seen for rank, seen in self.last_seen.items() if rank != self.rank}
        if now - self.answered > 2 * self.pause:  # without the store, only its host can be judged
            silences = {0: silences[0]} if self.rank else {}
        silent = [rank for rank, silence in silences.items() if silence >= self.silent_after]
        for rank, silence in silences.items():
            first = min({*range(self.size)} - {rank, *silent}) == self.rank  # only one process reports
            name = f"process {rank} ({self.places[rank]})"
            if rank not in silent and self.warned.pop(rank, None) and first:
                logger.warning("%s responds again", name)
            if rank in silent and silence >= self.warned.get(rank, 0.0):
                self.warned[rank] = 2 * silence
                if first:
                    logger.warning(
                        "waiting for %s: no heartbeat for %.0f s, it is stopped, dead or disconnected; the others end "
                        "after %.0f s without one (loop.give_up_after)",
                        name,
                        silence,
                        self.give_up_after,
                    )
            if silence >= self.give_up_after:
                self._give_up(f"error: no heartbeat from {name} for {silence:.0f} s", first=first)

    def _give_up(self, why: str, *, first: bool) -> None:
        """End this process. Its main thread waits in a collective operation that no exception can interrupt."""
        if first:
            logger.error("%s; the last checkpoint is kept: run the same command with --resume", why)
        os._exit(2)


def _key(rank: int) -> str:
    return f"refilm/alive/{rank}"


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0]
