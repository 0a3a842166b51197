"""Signs of life between the processes of a run: which one the others wait for, and when they wait no longer.

A collective operation waits for every process, without a word, and cannot be interrupted. So a thread of each process
counts up in the group's store while the process lives, and watches the counts of the others: one that is stopped, dead
or cut off is named. One that lives, and only takes long, is waited for. Knows nothing of what is trained.
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

logger = logging.getLogger(__name__)
LEFT = "left"
SILENT_AFTER, GIVE_UP_AFTER = 60.0, 3600.0  # seconds


@contextmanager
def heartbeats(*, silent_after: float = SILENT_AFTER, give_up_after: float = GIVE_UP_AFTER) -> Iterator[None]:
    """Within the context the others see that this process lives, and it sees whether they do.

    Args:
        silent_after: seconds without a sign of life from a process after which it is named in a warning.
        give_up_after: seconds without one after which this process ends, with exit code 2.

    Raises:
        OSError: the connection to another process broke.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        yield
        return
    watch = _Watch(silent_after, give_up_after)
    for work in (watch.talk, watch.look):
        threading.Thread(target=work, daemon=True).start()
    try:
        yield
        watch.left = True
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise OSError(
                f"the connection to another process of the run broke ({_first_sentence(error)}); its own message may "
                "say why. The last checkpoint is kept: give the same command again, with --resume"
            ) from error
        raise
    finally:
        watch.done.set()
        watch.told.wait(watch.pause)


class _Watch:
    """Two threads: one talks to the store, which may never answer, and one looks at what came of it."""

    def __init__(self, silent_after: float, give_up_after: float):
        self.silent_after, self.give_up_after = silent_after, give_up_after
        self.pause = min(10.0, silent_after / 4)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.places = [""] * self.size
        dist.all_gather_object(self.places, f"{socket.gethostname()}, process id {os.getpid()}")
        store: Any = dist.distributed_c10d._get_default_store()
        self.store: dist.Store = store.clone()  # a connection of its own, which nobody else waits on
        self.done, self.told, self.left = threading.Event(), threading.Event(), False
        now = time.monotonic()
        self.answered = now
        """When the store last answered. The first process keeps it, where no launcher does."""
        self.said = dict.fromkeys(range(self.size), "")
        self.heard = dict.fromkeys(range(self.size), now)
        self.warned: dict[int, float] = {}
        """Ranks that were named, with the silence after which they are named again."""

    def talk(self) -> None:
        """Tell that this process lives, and learn whether the others do, until it leaves."""
        count = 0
        while not self.done.is_set():
            with suppress(RuntimeError):  # the store is gone or does not answer in time: its keeper falls silent
                self.store.set(_key(self.rank), str(count := count + 1))
                self._listen()
                self.answered = time.monotonic()
            self.done.wait(self.pause)
        if self.left:
            with suppress(RuntimeError):
                self.store.set(_key(self.rank), LEFT)
        self.told.set()

    def look(self) -> None:
        """Name those that fall silent, until this process leaves."""
        while not self.done.wait(self.pause):
            self._report()

    def _listen(self) -> None:
        for rank in self.said:
            if self.store.check([_key(rank)]):
                said = self.store.get(_key(rank)).decode()
                if said != self.said[rank] or said == LEFT:
                    self.said[rank], self.heard[rank] = said, time.monotonic()

    def _report(self) -> None:
        now = time.monotonic()
        silences = {rank: now - heard for rank, heard in self.heard.items() if rank != self.rank}
        if now - self.answered > 2 * self.pause:  # nothing is known of others than the store's keeper
            silences = {0: silences[0]} if self.rank else {}
        silent = [rank for rank, silence in silences.items() if silence >= self.silent_after]
        for rank, silence in silences.items():
            first = min({*range(self.size)} - {rank, *silent}) == self.rank  # one speaks for all
            name = f"process {rank} ({self.places[rank]})"
            if rank not in silent and self.warned.pop(rank, None) and first:
                logger.warning("%s is heard again", name)
            if rank in silent and silence >= self.warned.get(rank, 0.0):
                self.warned[rank] = 2 * silence
                if first:
                    logger.warning(
                        "waiting for %s: no sign of life for %.0f s, it is stopped, dead or cut off; the others end "
                        "after %.0f s of that (loop.give_up_after)",
                        name,
                        silence,
                        self.give_up_after,
                    )
            if silence >= self.give_up_after:
                self._give_up(f"error: no sign of life from {name} for {silence:.0f} s", first=first)

    def _give_up(self, why: str, *, first: bool) -> None:
        """End this process. Its main thread waits within a collective operation, where no exception reaches it."""
        if first:
            logger.error("%s; the last checkpoint is kept: give the same command again, with --resume", why)
        os._exit(2)


def _key(rank: int) -> str:
    return f"refilm/alive/{rank}"


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0]
