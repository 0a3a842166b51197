"""Across processes: a seed gives the same video, and a killed run is resumed exactly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from refilm.training.checkpoint.checkpoints import checkpoints, load_checkpoint

from ..tiny_recipe import write_recipe

COMMAND = Path(sys.executable).with_name("refilm")
PROMPT = "a critter bounces in the meadow"


def test_a_seed_makes_the_same_video_in_every_process(refilm, tiny_base, fox, tmp_path):
    def words(name: str, seed: int) -> list[object]:
        return ["generate", PROMPT, "--reference", fox, "--base", tiny_base, "--seed", seed, "-o", tmp_path / name]

    def frames(name: str) -> list[bytes]:
        return [Image.open(path).tobytes() for path in sorted(tmp_path.glob(f"{name}-*.png"))]

    subprocess.run([COMMAND, *map(str, words("there.png", 5))], check=True, capture_output=True, timeout=600)
    assert refilm(*words("here.png", 5)).exit_code == 0
    assert refilm(*words("other.png", 6)).exit_code == 0
    assert len(frames("there")) == 17
    assert frames("here") == frames("there")
    assert frames("other") != frames("there")


@pytest.fixture
def in_folder(tiny_base, tmp_path, monkeypatch):
    """Enters a fresh folder with a recipe; encodings are shared."""

    def enter(name: str) -> Path:
        (folder := tmp_path / name).mkdir()
        monkeypatch.chdir(folder)
        write_recipe(folder / "tiny.toml", base=tiny_base, cache=tmp_path / "cache")
        return folder

    return enter


def test_a_killed_run_goes_on_to_the_same_weights(in_folder):
    """Each run is a process of its own, as users start them: another's memory layout can change the last bits."""

    def refilm(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=600)

    train = ("train", "tiny.toml", "--set", "loop.steps=100")
    unbroken = in_folder("unbroken")
    whole = refilm(*train)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.count("note: query_norm = true: this adapter cannot be converted to SAT") == 1

    broken = in_folder("broken")
    run = broken / "runs" / "tiny"
    process = subprocess.Popen([COMMAND, *train], stdout=subprocess.DEVNULL)
    wait(lambda: checkpoints(run))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert load_checkpoint(run)["step"] < 100
    again = refilm(*train)
    assert (again.returncode, again.stdout) == (2, "")
    assert "already contains a run; add --resume to continue it" in again.stderr
    assert refilm(*train, "--resume").returncode == 0

    file = "adapter/adapter.safetensors"
    assert (broken / file).read_bytes() == (unbroken / file).read_bytes()
    one, other = (load_checkpoint(folder / "runs" / "tiny") for folder in (unbroken, broken))
    assert_equal(one, other)


RELEASED = """
import gc

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from refilm.cli import main

destroy = dist.destroy_process_group


def checked():
    alive = [kind for kind in map(type, gc.get_objects()) if issubclass(kind, DistributedDataParallel)]
    assert not alive, "a replica outlives its process group, and may wait for it for ever"
    destroy()


dist.destroy_process_group = checked
main()
"""


def test_two_processes_learn_what_one_does(refilm, in_folder):
    few = [
        "--set",
        "loop.steps=5",
        "--set",
        "loop.save_every=1",
        "--set",
        "loop.keep=5",
        "--set",
        "loop.precision=fp32",
    ]
    few += ["--set", "loop.optimizer={learning_rate=1e-3, ema=0}"]
    alone = in_folder("alone")
    assert refilm("train", "tiny.toml", *few).exit_code == 0
    together = in_folder("together")
    torchrun = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2"]
    Path("released.py").write_text(RELEASED)
    done = subprocess.run(
        [*torchrun, "released.py", "train", "tiny.toml", *few], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("adapter: trained") == 1  # only one process reports
    runs = [folder / "runs" / "tiny" for folder in (alone, together)]
    assert_near(*map(load_checkpoint, runs), before=load_checkpoint(runs[0] / "step-00000001"))


@pytest.mark.slow
def test_shards_of_two_processes_go_on_to_the_same_bits_in_two_and_near_them_in_one(refilm, in_folder):
    whole = ["--set", "train.what=all", "--set", "loop.precision=fp32", "--set", "loop.optimizer={kind='adamw'}"]
    whole += ["--set", "loop.steps=6", "--set", "loop.save_every=3"]
    torchrun = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2"]
    sharded = [*torchrun, "-m", "refilm.cli", "train", "tiny.toml", *whole, "--set", "loop.shard=true"]
    run = in_folder("sharded") / "runs" / "tiny"
    subprocess.run(sharded, check=True, timeout=600)
    assert len(list((run / "step-00000003" / "shards").iterdir())) == 2
    unbroken, before = load_checkpoint(run), load_checkpoint(run / "step-00000003")
    shutil.rmtree(run / "step-00000006")
    subprocess.run([*sharded, "--resume"], check=True, timeout=600)
    assert_equal(load_checkpoint(run), unbroken)
    shutil.rmtree(run / "step-00000006")
    assert refilm("train", "tiny.toml", *whole, "--resume").exit_code == 0
    assert_near(load_checkpoint(run), unbroken, before=before)


def assert_equal(one, other) -> None:
    for kind in ("weights", "average"):
        assert one[kind].keys() == other[kind].keys()
        for name, tensor in one[kind].items():
            assert torch.equal(tensor, other[kind][name]), f"{kind}: {name}"


def assert_near(one, other, *, before) -> None:
    """That two runs differ by little of what their weights have moved; `in_float64` says why not by less."""
    for name, tensor in one["weights"].items():
        if not name.endswith("key_norm.bias"):  # no weight of the softmax changes with it: rounding alone moves it
            moved = (tensor - before["weights"][name]).norm()
            assert moved > 0
            assert (tensor - other["weights"][name]).norm() < 0.02 * moved, name


ENDLESS = ["--set", "loop.steps=100000", "--set", "loop.save_every=100000"]


def heed_signals() -> None:
    """Undo what background jobs (SIGINT) and nohup (SIGHUP) ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def begin(*words: object, stderr: int = subprocess.PIPE) -> subprocess.Popen:
    """Start a training process and wait for its first step."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        preexec_fn=heed_signals,
    )
    while "step 1 of" not in (line := process.stdout.readline()):
        assert line, process.stderr and process.stderr.read()
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(refilm, in_folder, number):
    run = in_folder("stopped") / "runs" / "tiny"
    process = begin(COMMAND, "train", "tiny.toml", *ENDLESS, "--set", "diffusion.seed=1")
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 75
    step = load_checkpoint(run)["step"]
    again = f"train tiny.toml --run runs/tiny {' '.join(ENDLESS)} --set diffusion.seed=1 --resume"
    assert said.splitlines() == [
        "stopping after this step is saved; press Ctrl-C again to stop at once",
        f"stopped; step {step} is saved; continue with: refilm {again}",
    ]
    done = refilm(*again.split(), "--set", f"loop.steps={step + 2}")
    assert done.exit_code == 0, done.output
    assert load_checkpoint(run)["step"] == step + 2


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="tee was stopped too"),
        pytest.param(signal.SIGHUP, id="the terminal closed", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_nobody_reads_saves_when_it_is_stopped(in_folder, number):
    run = in_folder("unread") / "runs" / "tiny"
    process = begin(COMMAND, "train", "tiny.toml", *ENDLESS, stderr=subprocess.STDOUT)  # 2>&1 | tee log
    process.stdout.close()
    process.send_signal(number)
    assert process.wait(timeout=600) == 75
    assert load_checkpoint(run)["step"] > 0


def test_a_second_ctrl_c_leaves_at_once(in_folder):
    run = in_folder("left") / "runs" / "tiny"
    slow = ["--set", "loop.save_every=1", "--set", "diffusion.curriculum=[{until=1, latent_frames=5, batch=200}]"]
    process = begin(COMMAND, "train", "tiny.toml", *slow)
    wait(lambda: checkpoints(run))
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "stopping after this step is saved; press Ctrl-C again to stop at once\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    assert said.startswith("stopped; step 1 is saved; continue with: refilm train tiny.toml")
    assert load_checkpoint(run)["step"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_processes_stop_when_torchrun_is_told_to(in_folder, number):
    run = in_folder("both") / "runs" / "tiny"
    torchrun = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2"]
    process = begin(*torchrun, "-m", "refilm.cli", "train", "tiny.toml", *ENDLESS)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    step = load_checkpoint(run)["step"]
    assert (
        said.count(f"stopped; step {step} is saved; continue with: the same command and --resume") == 1
    )  # only one process reports
    assert json.loads((checkpoints(run)[-1] / "manifest.json").read_text())["processes"] == 2


def test_a_loss_that_is_not_finite_names_what_to_try(refilm, in_folder):
    run = in_folder("burst") / "runs" / "tiny"
    growing = "loop.optimizer={learning_rate=10, weight_decay=1, warm_up=0}"  # by a factor of -9 at every step
    result = refilm("train", "tiny.toml", "--set", "loop.save_every=1", "--set", growing)
    assert result.exit_code == 2
    (said,) = result.stderr.splitlines()
    step = load_checkpoint(run)["step"]
    assert said.startswith(f"error: step {step}: loss ")
    assert "lower loop.optimizer.learning_rate" in said
    assert f"step {step} is saved; continue with: refilm train tiny.toml --run runs/tiny" in said


def test_a_damaged_checkpoint_is_not_replaced_by_an_older_one_unasked(refilm, in_folder):
    run = in_folder("damaged") / "runs" / "tiny"
    few = ["--set", "loop.steps=6", "--set", "loop.save_every=3"]
    assert refilm("train", "tiny.toml", *few).exit_code == 0
    weights = load_checkpoint(run)["weights"]
    os.truncate(run / "step-00000006" / "state.pt", 1000)
    result = refilm("train", "tiny.toml", *few, "--resume")
    assert result.exit_code == 2
    assert "step-00000006/state.pt: is damaged, 1000 bytes instead of" in result.stderr
    remedy = result.stderr.split("before it: ")[1].split()
    assert remedy == ["--resume-from", "runs/tiny/step-00000003"]
    assert refilm("train", "tiny.toml", *few, *remedy).exit_code == 0
    for name, weight in load_checkpoint(run)["weights"].items():
        assert torch.equal(weight, weights[name]), name
    result = refilm("train", "tiny.toml", *few, "--resume-from", "runs/tiny/step-00000009")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: runs/tiny/step-00000009: no checkpoint to resume from")


def test_resume_without_a_checkpoint_is_refused(refilm, in_folder):
    in_folder("fresh")
    result = refilm("train", "tiny.toml", "--resume")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: runs/tiny: no checkpoint to resume from; remove --resume to start a new run\n"
    assert not os.path.exists("runs")


def wait(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
