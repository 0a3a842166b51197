import json
import os

import pytest
import torch

from refilm.training.checkpoint.checkpoints import (
    checkpoints,
    load_checkpoint,
    save_checkpoint,
    set_aside,
    starting_point,
)


def state(step: int) -> dict:
    return {"step": step, "weights": {"w": torch.full((50,), float(step))}, "optimizers": [{"betas": (0.9, 0.99)}]}


@pytest.fixture
def run(tmp_path):
    """A run's folder with checkpoints of the steps 10, 20 and 30."""
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, state(step), keep=3)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_only_the_newest_checkpoints_stay_and_the_newest_is_found(run):
    save_checkpoint(run, 40, state(40), keep=2)
    assert names(run) == ["step-00000030", "step-00000040"]
    assert load_checkpoint(run)["step"] == 40
    loaded = load_checkpoint(run / "step-00000030")
    assert loaded["weights"]["w"].tolist() == [30] * 50
    assert loaded["optimizers"] == [{"betas": (0.9, 0.99)}]


def test_the_manifest_matches_the_files(run):
    manifest = json.loads((run / "step-00000030" / "manifest.json").read_text())
    assert (manifest["step"], manifest["processes"], list(manifest["files"])) == (30, 1, ["state.pt"])
    assert manifest["files"]["state.pt"]["size"] == (run / "step-00000030" / "state.pt").stat().st_size


def test_what_a_killed_process_left_is_never_taken_and_goes_with_the_next_save(run):
    os.rename(run / "step-00000030", run / ".step-00000030.new")
    (run / ".step-00000010.old").mkdir()
    (run / ".step-00000010.old" / "state.pt").write_bytes(b"half")
    (run / "step-00000020-mine").mkdir()
    assert load_checkpoint(run)["step"] == 20
    save_checkpoint(run, 30, state(30), keep=2)
    assert names(run) == ["step-00000020", "step-00000020-mine", "step-00000030"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "flipped": (flip, r"step-00000030/{}: is damaged, "),
    "truncated": (lambda path: os.truncate(path, 100), r"step-00000030/{}: is damaged, "),
    "missing": (os.unlink, r"step-00000030.*: is damaged, .*(No such file|has no manifest)"),
}


@pytest.mark.parametrize("file", ["state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_an_error_that_names_the_next_sound_one(run, file, damage):
    do, says = DAMAGES[damage]
    do(run / "step-00000030" / file)
    flip(run / "step-00000020" / "state.pt")
    remedy = f"use the newest intact one before it: --resume-from {run / 'step-00000010'}"
    with pytest.raises(ValueError, match=says.format(file)) as error:
        load_checkpoint(run)
    assert str(error.value).endswith(remedy)
    flip(run / "step-00000010" / "state.pt")
    with pytest.raises(ValueError, match="no older one is intact; start a new run in another --run folder"):
        load_checkpoint(run)


def test_a_sealed_file_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save({"state": os.system, "sharded": {}}, tmp_path / "hostile.pt")
    path = save_checkpoint(tmp_path / "run", 1, state(1))
    manifest = json.loads((path / "manifest.json").read_text())
    for bad in (b"text", (tmp_path / "hostile.pt").read_bytes()):
        (path / "state.pt").write_bytes(bad)
        import hashlib

        manifest["files"]["state.pt"] = {"size": len(bad), "sha256": hashlib.sha256(bad).hexdigest()}
        (path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=r"state\.pt: cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / "run")


def test_where_a_run_starts_is_never_guessed(run, tmp_path_factory):
    fresh = tmp_path_factory.mktemp("fresh")
    assert starting_point(fresh, False) is None
    assert starting_point(run, True) == starting_point(fresh, run) == run / "step-00000030"
    assert starting_point(run, run / "step-00000010") == run / "step-00000010"
    with pytest.raises(ValueError, match="already contains a run; add --resume"):
        starting_point(run, False)
    for resume in (True, fresh / "step-00000010", fresh / "nowhere"):
        with pytest.raises(ValueError, match="no checkpoint to resume from"):
            starting_point(fresh, resume)


def test_later_checkpoints_are_set_aside_not_lost(run):
    set_aside(run, after=10)
    assert checkpoints(run) == [run / "step-00000010"]
    (aside,) = run.glob("aside-*-step-00000030")
    assert load_checkpoint(aside)["step"] == 30
    save_checkpoint(run, 20, state(20), keep=1)
    assert aside.is_dir()
