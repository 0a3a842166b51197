"""The supervisor keeps workers running, and stops them; a worker is any command here."""

import logging
import os
import signal
import sys
import time

import pytest

from refilm.serving import supervisor as supervising
from refilm.serving.supervisor import Supervisor

from .stores import ME, MODEL, accept, die
from .workers import runs, wait_for

PATIENT = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-S",
    "-c",
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)",
]
BROKEN = [sys.executable, "-S", "-c", "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(1)"]


@pytest.fixture
def supervised(store, monkeypatch):
    """Starts a supervisor of commands, which is stopped at the end."""
    monkeypatch.setattr(supervising, "TICK", 0.02)
    monkeypatch.setattr(supervising, "BACK_OFF", 0.05)
    started = []

    def start(*commands: list[str]) -> Supervisor:
        started.append(Supervisor(store, commands))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_a_killed_worker_is_started_again_and_its_job_queued(supervised, store):
    job = accept(store)
    store.leases.take(ME, MODEL)
    die(store, job)
    supervisor = supervised(PATIENT, PATIENT)
    wait_for(lambda: len(supervisor.pids()) == 2)
    killed, other = supervisor.pids()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: len(supervisor.pids()) == 2 and killed not in supervisor.pids())
    assert other in supervisor.pids()
    wait_for(lambda: store.get(job.id).status == "queued")
    pids = supervisor.pids()
    supervisor.stop()
    assert not any(map(runs, pids))


def test_a_worker_that_cannot_start_is_tried_less_and_less_often(supervised, tmp_path):
    tries = tmp_path / "tries"
    supervised([*BROKEN, str(tries)])
    wait_for(lambda: tries.exists() and len(tries.read_text()) >= 3)
    before, began = len(tries.read_text()), time.monotonic()
    wait_for(lambda: len(tries.read_text()) > before)
    assert time.monotonic() - began > 0.1  # the pauses grow from 0.1 s: by the third try it is 0.4 s


def test_a_program_that_is_missing_for_a_while_floods_no_log(supervised, tmp_path, caplog):
    program = tmp_path / "python"  # as during an update of an environment
    with caplog.at_level(logging.WARNING, "refilm"):
        supervisor = supervised([str(program), *PATIENT[1:]])
        time.sleep(0.6)
        assert 1 <= caplog.text.count("cannot be started") <= 4  # after 0, 0.1, 0.3, 0.7 s
        assert "Traceback" not in caplog.text
    program.symlink_to(sys.executable)
    wait_for(lambda: len(supervisor.pids()) == 1)


def test_a_worker_that_does_not_end_is_killed(supervised, tmp_path, monkeypatch):
    monkeypatch.setattr(supervising, "GRACE", 0.2)
    supervisor = supervised([*DEAF, str(tmp_path / "deaf")])
    wait_for(lambda: (tmp_path / "deaf").exists())
    pids = supervisor.pids()
    supervisor.stop()
    assert not any(map(runs, pids))


def test_an_error_of_regular_work_ends_nothing(supervised, store, monkeypatch):
    calls = []

    def broken() -> None:
        calls.append(0)
        raise OSError(28, "full")

    monkeypatch.setattr(store.leases, "recover", broken)
    supervisor = supervised(PATIENT)
    wait_for(lambda: len(calls) >= 2 and len(supervisor.pids()) == 1)
