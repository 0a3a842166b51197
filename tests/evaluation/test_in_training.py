"""`[evaluate]` in a recipe: a suite is scored at validations, and the training is the same as without it."""

import json
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from refilm.errors import NotFiniteError, UserError
from refilm.evaluation import in_training, metrics, suites
from refilm.evaluation.in_training import unchanged_rng
from refilm.evaluation.result import Result
from refilm.files import read_json
from refilm.recipes import read_recipe, recipe_of
from refilm.training.engine.loop import Progress
from refilm.training.monitor.sampler import TrainingSampler
from refilm.training.run import train

from .suite import Brightness, Grays

RECIPE = """
stage = "adapter"
base = "{base}"
out = "adapter"
data = {{cache = "{cache}", clips = 8, held_out_clips = 4}}
loop = {{steps = 6, save_every = 3, validate_every = 2, precision = "fp32", optimizer = {{ema = 0.5, warm_up = 1}}}}
diffusion = {{validation = {{samples = 8}}, curriculum = [{{until = 100, latent_frames = 2, batch = 4}}]}}
"""
EVALUATE = {"suite": "grays", "limit": 2, "steps": 1, "controls": ["right", "none", "scale0"]}


class Few(Grays):
    """Three prompts; the metric uses all global random number generators."""

    metrics = ("noisy", "depth")

    def __init__(self, data: Path | None = None):
        super().__init__(3)


class Noisy(Brightness):
    def __init__(self, device: str = "cpu"):
        super().__init__(device)
        torch.rand(3), np.random.rand(), random.random()


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("clips") / "cache"


@pytest.fixture
def recipe(tiny_base, cache, tmp_path, monkeypatch, grays) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(suites.SUITES, "grays", f"{__name__}:Few")
    monkeypatch.setitem(metrics.METRICS, "noisy", f"{__name__}.Noisy")
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(base=tiny_base, cache=cache))
    return path


def run(recipe: Path, folder: str, *, resume: bool = False, **evaluate) -> dict[int, float]:
    """The losses of a run by step; with `evaluate`, a suite is scored."""
    changes = {"out": f"{folder}-adapter"} | ({"evaluate": evaluate} if evaluate else {})
    events = train(read_recipe(recipe, changes), Path(folder), resume=resume)
    return {event.step: event.loss for event in events if isinstance(event, Progress)}


def results(folder: str) -> dict[str, Result]:
    paths = sorted(Path(folder, "evaluation").glob("step-*/result.json"))
    return {path.parent.name: Result.from_values(read_json(path)) for path in paths}


def test_a_suite_is_scored_and_the_training_is_the_same(recipe, caplog):
    assert run(recipe, "with", **EVALUATE) == run(recipe, "without")
    weights = [Path(f"{folder}-adapter", "adapter.safetensors").read_bytes() for folder in ("with", "without")]
    assert weights[0] == weights[1]
    assert not caplog.records

    found = results("with")
    assert list(found) == ["step-00000002", "step-00000004", "step-00000006"]
    last = found["step-00000006"]
    assert [video.case for video in last.videos] == [
        f"{number}-{control}" for number in ("00", "01") for control in ("right", "none", "scale0")
    ]
    assert all(video.error is None for video in last.videos)
    hashes = {video.case: video.sha256 for video in last.videos}
    assert hashes["00-none"] == hashes["00-scale0"] != hashes["00-right"]
    assert last.source.details["step"] == 6
    assert "depth" in last.metrics

    record = json.loads(Path("with/run.json").read_text())
    scores = record["validations"][-1]["scores"]
    mean = np.mean([video.scores["brightness"] for video in last.videos if video.control == "right"])
    assert scores["evaluate/brightness/right"] == pytest.approx(mean)
    assert scores["evaluate/failed/none"] == 0
    card = Path("with-adapter/README.md").read_text()
    assert "## Evaluation" in card
    assert "The suite `grays`, version 1 after step 6" in card
    assert f"| brightness ↑ | {mean:.3f} |" in card
    assert "- depth is absent: its encoder is not installed; install it" in card
    assert "- 6 videos are gray" in card
    assert "## Evaluation" not in Path("without-adapter/README.md").read_text()


def test_a_run_that_is_killed_during_an_evaluation_ends_like_one_that_was_not(recipe, monkeypatch):
    whole = run(recipe, "whole", **EVALUATE)
    scored = Noisy.score

    def killed(self, sample):
        if len(results("broken")) == 1 and len(list(Path("broken/evaluation").glob("step-00000004/videos/*"))) == 3:
            raise KeyboardInterrupt
        return scored(self, sample)

    with monkeypatch.context() as patched:
        patched.setattr(Noisy, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, "broken", **EVALUATE)
    assert list(results("broken")) == ["step-00000002"]
    losses = run(recipe, "broken", resume=True, **EVALUATE)
    assert losses == {step: whole[step] for step in losses}
    assert results("broken").keys() == results("whole").keys()
    for name, one in results("broken").items():
        assert [video.sha256 for video in one.videos] == [video.sha256 for video in results("whole")[name].videos]


def test_results_of_steps_that_are_trained_again_are_removed(recipe):
    run(recipe, "run", **EVALUATE)
    evaluation = in_training.SuiteEvaluation(Few(), [], None, Path("run/evaluation"), every=1, metrics=(), details={})
    assert evaluation.facts()["evaluation"]["step"] == 6
    evaluation.remove_later(3)
    assert list(results("run")) == ["step-00000002"]
    assert evaluation.facts()["evaluation"]["step"] == 2
    assert Path("run/evaluation/subjects").is_dir()


def test_videos_that_are_not_finite_count_as_failed(recipe, monkeypatch):
    def diverged(*_, **__):
        raise NotFiniteError("the transformer's output is not finite")

    monkeypatch.setattr(TrainingSampler, "latents", diverged)
    run(recipe, "run", **EVALUATE, every=9)
    (last,) = results("run").values()
    assert {video.error for video in last.videos} == {"the transformer's output is not finite"}
    scores = json.loads(Path("run/run.json").read_text())["validations"][-1]["scores"]
    assert scores["evaluate/failed/right"] == 1


def test_videos_that_a_metric_cannot_score_are_reported_once_and_in_the_card(recipe, monkeypatch, caplog):
    def refused(*_):
        raise UserError("5 frames are too few")

    monkeypatch.setattr(Noisy, "score", refused)
    run(recipe, "run", **EVALUATE)
    expected = "noisy could not score 6 of 6 videos; the first: 00-right: 5 frames are too few"
    assert [record.getMessage() for record in caplog.records] == [f"step 2: {expected}"]
    assert f"- {expected}" in Path("run-adapter/README.md").read_text()


def test_an_evaluation_that_cannot_be_written_is_reported_once_and_the_run_continues(recipe, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device", "result.json")

    monkeypatch.setattr(in_training, "write_result", full)
    assert list(run(recipe, "run", **EVALUATE)) == [1, 2, 3, 4, 5, 6]
    (warning,) = caplog.records
    assert "result.json: No space left on device; the run continues without the scores of its suite" in warning.message
    assert "## Evaluation" not in Path("run-adapter/README.md").read_text()


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"suite": "critter"}, "critter: neither a suite nor a folder; did you mean critters"),
        ({"suite": "dreambooth-video", "data": "nowhere"}, "nowhere/prompts_and_classes.txt: no such file"),
    ],
)
def test_a_suite_that_cannot_be_read_is_an_error_before_anything_is_written(recipe, evaluate, message):
    with pytest.raises(UserError, match=message):
        run(recipe, "run", **evaluate)
    assert not Path("run").exists()


def test_a_suite_without_a_metric_that_runs_here_is_an_error_before_the_first_step(recipe, monkeypatch):
    monkeypatch.setattr(Few, "metrics", ("depth",))
    with pytest.raises(UserError, match="none of its metrics can run here: depth: its encoder is not installed"):
        run(recipe, "run", **EVALUATE)


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [({"data": "x"}, "data: belongs to a suite"), ({"suite": "x", "controls": ["none"]}, "right is what is evaluated")],
)
def test_settings_that_make_no_sense_are_refused(recipe, evaluate, message):
    values = read_recipe(recipe).to_values()
    with pytest.raises(UserError, match=message):
        recipe_of({**values, "evaluate": evaluate})


def test_random_numbers_continue_as_before():
    def numbers() -> tuple:
        return torch.rand(1).item(), np.random.rand(), random.random()

    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = numbers()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    with suppress(ZeroDivisionError), unchanged_rng():
        numbers()
        raise ZeroDivisionError
    assert numbers() == expected
