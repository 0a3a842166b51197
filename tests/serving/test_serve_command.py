"""`refilm serve`: who may reach it, and what a killed server leaves to the next one."""

import os
import re
import signal
import subprocess
import sys

import pytest

from refilm.serving import Store

from .workers import REQUEST, ended, results, runs, until, wait_for


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_open_address_needs_a_token(refilm, host, tmp_path):
    result = refilm("serve", "--host", host, "--store", tmp_path / "store", "--port", 0)
    assert result.exit_code == 2
    assert "--token" in result.output
    assert not (tmp_path / "store").exists()


class Server:
    """A real server."""

    def __init__(self, store: Store):
        words = [sys.executable, "-m", "refilm.cli", "serve", "--store", str(store.folder), "--port", "0"]
        words += ["--device", "cpu", "--save-state-seconds", "0"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as of the workers that are forked: recipes name it
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        self.address = self.process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", self.address)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.slow
def test_the_next_server_continues_what_a_killed_one_left(store, job, undisturbed):
    server = Server(store)
    until(store, job, lambda found: found.step >= 2)
    pids = [worker.pid for worker in store.leases.workers()]
    server.close()
    wait_for(lambda: not any(map(runs, pids)))  # the workers have noticed it
    left = store.get(job.id)
    assert left.deaths == 0
    server = Server(store)
    assert results(store, ended(store, job)) == undisturbed
    endless = store.accept(REQUEST | {"steps": 999}, model="pocket")
    until(store, endless, lambda found: found.step >= 1)
    pids = [worker.pid for worker in store.leases.workers()]
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)
    assert not any(map(runs, pids))
    assert store.get(endless.id).status == "queued"
    assert store.files.state(endless.id).is_file()
    server.close()
    assert os.listdir(store.folder / "videos") == [job.id]
