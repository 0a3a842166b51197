import signal

import pytest
import torch

from refilm.training.resume import checkpoints, load_checkpoint, save_checkpoint, uninterrupted


def test_only_the_newest_checkpoints_stay_and_the_newest_is_found(tmp_path):
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, {"step": step, "weights": {"w": torch.full((2,), float(step))}}, keep=2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000020", "step-00000030"]
    assert load_checkpoint(tmp_path)["step"] == 30
    assert load_checkpoint(tmp_path / "step-00000020")["weights"]["w"].tolist() == [20, 20]


def test_a_half_written_checkpoint_is_never_taken(tmp_path):
    save_checkpoint(tmp_path, 10, {"step": 10})
    (tmp_path / ".step-00000020.tmp").mkdir()
    (tmp_path / ".step-00000020.tmp" / "state.pt").write_bytes(b"half")
    (tmp_path / "step-00000030").mkdir()
    assert load_checkpoint(tmp_path)["step"] == 10


def test_no_checkpoint_and_a_damaged_one_are_errors_that_name_the_path(tmp_path):
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        load_checkpoint(tmp_path)
    path = save_checkpoint(tmp_path, 10, {"step": 10, "weights": {"w": torch.zeros(1000)}})
    (path / "state.pt").write_bytes((path / "state.pt").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"step-00000010/state\.pt: cannot be read"):
        load_checkpoint(tmp_path)


def test_an_interrupt_waits_until_a_save_is_done():
    done = []

    def save():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("saved")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            save()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["saved"]
