"""A worker: a process that loads the model once and makes the jobs of a store, one after another."""

import errno
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Literal

import torch
from pydantic import Field

from refilm.errors import UserError, is_out_of_memory
from refilm.files import describe
from refilm.generation import Pipeline, load
from refilm.jobs.batch import DISK_ERRORS
from refilm.jobs.claims import this_process
from refilm.serving.interrupts import Interrupted, Interrupts
from refilm.serving.job import JobError
from refilm.serving.leases import Lease
from refilm.serving.making import Maker, Progress
from refilm.serving.store import Store
from refilm.settings import Settings

logger = logging.getLogger("refilm")
IDLE = 0.25  # seconds between looks for a job
WATCH = 0.25  # seconds between looks whether the job is still this process's, and whether the server still runs
RENEW = 10.0  # seconds between renewals of a lease
DISK_PAUSE = 5.0  # seconds after an error of the disk
NO_MEMORY = "not enough memory for this video; choose a smaller size or fewer frames"
BUG = "an internal error, which the server has logged; try another request"


class WorkerSettings(Settings):
    """What a worker is started with."""

    store: str
    """Folder of the store."""
    base: str = "pocket"
    adapter: str = "default"
    image_encoder: str | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    memory: Literal["high", "low"] = "high"
    save_state_every: float = Field(default=20.0, ge=0, le=86400)
    """Seconds after which the sampler's state is saved again."""
    parent: int | None = Field(default=None, ge=1, lt=2**31)
    """Process id of the server: the worker ends when the server has. Default: it runs until it is stopped."""

    def load(self) -> Pipeline:
        """Load the model."""
        return load(
            self.base,
            adapter=None if self.adapter == "none" else self.adapter,
            image_encoder=self.image_encoder,
            device=self.device,
            dtype=self.dtype,
            memory=self.memory,
        )


def run(settings: WorkerSettings) -> None:
    """Make jobs until this process is stopped (SIGTERM) or its server has ended.

    Raises:
        UserError: the model cannot be loaded.
    """
    interrupts = Interrupts()
    with closing(Store(settings.store)) as store:
        worker = Worker(settings, store, interrupts)
        with worker.watching():
            worker.load()
            interrupts.install()  # a signal before this ends the process at once, which loses nothing
            worker.run()
        store.leases.leave(worker.process)


class Worker:
    """The loop of a worker.

    Args:
        settings: what it was started with.
        store: the store.
        interrupts: the requests to this process.
    """

    def __init__(self, settings: WorkerSettings, store: Store, interrupts: Interrupts):
        self.settings, self.store, self.interrupts = settings, store, interrupts
        self.process = this_process()
        self._maker: Maker | None = None
        self._lease: Lease | None = None

    def load(self) -> None:
        """Load the model."""
        every = self.settings.save_state_every
        self._maker = Maker(self.settings.load(), self.store.files, self.interrupts, save_state_every=every)

    def run(self) -> None:
        """Make jobs until this process is stopped."""
        while not self.interrupts.stopping:
            try:
                lease = self.store.leases.take(self.process, self.settings.base)
            except OSError as error:
                logger.warning("%s", describe(error))
                self.interrupts.wait(DISK_PAUSE)
                continue
            if lease is None:
                self.interrupts.wait(IDLE)
                continue
            self._make(lease)

    def _make(self, lease: Lease) -> None:
        """Make a job, and record how it ended."""
        self.interrupts.dropped, self._lease = False, lease
        try:
            end = self._end_of(lease)
        finally:
            self._lease = None
        if not self._lasting(end):  # the job is not this process's any more
            self._lasting(lease.discard)

    def _end_of(self, lease: Lease) -> Callable[[], bool]:
        """Make a job; returns the method of its lease that records the end."""
        try:
            for event in self._maker_of_jobs().steps(lease.job):
                if isinstance(event, Progress):
                    self._report(lease, event)
                else:
                    return lambda: lease.complete(event)
            raise AssertionError("a video has results")
        except Interrupted:
            return lease.give_back
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                logger.warning("%s: %s; it will be tried again", lease.job.id, describe(error))
                self.interrupts.wait(DISK_PAUSE)
                return lease.give_back
            if not self._lasting(lease.is_held):  # a deletion removes the files that are being written
                return lease.give_back
            reason = self._reason(error, lease)
            return lambda: lease.fail(reason)

    def _maker_of_jobs(self) -> Maker:
        assert self._maker is not None, "the model is loaded first"
        return self._maker

    def _report(self, lease: Lease, event: Progress) -> None:
        try:
            held = lease.report(event.step, event.steps, event.eta, preview=event.preview)
        except OSError as error:  # the progress is not worth the job
            logger.warning("%s", describe(error))
            return
        if not held:
            self.interrupts.dropped = True
            raise Interrupted

    def _reason(self, error: Exception, lease: Lease) -> JobError:
        """What the user of a failed job reads; a bug is logged."""
        if isinstance(error, UserError):
            message = " ".join(str(error).replace(f"{self.store.files.inputs(lease.job.id)}{os.sep}", "").split())
            return JobError("invalid_request_error", message, "invalid_request")
        if is_out_of_memory(error):
            logger.warning("%s: not enough memory: %s", lease.job.id, error)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return JobError("server_error", NO_MEMORY, "out_of_memory")
        logger.error("%s: an error in refilm", lease.job.id, exc_info=error)
        return JobError("server_error", BUG, "internal")

    def _lasting(self, action: Callable[[], bool | None]) -> bool | None:
        """Do what the store must record, however long the disk is full."""
        while True:
            try:
                return action()
            except OSError as error:
                if error.errno not in (*DISK_ERRORS, errno.EACCES):
                    raise
                logger.warning("%s; trying again", describe(error))
                if self.interrupts.stopping:
                    raise
                self.interrupts.wait(DISK_PAUSE)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the context a thread renews the lease, and notices that the job was deleted or the server ended."""
        done = threading.Event()
        thread = threading.Thread(target=self._watch, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _watch(self, done: threading.Event) -> None:
        renewed, state = 0.0, ""
        while not done.wait(WATCH):
            if self.settings.parent is not None and os.getppid() != self.settings.parent:
                self.interrupts.stop()
            lease = self._lease
            try:
                if lease is not None and not lease.is_held() and lease is self._lease:
                    self.interrupts.drop()
                now, current = time.monotonic(), self._state(lease)
                if state != current or now - renewed > RENEW:
                    self.store.leases.announce(self.process, self.settings.device or "default", current)
                    if lease is not None:
                        lease.renew()
                    renewed, state = now, current
            except OSError as error:
                logger.warning("%s", describe(error))

    def _state(self, lease: Lease | None) -> str:
        if lease is not None:
            return lease.job.id
        return "loading" if self._maker is None else "idle"
