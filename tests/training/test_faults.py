"""Whatever call of a save fails, with whatever error: the checkpoint before still loads, and nothing half is taken."""

import builtins
import errno
import io
import os
import resource
import shutil

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import distribute_tensor, init_device_mesh

from refilm.training.resume import checkpoints, load_checkpoint, save_checkpoint


class Disk:
    """Counts the calls that change the disk, and lets the `at`th fail, or all from there on."""

    def __init__(self, monkeypatch, *, at: int = 0, error: int = 0, lasting: bool = False):
        self.calls: list[str] = []
        self.at, self.error, self.lasting = at, error, lasting
        for name in ("mkdir", "rename", "fsync", "open", "unlink", "rmdir"):
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))
        real, disk = builtins.open, self

        class Raw(io.FileIO):
            def write(self, data):
                disk.call("write")  # of a file in hand: no name, as the system's own error has none
                return super().write(data)

        def opened(file, mode="r", *rest, **named):
            if isinstance(file, int) or not set(mode) & set("wxa"):
                return real(file, mode, *rest, **named)
            self.call("open for writing", str(file))
            buffered = io.BufferedWriter(Raw(file, mode.replace("b", "")))
            return buffered if "b" in mode else io.TextIOWrapper(buffered)

        monkeypatch.setattr(builtins, "open", opened)
        monkeypatch.setattr(io, "open", opened)

    def call(self, name: str, file: str | None = None) -> None:
        self.calls.append(name)
        if len(self.calls) == self.at or (self.lasting and len(self.calls) > self.at):
            raise OSError(self.error, os.strerror(self.error), file)

    def _counted(self, name, real):
        def counted(target, *rest, **named):
            self.call(name, None if isinstance(target, int) else str(target))
            return real(target, *rest, **named)

        return counted


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
        disk = Disk(patch)
        save_checkpoint(folder, 30, state_of(30, mesh))
    calls = disk.calls
    assert {"mkdir", "open for writing", "write", "fsync", "rename", "unlink", "rmdir"} <= set(calls)
    for at in range(1, len(calls) + 1):
        shutil.rmtree(folder)
        shutil.copytree(begun, folder)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, at=at, error=error, lasting=lasting)
            with pytest.raises(OSError, match=os.strerror(error)) as failure:
                save_checkpoint(folder, 30, state_of(30, mesh))
        said, where = str(failure.value), f"call {at}: {calls[at - 1]}"
        left = [step_in(path, mesh) for path in checkpoints(folder)]  # each is whole
        assert said.startswith(str(folder)), where
        if said.endswith("the checkpoint of step 30 is not safe, those before it are kept"):
            assert left[:2] == [10, 20], where
        else:
            assert said.endswith("an older checkpoint is still there, that of step 30 is safe"), where
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
