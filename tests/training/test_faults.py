"""Whatever call of a save fails, with whatever error: the checkpoint before still loads, and nothing half is taken."""

import errno
import os
import resource
import shutil

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import distribute_tensor, init_device_mesh

from refilm.training.checkpoint.checkpoints import checkpoints, load_checkpoint, save_checkpoint

from ..disk import Disk


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """A group of this process alone: sharded tensors take the road of many."""
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path_factory.mktemp('group')}/store", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def state_of(step, mesh):
    weights = torch.full((40, 100), float(step))
    return {"step": step, "weights": {"w": weights if mesh is None else distribute_tensor(weights, mesh)}}


def step_in(checkpoint, mesh):
    """What it loads as, checked to be one state throughout."""
    state = load_checkpoint(checkpoint)
    assert torch.equal(state["weights"]["w"], torch.full((40, 100), float(state["step"])))
    return state["step"]


def begin(folder, mesh):
    for step in (10, 20):
        save_checkpoint(folder, step, state_of(step, mesh))
    return folder


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=lambda number: errno.errorcode[number])
def test_every_call_of_a_save_may_fail(tmp_path, request, error, lasting, sharded):
    mesh = request.getfixturevalue("mesh") if sharded else None
    begun = begin(tmp_path / "begun", mesh)
    folder = shutil.copytree(begun, tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, lambda number, file: None)
        save_checkpoint(folder, 30, state_of(30, mesh))
    calls = disk.calls
    assert {"mkdir", "open for writing", "write", "fsync", "rename", "unlink", "rmdir"} <= set(calls)
    for at in range(1, len(calls) + 1):

        def fault(number, file, at=at):
            if number == at or (lasting and number > at):
                raise OSError(error, os.strerror(error), file)

        shutil.rmtree(folder)
        shutil.copytree(begun, folder)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, fault)
            with pytest.raises(OSError, match=os.strerror(error)) as failure:
                save_checkpoint(folder, 30, state_of(30, mesh))
        said, where = str(failure.value), f"call {at}: {calls[at - 1]}"
        left = [step_in(path, mesh) for path in checkpoints(folder)]  # each is whole
        assert said.startswith(str(folder)), where
        if said.endswith("the checkpoint of step 30 is not saved; earlier checkpoints are kept"):
            assert left[:2] == [10, 20], where
        else:
            assert said.endswith("an older checkpoint could not be deleted; the checkpoint of step 30 is saved"), where
            assert left[-2:] == [20, 30], where
        save_checkpoint(folder, 40, state_of(40, mesh))
        assert [step_in(path, mesh) for path in checkpoints(folder)] == [*left[-1:], 40]
        assert not list(folder.glob(".*"))


def test_a_file_that_really_cannot_grow(tmp_path):
    begin(tmp_path, None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))  # Python ignores the signal that comes with it
    try:
        with pytest.raises(OSError, match=r"step-00000030\.new/state\.pt: File too large; the checkpoint of step 30"):
            save_checkpoint(tmp_path, 30, state_of(30, None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000020"]
    assert step_in(tmp_path, None) == 20


def test_everything_of_a_checkpoint_reaches_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, renamed = [], []
    fsync, rename = os.fsync, os.rename

    def counted(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def noted(old, new):
        renamed.append(len(synced))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", counted)
    monkeypatch.setattr(os, "rename", noted)
    path = save_checkpoint(tmp_path, 10, state_of(10, None))
    inside = {file.stat().st_ino for file in (path / "state.pt", path / "manifest.json", path)}
    assert inside <= set(synced[: renamed[0]])
    assert tmp_path.stat().st_ino in synced[renamed[0] :]


def test_a_checkpoint_that_reads_otherwise_than_it_was_written_is_none(tmp_path, monkeypatch):
    begin(tmp_path, None)
    fsync, spoiled = os.fsync, []

    def spoiling(descriptor):
        fsync(descriptor)
        if not spoiled and os.fstat(descriptor).st_size > 1000:  # state.pt: the disk keeps another byte
            spoiled.append(os.pwrite(descriptor, b"\xff", 900))

    monkeypatch.setattr(os, "fsync", spoiling)
    with pytest.raises(
        OSError, match=r"state\.pt: the file read back differs from what was written; the checkpoint of step 30"
    ):
        save_checkpoint(tmp_path, 30, state_of(30, None))
    assert spoiled
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000010", "step-00000020"]
