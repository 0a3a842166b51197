"""SIGTERM and Ctrl-C: the step is finished and saved; what a terminal shows of it is in tests/e2e/test_processes.py."""

import signal
import threading

import pytest
import torch

from refilm.training.checkpoint.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from refilm.training.engine.loop import fit
from refilm.training.engine.signals import Stopped, stoppable

from ...disk import Disk
from .test_loop import SETTINGS, Regression


@pytest.fixture(autouse=True)
def default_handlers():
    """Tests in a shell's background ignore Ctrl-C, and those under nohup SIGHUP."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_after_a_saved_step_and_the_resumed_run_is_bitwise_identical(tmp_path, number):
    whole, resumed, told, events = Regression(), Regression(), [], []
    losses = [progress.loss for progress in fit(whole, SETTINGS, tmp_path / "whole")]
    with stoppable(lambda: told.append("stop")) as stop:
        for event in fit(Regression(), SETTINGS, tmp_path / "run", stop=stop):
            events.append(event)
            if event.step == 16:
                signal.raise_signal(number)
    *steps, stopped = events
    first = [progress.loss for progress in steps]
    assert (stopped, told) == (Stopped(17, signal=number), ["stop"])
    assert str(stopped) == f"stopped by {number.name} after step 17, which is saved"
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["step-00000010", "step-00000017"]
    second = [progress.loss for progress in fit(resumed, SETTINGS, tmp_path / "run", resume=True)]
    assert first + second == losses
    assert torch.equal(resumed.module.weight, whole.module.weight)
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_second_ctrl_c_leaves_at_once_but_a_second_sigterm_does_not():
    with stoppable(lambda: None) as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_ctrl_c_amid_a_save_comes_out_as_one_and_leaves_the_checkpoint_before(tmp_path):
    """torch.save would make another error of it."""
    save_checkpoint(tmp_path, 10, {"step": 10})
    state = {"step": 20, "weights": [torch.zeros(1000) for _ in range(20)]}
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, lambda number, file: None)
        save_checkpoint(tmp_path / "other", 20, state)
    assert disk.calls.count("write") > 10
    for at in range(1, len(disk.calls) + 1):
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, lambda number, file, at=at: signal.raise_signal(signal.SIGINT) if number == at else None)
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(tmp_path, 20, state)
        for path in checkpoints(tmp_path)[1:]:  # the rename was done
            assert load_checkpoint(path)["step"] == 20
            path.rename(tmp_path / f"done-{at}")
        assert load_checkpoint(tmp_path)["step"] == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["background", "nohup"])
def test_what_is_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    with stoppable(lambda: None) as stop:
        signal.raise_signal(number)
    signal.signal(number, before)
    assert not stop.received


def test_a_thread_trains_without_hearing_signals(tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.extend(fit(Regression(), SETTINGS, tmp_path)))
    thread.start()
    thread.join()
    assert len(done) == SETTINGS.steps


def test_signals_that_are_ignored_within_stay_ignored():
    """torchrun sends SIGTERM to the processes of a stopped run as soon as the first one has left."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stoppable():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
