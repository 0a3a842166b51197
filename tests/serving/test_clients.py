"""The benchmarks of the server in small: many clients while processes are killed, and the scripts of the clients."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.slow


def measured(script, out, *words):
    """The result of a benchmark."""
    command = [sys.executable, str(BENCHMARKS / script), *words, "--out", str(out)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return json.loads(out.read_text())


def test_nothing_is_lost_whatever_is_killed(tmp_path):
    words = ["--clients", "8", "--jobs", "20", "--kills", "2", "--max-queue", "4", "--compare", "6"]
    found = measured("serve_load.py", tmp_path / "load.json", *words)
    store, wrong = found["store"], ("lost", "unknown", "not_final", "ended_twice", "left_a_final_state", "failed")
    assert store["accepted"] == store["completed"] + store["deleted"] == 24
    assert store["deleted"] == 6
    assert not any(store[name] for name in (*wrong, "client_saw_another_end", "broken_results"))
    assert sum(found["kills"].values()) == 2
    assert found["bytes"]["same_bytes"] == found["bytes"]["compared"] >= 6
    assert found["clients"]["refused"] == found["clients"]["progress_decreased"] == 0
    assert "server_errors" not in found["clients"]


def test_the_openai_client_and_curl_do_all_they_offer(tmp_path):
    clients = measured("serve_clients.py", tmp_path / "clients.json")["clients"]
    assert {name: set(one["steps"].values()) for name, one in clients.items()} == {"openai": {"ok"}, "curl": {"ok"}}
