"""Items that fail, hang or kill their process do not affect others. The function is `eval`; items are expressions."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from refilm.data.workers import Failure, Workers
from refilm.errors import UserError

HANG = "__import__('time').sleep(600)"
PROCESS = "__import__('os').getpid()"
SEGFAULT = "__import__('ctypes').string_at(0)"


def outcomes(items, workers=2, seconds=1.0) -> list:
    with Workers(workers, seconds=seconds) as processes:
        found = dict(processes.run(eval, items))
    assert sorted(found) == list(range(len(items)))
    return [found[index] for index in range(len(items))]


def test_each_item_has_its_own_outcome():
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    started = time.monotonic()
    plain, wrong, odd, hung, left, crashed, killed, mute, *rest = outcomes(
        ["1 + 1", "int('x')", "1 / 0", HANG, "__import__('os')._exit(3)", SEGFAULT, kill, "lambda: 0", "2", "3"]
    )
    assert (plain, rest) == (2, [2, 3])
    assert wrong == Failure("error", "ValueError: invalid literal for int() with base 10: 'x'")
    assert odd == Failure("error", "ZeroDivisionError: division by zero")
    assert hung == Failure("timeout", "took longer than 1 s")
    assert left == Failure("died", "crashed the worker process (exit code 3)")
    assert crashed == Failure("died", "crashed the worker process (SIGSEGV)")
    assert killed == Failure("died", "crashed the worker process (SIGKILL, possibly out of memory)")
    assert mute.kind == "error"
    assert "pickle" in mute.message
    assert time.monotonic() - started < 60


def test_workers_are_few_light_and_used_again():
    found = outcomes(["(__import__('os').getpid(), 'torch' in __import__('sys').modules)"] * 20, seconds=30)
    processes = {process for process, _ in found}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert not any(torch for _, torch in found)


def all_four(processes: Workers, folder: Path) -> set[int]:
    """The processes of a pool of four; each waits until all have come."""
    folder.mkdir()
    come = f"open({str(folder)!r} + '/' + str({PROCESS}), 'w').close()"
    alone = f"len(__import__('os').listdir({str(folder)!r})) < 4"
    wait = f"[__import__('time').sleep(0.05) for _ in range(1000) if {alone}]"
    return set(dict(processes.run(eval, [f"({come}, {wait}, {PROCESS})[2]"] * 4)).values())


def test_processes_start_as_they_are_needed_and_stay_for_the_next_call(tmp_path):
    with Workers(4, seconds=120) as processes:
        (first,) = dict(processes.run(eval, [PROCESS])).values()
        many = all_four(processes, tmp_path / "first")
        assert first in many
        assert len(many) == 4
        os.kill(first, signal.SIGSTOP)  # the others finish a list before it has loaded the function
        assert set(dict(processes.run(str, range(8), in_order=True)).values()) == set(map(str, range(8)))
        os.kill(first, signal.SIGCONT)
        assert all_four(processes, tmp_path / "second") == many
        os.kill(first, signal.SIGKILL)
        (left,) = dict(processes.run(eval, [PROCESS])).values()
        assert left in many - {first}
    assert not any(Path(f"/proc/{number}").exists() for number in many)


def test_a_slow_caller_is_no_late_item():
    items = ["__import__('time').sleep(0.1)"] * 4
    with Workers(2, seconds=1.0) as processes:
        for _, outcome in processes.run(eval, items):
            time.sleep(1.5)
            assert outcome is None


def test_large_results_come_whole():
    (large,) = outcomes(["bytes(50_000_000)"], seconds=60)
    assert large == bytes(50_000_000)


def test_who_stops_early_leaves_no_process_behind():
    with Workers(2, seconds=600) as processes:
        steps = processes.run(eval, ["__import__('os').getpid()", *[HANG] * 8])
        _, process = next(steps)
        assert Path(f"/proc/{process}").exists()
        steps.close()
        assert not Path(f"/proc/{process}").exists()


def test_a_worker_outlives_its_caller_by_little(tmp_path):
    """A killed caller cannot clean up; the hanging worker is ended by its own alarm."""
    item = f"(open({str(tmp_path / 'process')!r}, 'w').write(str(__import__('os').getpid())), {HANG})"
    code = f"from refilm.data.workers import Workers; list(Workers(1, seconds=1.0).run(eval, [{item!r}]))"
    caller = subprocess.Popen([sys.executable, "-c", code])  # unguarded, and without a file to run again
    written = tmp_path / "process"
    wait_until(lambda: written.is_file() and written.read_text())
    caller.kill()
    caller.wait()
    process = Path("/proc") / written.read_text()
    wait_until(lambda: not process.exists() or "Z (zombie)" in (process / "status").read_text())


def wait_until(true, seconds=60.0) -> None:
    stop = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < stop
        time.sleep(0.05)


def test_no_items_no_workers_no_time():
    assert outcomes([]) == []
    with pytest.raises(UserError, match="workers must be 1 or more, received 0"):
        Workers(0, seconds=1)
    for seconds in (0, float("nan"), float("inf"), 1e9):
        with pytest.raises(UserError, match="seconds must be more than 0 and at most 1,000,000, received"):
            Workers(1, seconds=seconds)


def test_a_function_that_cannot_be_imported_there_is_no_items_fault(capfd, monkeypatch):
    monkeypatch.setattr(outcomes, "__module__", "nowhere")
    monkeypatch.setitem(sys.modules, "nowhere", sys.modules[__name__])
    with (
        Workers(1, seconds=1) as processes,
        pytest.raises(RuntimeError, match="a worker process could not start"),
    ):
        list(processes.run(outcomes, ["1"]))
    assert "No module named 'nowhere'" in capfd.readouterr().err


def test_in_order_few_run_ahead_of_a_slow_one(tmp_path):
    held = f"not __import__('os').path.exists({str(tmp_path / 'go')!r})"
    slow = f"[__import__('time').sleep(0.05) for _ in range(2000) if {held}]"
    items = [slow, *[f"open({str(tmp_path)!r} + '/{number}', 'w').close() or {number}" for number in range(1, 40)]]

    def collect() -> None:
        with Workers(2, seconds=120) as processes:
            found.extend(processes.run(eval, items, in_order=True))

    waiting = threading.Thread(target=collect)
    found: list = []
    waiting.start()
    wait_until(lambda: (tmp_path / "7").exists())
    time.sleep(1)
    begun = len(list(tmp_path.iterdir()))
    (tmp_path / "go").touch()
    waiting.join(60)
    assert begun == 7
    assert [index for index, _ in found] == list(range(40))
    assert [outcome for _, outcome in found[1:]] == list(range(1, 40))


def test_a_second_run_waits_for_the_end_of_the_first():
    with Workers(2, seconds=30) as processes:
        first = processes.run(eval, ["1", "2", "3"])
        next(first)
        with pytest.raises(RuntimeError, match="still work for an earlier call of run"):
            next(processes.run(eval, ["4"]))
        first.close()
        assert dict(processes.run(eval, ["4"])) == {0: 4}


def test_a_result_that_cannot_be_read_is_its_item_s_failure():
    class_ = "type('Bad', (), {'__reduce__': lambda self: (int, ('x',))})()"
    bad, good = outcomes([class_, "2"], seconds=30)
    assert (bad.kind, good) == ("error", 2)
    assert "invalid literal" in bad.message
