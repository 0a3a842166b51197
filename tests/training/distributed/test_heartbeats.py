"""Two processes of which one is stopped or dies: the other reports it, and ends after a timeout."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> Path:
    """A folder with the output of the processes, and their exit codes."""
    folder = tmp_path_factory.mktemp("silent")
    script = Path(__file__).with_name("silent_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads do not survive a fork
    done = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("rank", range(2), ids=["the first", "the second"])
def test_a_process_that_is_stopped_is_named_and_not_waited_for_too_long(left, rank):
    found, said = json.loads((left / "codes.json").read_text()), (left / f"stopped-{rank}-{1 - rank}").read_text()
    name = f"process {rank} ({found['host']}, process id {found['pids'][f'stopped-{rank}']})"
    warning = re.escape(f"waiting for {name}: no heartbeat for ") + r"\d s, it is stopped, dead or disconnected"
    assert re.search(warning, said)
    assert f"{name} responds again" in said
    assert re.search(re.escape(f"error: no heartbeat from {name} for ") + r"[4-9] s; the last checkpoint is", said)
    assert found["codes"][f"stopped-{rank}"] == 2


@pytest.mark.parametrize("rank", range(2), ids=["the first", "the second"])
def test_a_process_that_dies_ends_the_other_with_one_line(left, rank):
    found, said = json.loads((left / "codes.json").read_text()), (left / f"killed-{rank}-{1 - rank}").read_text()
    assert found["codes"][f"killed-{rank}"] == 2
    assert "the last checkpoint is kept: run the same command with --resume" in said.lower()
    assert "Traceback" not in said
