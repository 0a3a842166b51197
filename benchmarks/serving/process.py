"""A `refilm serve` process for benchmarks: started, killed and started again on the same store and port."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from refilm.serving import Store

STARTING = 300.0  # seconds that a server and its workers have to start, on a machine that does much else
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # so that recipes name the same number of threads everywhere


class ServerProcess:
    """A server that runs.

    Args:
        folder: its store.
        options: more options of the command.
    """

    def __init__(self, folder: Path, *options: str):
        self.store, self.port, self.options = Store(folder), free_port(), options
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = (folder.parent / f"{folder.name}.log").open("ab")
        self.down: list[tuple[float, float]] = []
        """From a kill of the server until the next one answers."""
        self.start()

    def start(self) -> None:
        """Start the server; it need not have loaded its model when this returns."""
        words = ["serve", "--store", str(self.store.folder), "--port", str(self.port), "--device", "cpu"]
        command = [sys.executable, "-m", "refilm.cli", *words, *self.options]
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=self.log, stderr=self.log)

    def wait_until_ready(self, workers: int) -> None:
        """Wait until it answers and its workers have loaded the model."""
        end = time.monotonic() + STARTING
        while self._ready() < workers:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"the server does not start; see {self.log.name}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End the server at once."""
        self.killed = time.time()
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start the server after a kill, and record when it answers."""
        self.start()
        threading.Thread(target=self._record_start, args=(self.killed,), daemon=True).start()

    def stop(self) -> None:
        """Let the server end."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.store.close()
        self.log.close()

    def workers(self) -> list[int]:
        """The process ids of the workers that run; of a server that was just killed, they may be still there."""
        return [worker.pid for worker in self.store.leases.workers()]

    def megabytes(self) -> dict[str, list[float]]:
        """The resident memory of the server, and of each worker."""
        pids = {"server": [self.process.pid], "worker": self.workers()}
        return {name: [size for pid in own if (size := _megabytes(pid))] for name, own in pids.items()}

    def _record_start(self, killed: float) -> None:
        while not self._answers():
            time.sleep(0.1)
        if killed == self.killed:  # it was not killed again meanwhile
            self.down.append((killed, time.time()))

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/health", timeout=STARTING).is_success
        except httpx.HTTPError:
            return False

    def _ready(self) -> int:
        return self._answers() and sum(worker.state != "loading" for worker in self.store.leases.workers())


def free_port() -> int:
    """A port that no process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return bound.getsockname()[1]


def _megabytes(pid: int) -> float:
    """The resident memory of a process in MiB; 0 if it does not run."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")]
    return round(sizes[0], 1) if sizes else 0.0
