"""What must hold from one process to the next: a seed makes the same film, and a killed run goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from refilm.training.resume import checkpoints, load_checkpoint

COMMAND = Path(sys.executable).with_name("refilm")
PROMPT = "a critter bounces in the meadow"


def test_a_seed_makes_the_same_film_in_every_process(tiny_base, fox, tmp_path):
    def frames(name: str, seed: int) -> list[bytes]:
        words = ["generate", PROMPT, "--reference", fox, "--base", tiny_base, "--seed", str(seed), "-o", f"{name}.png"]
        subprocess.run([COMMAND, *words], cwd=tmp_path, check=True, capture_output=True, timeout=600)
        return [path.read_bytes() for path in sorted(tmp_path.glob(f"{name}-*.png"))]

    first = frames("first", 5)
    assert len(first) == 17
    assert frames("second", 5) == first
    assert frames("third", 6) != first


RECIPE = """
stage = "adapter"
base = "{base}"
out = "adapter"
data = {{cache = "{cache}", clips = 8, held_out_clips = 4}}
loop = {{steps = 200, save_every = 20, validate_every = 1000, optimizer = {{muon_learning_rate = 1e-3}}}}

[diffusion]
curriculum = [{{until = 40, latent_frames = 1, batch = 4}}, {{until = 500, latent_frames = 2, batch = 4}}]
"""


@pytest.fixture
def in_folder(tiny_base, tmp_path, monkeypatch):
    """A fresh folder with a recipe in it; encodings are shared."""

    def enter(name: str) -> Path:
        (folder := tmp_path / name).mkdir()
        monkeypatch.chdir(folder)
        recipe = RECIPE.format(base=tiny_base, cache=tmp_path / "cache")
        (folder / "tiny.toml").write_text(recipe)
        return folder

    return enter


def test_a_killed_run_goes_on_to_the_same_weights(refilm, in_folder):
    unbroken = in_folder("unbroken")
    assert refilm("train", "tiny.toml").exit_code == 0

    broken = in_folder("broken")
    run = broken / "runs" / "tiny"
    process = subprocess.Popen([COMMAND, "train", "tiny.toml"], stdout=subprocess.DEVNULL)
    wait(lambda: checkpoints(run))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert load_checkpoint(run)["step"] < 200
    again = refilm("train", "tiny.toml")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "holds a run already; add --resume to go on" in again.stderr
    assert refilm("train", "tiny.toml", "--resume").exit_code == 0

    file = "adapter/adapter.safetensors"
    assert (broken / file).read_bytes() == (unbroken / file).read_bytes()
    one, other = (load_checkpoint(folder / "runs" / "tiny") for folder in (unbroken, broken))
    for kind in ("weights", "average"):
        for name, tensor in one[kind].items():
            assert torch.equal(tensor, other[kind][name]), f"{kind}: {name}"


def test_two_processes_learn_what_one_does(refilm, in_folder):
    few = ["--set", "loop.steps=5", "--set", "loop.save_every=5", "--set", "loop.precision=fp32"]
    few += ["--set", "loop.optimizer={learning_rate=1e-3, ema=0}"]
    alone = in_folder("alone")
    assert refilm("train", "tiny.toml", *few).exit_code == 0
    together = in_folder("together")
    torchrun = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "refilm.cli", "train", "tiny.toml", *few], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("adapter: trained") == 1  # one speaks for all
    one, two = (load_checkpoint(folder / "runs" / "tiny")["weights"] for folder in (alone, together))
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=1e-5), name


def test_ctrl_c_says_how_to_go_on(in_folder):
    folder = in_folder("stopped")
    words = ["train", "tiny.toml", "--set", "loop.steps=100000", "--set", "diffusion.seed=1"]
    process = subprocess.Popen(
        [COMMAND, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    wait(lambda: checkpoints(folder / "runs" / "tiny"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 130
    step = load_checkpoint(folder / "runs" / "tiny")["step"]
    command = "refilm train tiny.toml --run runs/tiny --set loop.steps=100000 --set diffusion.seed=1 --resume"
    assert said == f"stopped; step {step} is kept, go on with: {command}\n"


def test_resume_without_a_checkpoint_is_refused(refilm, in_folder):
    in_folder("fresh")
    result = refilm("train", "tiny.toml", "--resume")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: runs/tiny: no checkpoint to resume from; leave --resume out to start anew\n"
    assert not os.path.exists("runs")


def wait(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
