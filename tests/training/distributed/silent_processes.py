"""What becomes of two processes of which one falls silent, for test_heartbeats.py: python silent_processes.py FOLDER.

Forks the two for each case, and leaves what they said on standard error (CASE-RANK) and their exit codes (codes.json).
"""

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

from refilm.training.distributed.heartbeats import heartbeats
from refilm.training.distributed.parallel import joined


def work(rank: int, port: int, stderr: Path) -> None:
    """A process that waits for the other again and again."""
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    code = 0
    try:
        with joined(), heartbeats(silent_after=1, give_up_after=4):
            while True:
                dist.all_reduce(torch.ones(1))
                stderr.with_suffix(".begun").touch()
                time.sleep(0.01)
    except OSError as error:
        os.write(2, f"error: {error}\n".encode())
        code = 2
    os._exit(code)


class Two:
    """The two processes of a case."""

    def __init__(self, folder: Path, case: str):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        self.errors = [folder / f"{case}-{rank}" for rank in range(2)]
        self.pids = []
        for rank, stderr in enumerate(self.errors):
            if not (pid := os.fork()):
                work(rank, port, stderr)
            self.pids.append(pid)
        for stderr in self.errors:
            wait(stderr.with_suffix(".begun").exists)

    def send(self, rank: int, number: int) -> None:
        os.kill(self.pids[rank], number)

    def hear(self, rank: int, words: str) -> None:
        wait(lambda: words in self.errors[rank].read_text())

    def leave(self, rank: int) -> int:
        """The exit code of a process."""
        found: list[int] = []
        wait(lambda: found.extend(os.waitpid(self.pids[rank], os.WNOHANG)) or found[-2])
        return os.waitstatus_to_exitcode(found[-1])

    def end(self) -> None:
        for pid in self.pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def wait(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def stopped(two: Two, rank: int) -> int:
    """A process is stopped, continues, and is stopped for good."""
    two.send(rank, signal.SIGSTOP)
    two.hear(1 - rank, f"waiting for process {rank} ")
    two.send(rank, signal.SIGCONT)
    two.hear(1 - rank, "responds again")
    two.send(rank, signal.SIGSTOP)
    return two.leave(1 - rank)


def killed(two: Two, rank: int) -> int:
    two.send(rank, signal.SIGKILL)
    return two.leave(1 - rank)


if __name__ == "__main__":
    folder, codes, pids = Path(sys.argv[1]), {}, {}
    for case in (stopped, killed):
        for rank in range(2):
            name = f"{case.__name__}-{rank}"
            two = Two(folder, name)
            try:
                codes[name], pids[name] = case(two, rank), two.pids[rank]
            finally:
                two.end()
    (folder / "codes.json").write_text(json.dumps({"codes": codes, "pids": pids, "host": socket.gethostname()}))
