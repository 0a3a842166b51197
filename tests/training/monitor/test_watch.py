"""Monitoring of a run through the command line: its files, early stopping, and dry runs."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._subclasses.fake_tensor import FakeTensor

from refilm.backbones.cogvideox import position
from refilm.cli.run_display import LineDisplay
from refilm.data.encoding import EncodeProgress
from refilm.geometry import Compression
from refilm.media import open_video
from refilm.recipes import read_recipe, recipe_of
from refilm.training.dry_run import dry_run_of, saved_bytes
from refilm.training.engine.loop import Progress
from refilm.training.monitor.run_record import RunRecord
from refilm.training.monitor.sampler import geometry
from refilm.training.settings import SampleVideoSettings

RECIPE = """
stage = "adapter"
base = "{base}"
out = "adapter"
data = {{cache = "{cache}", clips = 8, held_out_clips = 4}}
loop = {{steps = 6, save_every = 3, validate_every = 2, precision = "fp32", optimizer = {{ema = 0.5, warm_up = 1}}}}

[diffusion]
captions = [1.0, 0.0]
validation = {{samples = 8}}
curriculum = [{{until = 100, latent_frames = 2, batch = 4}}]
"""
FILMS = ["--set", 'videos={prompts=["a critter waits", "a critter hops"], every=2, steps=2}']


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips") / "cache"


@pytest.fixture
def folder(tiny_base, cache, tmp_path, monkeypatch) -> Path:
    """Where the command line runs, with a recipe in it; clips are encoded once for all tests."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(RECIPE.format(base=tiny_base, cache=cache))
    return tmp_path


@pytest.fixture
def encoded_clips(folder) -> None:
    """The clips that the recipe names."""
    for _ in read_recipe(folder / "tiny.toml").prepare():
        pass


def losses(run: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / "logs"), size_guidance={"scalars": 0})
    events.Reload()
    return [(scalar.step, scalar.value) for scalar in events.Scalars("train/loss")]


def test_a_run_leaves_all_that_is_needed_to_repeat_it(refilm, folder, tiny_base):
    result = refilm("train", "tiny.toml", "--set", "diffusion.seed=7", *FILMS)
    assert result.exit_code == 0, result.output
    assert "reference attention trains: " in result.stdout
    assert "transformer is frozen: " in result.stdout
    run = folder / "runs" / "tiny"
    record = json.loads((run / "run.json").read_text())
    assert record["seed"] == 7
    assert record["base"]["source"] == str(tiny_base)
    assert record["data"]["train"]["clips"] == 8
    assert record["result"] == "adapter"
    (part,) = record["parts"]
    assert part["end"] == "finished"
    assert (part["from_step"], part["to_step"]) == (0, 6)
    assert part["versions"]["torch"] == torch.__version__
    assert [told["step"] for told in record["validations"]] == [2, 4, 6]
    assert "reference" in record["validations"][0]["words"]
    videos = sorted(path.name for path in (run / "videos").iterdir())
    assert videos == [f"step-{step:08}-{number}.mp4" for step in (4, 6) for number in (1, 2)]
    assert open_video(run / "videos" / videos[0]).frames.shape[0] == 5  # 2 latent frames, as the clips of the lesson

    card = (folder / "adapter" / "README.md").read_text()
    last = record["validations"][-1]["scores"]
    assert f"| right image | {last['right']:.4f} |" in card
    assert "| training clips | 8 |" in card
    assert "| training samples | 24 |" in card

    again = record["recipe"]
    again["out"] = "again"
    (folder / "again.toml").write_text(recipe_of(again).to_toml())
    repeated = refilm("train", "again.toml")
    assert repeated.exit_code == 0, repeated.output
    assert losses(folder / "runs" / "again") == losses(run)
    weights = "adapter.safetensors"
    assert (folder / "again" / weights).read_bytes() == (folder / "adapter" / weights).read_bytes()


def test_videos_and_validations_leave_the_run_as_it_is(refilm, folder, fox):
    videos = f'videos={{prompts=["a critter waits", "a critter hops"], references=["{fox}"], steps=2}}'
    assert refilm("train", "tiny.toml", "--set", videos).exit_code == 0
    assert len(list((folder / "runs" / "tiny" / "videos").iterdir())) == 6
    rare = ["--set", "loop.validate_every=100", "--run", "runs/rare"]
    assert refilm("train", "tiny.toml", *rare).exit_code == 0
    assert losses(folder / "runs" / "rare") == losses(folder / "runs" / "tiny")


def test_a_video_that_is_not_finite_is_reported_and_not_written_and_the_run_continues(refilm, folder, tiny_base):
    shutil.copytree(tiny_base, "overflowing", ignore=shutil.ignore_patterns("adapter"))
    (weights,) = Path("overflowing/vae").glob("*.safetensors")
    tensors = load_file(weights)
    tensors["decoder.conv_out.conv.weight"].fill_(3e38)  # no clip is decoded, only videos are
    save_file(tensors, weights, {"format": "pt"})
    result = refilm("train", "tiny.toml", "--set", "base=overflowing", "--set", "data.cache=own", *FILMS)
    assert result.exit_code == 0, result.output
    assert "videos: the autoencoder gave NaN or infinity" in result.stdout
    record = json.loads((folder / "runs" / "tiny" / "run.json").read_text())
    assert ["videos: " in told["words"] for told in record["validations"]] == [False, True, True]
    assert not list((folder / "runs" / "tiny").glob("videos/*"))


def test_videos_need_a_image_each_or_one_for_all(refilm, folder, fox):
    videos = f'videos={{prompts=["a", "b", "c"], references=["{fox}", "{fox}"]}}'
    result = refilm("train", "tiny.toml", "--set", videos)
    assert result.exit_code == 2
    assert "videos.references: 2 images for 3 prompts; give one per prompt, one for all, or none" in result.stderr


def test_a_run_whose_image_stays_unused_ends_itself_and_can_go_on(refilm, folder):
    weak = [
        "--set",
        "loop.optimizer={learning_rate=1e-12, muon_learning_rate=1e-12}",
        "--set",
        "diffusion.validation.stop_if_unused=2",
    ]
    result = refilm("train", "tiny.toml", *weak)
    assert result.exit_code == 3
    assert "the right and a wrong reference give the same loss" in result.stderr
    assert "the reference is not used" in result.stderr
    assert "step 4 is saved; continue with: refilm train tiny.toml --run runs/tiny" in result.stderr
    run = folder / "runs" / "tiny"
    assert "stopped after step 4" in json.loads((run / "run.json").read_text())["parts"][0]["end"]
    assert not (folder / "adapter").exists()
    go_on = [*weak, "--set", "diffusion.validation.stop_if_unused=0", "--resume"]
    assert refilm("train", "tiny.toml", *go_on).exit_code == 0
    parts = json.loads((run / "run.json").read_text())["parts"]
    assert [(part["from_step"], part["to_step"]) for part in parts] == [(0, 4), (4, 6)]
    assert [step for step, _ in losses(run)] == [1, 2, 3, 4, 5, 6]


def test_a_signal_before_the_first_step_leaves_with_its_code_and_keeps_what_is_encoded(
    refilm, folder, tmp_path, monkeypatch
):
    words = ["train", "tiny.toml", "--set", f"data.cache={tmp_path / 'own'}", "--set", "loop.steps=1"]
    told = []

    def asked_at_once(course: LineDisplay, progress: EncodeProgress) -> None:
        told.append(progress)
        if len(told) == 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(LineDisplay, "encoded", asked_at_once)
    result = refilm(*words)
    assert result.exit_code == 75
    assert "stopped; no step is saved yet; start again with: refilm train tiny.toml" in result.stderr
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # children of this process would ignore it too
    assert len(told) == 1
    assert refilm(*words).exit_code == 0
    assert told[1] != told[0]  # which would come again if it had not been kept


def test_a_dry_run_prints_the_size_of_the_run_and_writes_nothing(refilm, folder):
    def tree() -> dict[Path, tuple[int, int]]:
        found = [path for place in (folder, read_recipe(folder / "tiny.toml").data.cache) for path in place.rglob("*")]
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before = tree()
    fresh = ["--set", f"data.cache={folder / 'fresh'}"]
    early = refilm("train", "tiny.toml", "--dry-run", *fresh)
    assert early.exit_code == 0, early.output
    assert tree() == before
    assert "stage adapter, 6 steps, 24 samples\n" in early.stdout
    assert "\nclips are not encoded yet" in early.stdout
    note = "note: query_norm = true: this adapter cannot be converted to SAT; set query_norm = false if you need that"
    assert note in early.stdout
    assert "note:" not in refilm("train", "tiny.toml", "--dry-run", *fresh, "--set", "query_norm=false").stdout
    real = refilm("train", "tiny.toml")
    assert real.exit_code == 0, real.output
    assert note in real.stdout
    before = tree()
    told = refilm("train", "tiny.toml", "--dry-run", "--run", "other", "--set", "loop.steps=12")
    assert told.exit_code == 0, told.output
    assert tree() == before
    assert "stage adapter, 12 steps, 48 samples" in told.stdout
    assert "8 training clips, each used 6.0 times; 4 validation clips" in told.stdout
    assert "8 of 5 x 8 x 8 latents" in told.stdout
    assert "reference attention" in told.stdout
    assert "in total" in told.stdout


def test_a_dry_run_fetches_nothing(refilm, folder, encoded_clips):
    result = refilm("train", "tiny.toml", "--dry-run", "--set", "base=nobody/has-this")
    assert result.exit_code == 2
    assert "nobody/has-this: is not in the Hub's cache, and a dry run downloads nothing" in result.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loop.precision": "bf16", "train.base_dtype": "bf16", "diffusion.checkpointing": "full"},
        {"loop.precision": "bf16", "train.base_dtype": "int8", "diffusion.checkpointing": "selective"},
        {"train.what": "all", "loop.accumulate": 2},
        {"train.lora": {"rank": 2}},
        {"diffusion.subjects.most": 2, "diffusion.subjects.masks": 0.5},
    ],
)
def test_a_plan_counts_what_a_model_with_weights_holds_and_keeps(folder, encoded_clips, changes):
    recipe, plan = (
        read_recipe(folder / "tiny.toml", changes),
        dry_run_of(read_recipe(folder / "tiny.toml", changes), folder / "run"),
    )
    task = recipe.task()
    assert plan.trained == task.trained(recipe.loop.optimizer)
    kept = saved_bytes(task, recipe.loop, recipe.diffusion.curriculum[0])
    assert 0 < plan.activations < kept if recipe.train.lora else plan.activations == kept > 0


def test_a_plan_counts_what_selective_checkpointing_keeps(folder, encoded_clips):
    full, selective = (
        dry_run_of(read_recipe(folder / "tiny.toml", {"diffusion.checkpointing": mode}), folder / "run")
        for mode in ("full", "selective")
    )
    width, blocks, tokens = 2 * 64, 2, 24 + 2 * 4 * 4
    assert selective.activations - full.activations == 4 * 4 * tokens * width * blocks  # clips of float32


def test_a_dry_run_leaves_real_position_tables(folder, encoded_clips, monkeypatch):
    """The model keeps them: a run after a dry run in the same process reads them."""
    made, table = [], position.sincos_table
    table.cache_clear()
    monkeypatch.setattr(position, "sincos_table", lambda *given: made.append(table(*given)) or made[-1])
    dry_run_of(read_recipe(folder / "tiny.toml"), folder / "run")
    assert made
    assert not any(isinstance(tensor, FakeTensor) for tensor in made)


def test_a_run_record_drops_what_came_after_the_resumed_step(tmp_path):
    def record(step: int) -> RunRecord:
        return RunRecord(tmp_path, {"stage": "adapter"}, sources={}, processes=1, step=step)

    first = record(0)
    for step in (2, 4, 6):
        first.validated(Progress(step, 10, 0.5, 1.0, scores={"right": step / 10, "gap": float("nan")}))
    second = record(4)
    second.ended(4, "stopped")
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["id"] == first.content["id"]
    assert [validation["scores"] for validation in told["validations"]] == [{"right": 0.2}, {"right": 0.4}]
    assert [part["from_step"] for part in told["parts"]] == [0, 4]


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (17, 64, 64)),
        ({"frames": 9}, (9, 64, 64)),
        ({"height": 32, "width": 96}, (17, 32, 96)),
    ],
)
def test_videos_are_of_the_size_that_is_learned_unless_one_is_set(settings, shape):
    found = geometry(SampleVideoSettings(**settings), (5, 8, 8), Compression())
    assert (found["frames"], found["height"], found["width"]) == shape


def test_a_run_videos_what_it_learns_and_not_what_its_base_makes(refilm, folder, tmp_path):
    """The base makes videos of 17 x 32 x 32."""
    changes = ["--set", "data.encode={height=48, width=64, frames=9}", "--set", f"data.cache={tmp_path / 'other'}"]
    changes += ["--set", "diffusion.curriculum=[{until=9, batch=4}]", "--set", "loop.steps=2"]
    result = refilm("train", "tiny.toml", *changes, "--set", 'videos={prompts=["a critter waits"], steps=1}')
    assert result.exit_code == 0, result.output
    (video,) = (folder / "runs" / "tiny" / "videos").iterdir()
    assert len(open_video(video).frames) == 9
    assert open_video(video).frames.shape[1:3] == (6 * 48, 6 * 64)  # small videos are saved larger


def test_videos_that_the_model_cannot_make_are_refused_before_the_first_step(refilm, folder):
    result = refilm("train", "tiny.toml", "--set", 'videos={prompts=["a critter waits"], frames=10}')
    assert result.exit_code == 2
    assert "10 frames: the number must be 4k + 1, for instance 9 or 13" in result.stderr
    assert "step 1 of" not in result.stdout
