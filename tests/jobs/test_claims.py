"""Claims: one process at a time has a row; that of a dead or silent process is taken by exactly one other."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refilm.jobs import Claims

TAKE = """
import sys
from pathlib import Path
from refilm.jobs import Claims

with Claims(Path(sys.argv[1])).taken("row"):
    print("taken", flush=True)
    input()
"""


def taken(folder: Path, *, stale_after: float = 600.0) -> bool:
    """Whether the row is free; it is taken and released."""
    with Claims(folder, stale_after=stale_after).taken("row") as claim:
        return claim is not None


def take_and_die(folder: Path) -> subprocess.Popen[str]:
    """A process that takes the row and is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    process.kill()
    return process


def set_owner(folder: Path, **values: object) -> None:
    """Change what the newest claim says about its process."""
    path = max(folder.glob("row.claim-*"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_row_is_taken_once_and_again_after_its_release(tmp_path):
    with Claims(tmp_path).taken("row") as claim:
        assert claim.is_held()
        assert not taken(tmp_path)
        with Claims(tmp_path).taken("other") as other:
            assert other is not None
    assert taken(tmp_path)
    with pytest.raises(RuntimeError), Claims(tmp_path).taken("row"):
        raise RuntimeError
    assert taken(tmp_path)


def test_the_row_of_a_killed_process_is_free_at_once(tmp_path):
    process = take_and_die(tmp_path)
    end = time.monotonic() + 20
    while not taken(tmp_path):  # the kill takes a moment
        assert time.monotonic() < end
        time.sleep(0.01)
    process.communicate()  # it was a zombie


def test_a_process_id_that_was_given_again_does_not_keep_a_row(tmp_path):
    with Claims(tmp_path).taken("row"):
        set_owner(tmp_path, started="1")
        assert taken(tmp_path)


def test_a_row_of_another_machine_is_free_without_heartbeats(tmp_path):
    with Claims(tmp_path).taken("row") as claim:
        set_owner(tmp_path, machine="another", pid=1, started="1")
        assert not taken(tmp_path)
        quiet = time.time() - 100
        os.utime(tmp_path / "row.claim-0", (quiet, quiet))
        assert not taken(tmp_path, stale_after=200)
        assert claim.is_held()
        with Claims(tmp_path, stale_after=50).taken("row") as other:
            assert other.is_held()
            assert not claim.is_held()  # it wakes up, and discards its work
    assert taken(tmp_path)


def test_heartbeats_keep_a_row(tmp_path):
    with Claims(tmp_path, stale_after=0.4).taken("row"):
        set_owner(tmp_path, machine="another")
        for _ in range(10):
            time.sleep(0.1)
            assert not taken(tmp_path, stale_after=0.4)


def test_a_claim_without_an_owner_is_free_after_a_while(tmp_path):
    """Its process was killed between the creation of the file and the first write."""
    (tmp_path / "row.claim-0").touch()
    assert not taken(tmp_path)
    os.utime(tmp_path / "row.claim-0", (time.time() - 20,) * 2)
    assert taken(tmp_path)


def test_where_processes_cannot_be_inspected_only_heartbeats_count(tmp_path, monkeypatch):
    with Claims(tmp_path).taken("row"):
        set_owner(tmp_path, pid=2**30, started="")
        assert not taken(tmp_path)


def take_many_times(folder: Path, turns: int) -> None:
    """Take the row; each time no other may have it, which a file that only its owner creates and removes shows."""
    shared = Claims(folder)
    while turns:
        with shared.taken("row") as claim:
            if claim is not None:
                (folder / "inside").touch(exist_ok=False)
                (folder / "inside").unlink()
                turns -= 1


def test_processes_that_race_never_have_the_row_at_the_same_time(tmp_path):
    """Each claim is left by a killed process or released, so that many try to take the next one."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=take_many_times, args=(tmp_path, 40)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len([*tmp_path.glob("row.claim-*")]) == 160
