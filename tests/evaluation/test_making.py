"""Videos of a suite from a model: what is asked for, what is kept, and what failed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.evaluation.answer import Answer
from refilm.evaluation.case import Case
from refilm.evaluation.making import Model, model_identity
from refilm.evaluation.suites.controls import in_all_controls
from refilm.generation import load
from refilm.generation.recipe import read_video_recipe
from refilm.jobs import Progress

SETTINGS = {"steps": 1, "frames": 1}
PROMPT = "../../a critter waits"


@pytest.fixture(scope="module")
def pipeline(tiny_base):
    return load(tiny_base)


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    images = [tmp_path / "subjects" / f"{number}.png" for number in range(2)]
    images[0].parent.mkdir()
    for number, path in enumerate(images):
        Image.fromarray(np.random.default_rng(number).integers(256, size=(32, 32, 3), dtype=np.uint8)).save(path)
    return list(in_all_controls(Case("a", PROMPT, (images[0],), seed=7), (images[1],)))


def made(pipeline, cases, out: Path, **options) -> tuple[Model, list[Answer], int]:
    """The source, its answers, and the number of sampler steps that it took."""
    source = Model(lambda: pipeline, {"base": "tiny"}, options.pop("settings", SETTINGS), **options)
    events = list(source.answers(cases, out))
    answers = [event for event in events if isinstance(event, Answer)]
    return source, answers, sum(isinstance(event, Progress) for event in events)


def test_each_control_has_its_reference_and_the_same_seed(pipeline, cases, tmp_path):
    out = tmp_path / "videos"
    source, answers, _ = made(pipeline, cases, out)
    assert [answer.case.name for answer in answers] == ["a-right", "a-wrong", "a-none", "a-scale0"]
    recipes = {answer.case.control: read_video_recipe(answer.file) for answer in answers}
    assert {(recipe.prompt, recipe.seed) for recipe in recipes.values()} == {(PROMPT, 7)}
    images = {control: [Path(one.path).name for s in r.subjects for one in s.images] for control, r in recipes.items()}
    assert images == {"right": ["0.png"], "wrong": ["1.png"], "none": [], "scale0": ["0.png"]}
    paths = [file.path for recipe in recipes.values() for one in recipe.subjects for file in one.images]
    assert paths == ["../subjects/0.png", "../subjects/1.png", "../subjects/0.png"], "a page contains no path of mine"
    scales = {control: recipe.settings.reference_scale for control, recipe in recipes.items()}
    assert scales == {"right": 1.0, "wrong": 1.0, "none": 1.0, "scale0": 0.0}
    files = {answer.case.control: answer.file.read_bytes() for answer in answers}
    assert files["right"] != files["wrong"]
    details = source.record().details
    assert details["steps"] == 1
    assert details["base_fingerprint"] == pipeline.base.fingerprint()
    assert details["image_encoder"] == f"{pipeline.base.name}/image_encoder"
    assert "reference_scale" not in details
    assert sorted(path.name for path in tmp_path.iterdir()) == ["subjects", "videos"]  # nothing outside


def test_a_second_call_makes_nothing_also_in_another_place(pipeline, cases, tmp_path):
    made(pipeline, cases, tmp_path / "videos")
    assert made(None, cases, tmp_path / "videos")[2] == 0
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "subjects", moved / "subjects")
    shutil.copytree(tmp_path / "videos", moved / "videos")
    there = [Case(c.name, c.prompt, _at(moved, c.subject), _at(moved, c.reference), c.control, seed=7) for c in cases]
    source, answers, steps = made(None, there, moved / "videos")
    assert steps == 0
    assert all(answer.file.is_file() for answer in answers)
    assert source.record().details["image_encoder"] == f"{pipeline.base.name}/image_encoder"


def _at(folder: Path, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(folder / "subjects" / path.name for path in paths)


def test_another_seed_or_model_makes_the_videos_again(pipeline, cases, tmp_path):
    right = cases[:1]
    made(pipeline, right, tmp_path / "videos")
    _, (answer,), steps = made(pipeline, right, tmp_path / "videos", seed=100)
    assert steps == 1
    assert read_video_recipe(answer.file).seed == 107
    assert made(pipeline, right, tmp_path / "videos", settings={**SETTINGS, "steps": 2})[2] == 2


def test_a_row_that_fails_is_an_answer(pipeline, cases, tmp_path):
    cases[0].reference[0].write_bytes(b"no image")
    _, answers, _ = made(pipeline, cases, tmp_path / "videos", claim=True)
    errors = {answer.case.control: answer.error for answer in answers}
    assert errors["wrong"] is None
    assert errors["none"] is None
    for control in ("right", "scale0"):
        assert errors[control].startswith(f"a-{control}: ")
        assert "0.png" in errors[control]


def test_an_invalid_setting_fails_every_case(pipeline, cases, tmp_path):
    _, answers, _ = made(pipeline, cases, tmp_path / "videos", settings={"steps": 0})
    assert all("steps" in answer.error for answer in answers)


def test_an_adapter_that_was_trained_again_is_another_model(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter.safetensors").write_bytes(b"1")
    first = model_identity("pocket", str(adapter), dtype=None)
    assert first == model_identity("pocket", str(adapter))
    (adapter / "adapter.safetensors").write_bytes(b"2")
    assert model_identity("pocket", str(adapter)) != first
    base = tmp_path / "base"
    (base / "vae").mkdir(parents=True)
    (base / "vae" / "config.json").write_text("1")
    before = model_identity(str(base), "default")
    assert before == model_identity(str(base), "default")
    (base / "vae" / "config.json").write_text("22")
    assert model_identity(str(base), "default") != before
    assert model_identity("pocket", "default") == {"base": "pocket", "adapter": "default"}
