"""Videos that remember: recipes, runs made again, and states of runs."""

import errno
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import refilm
from refilm import Subject
from refilm.control import save_subject
from refilm.data import critters
from refilm.errors import UserError
from refilm.generation.recipe import VideoRecipe, read_video_recipe, recipe_path, save_with_recipe
from refilm.generation.rerun import load_for, sampling_of
from refilm.generation.states import load_state, save_state

PROMPT = "a critter bounces in the meadow"


@pytest.fixture(scope="module")
def pipeline(tiny_base):
    return refilm.load(tiny_base)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, one in enumerate(critters.subjects("held_out")[:3]):
        Image.fromarray(critters.portrait(one, np.random.default_rng(0))).save(folder / f"{number}.png")
    mask = np.pad(np.full((64, 32), 255, np.uint8), ((0, 0), (0, 32)))
    Image.fromarray(mask).save(folder / "mask.png")
    refilm.Video(np.repeat(np.repeat(mask[None, ..., None], 17, 0), 3, -1), 8).save(folder / "mask.gif", scale=1)
    return folder


def two(files):
    return [
        Subject(
            files / "0.png", files / "1.png", name="fox", weights=(2.0, 1.0), mask=files / "mask.gif", frames="0..1"
        ),
        Subject(files / "2.png", name="ball", image_masks=files / "mask.png", words="critter", steps="2-3", scale=0.5),
    ]


RUNS = {
    "plain": ({}, {}),
    "no reference": ({"reference": None}, {}),
    "two subjects": ({"reference": two}, {"binding": "joint"}),
    "negative": ({"negative_reference": lambda files: [files / "1.png"]}, {"negative_prompt": "rain"}),
    "guidance": ({}, {"reference_guidance": 2.0, "guidance_steps": (2, 3), "guidance_schedule": "rising"}),
    "momentum": ({}, {"guidance_form": "projected", "guidance_momentum": -0.5, "guidance_norm": 2.0}),
    "windows": ({"reference": two}, {"frames": 33, "window": 17, "step_cache": 0.3}),
    "ddim": ({}, {"sampler": "ddim", "step_cache": 0.5}),
    "unipc": ({"reference": two}, {"sampler": "unipc"}),
    "sat": ({}, {"sampler": "sat"}),
}


def given(files, name):
    who, settings = RUNS[name]
    who = {"reference": lambda files: files / "0.png", "negative_reference": None} | who
    return {key: value(files) if callable(value) else value for key, value in who.items()}, {
        "steps": 4,
        "guidance": 3.0,
        **settings,
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_video_is_made_again_from_its_metadata_and_from_its_json(pipeline, files, name, tmp_path):
    who, settings = given(files, name)
    video = pipeline.generate(PROMPT, seed=7, **who, **settings)
    recipe = VideoRecipe.of_video(video)
    save_with_recipe(video, recipe, tmp_path / "fox.mp4")
    for path in (tmp_path / "fox.mp4", recipe_path(tmp_path / "fox.mp4")):
        read = read_video_recipe(path)
        assert read == recipe
        (again,) = pipeline.finish(sampling_of(pipeline, [read]))
        assert np.array_equal(again.frames, video.frames)
        assert VideoRecipe.of_video(again).made.passes == recipe.made.passes


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_from_any_step(pipeline, files, name, tmp_path):
    who, settings = given(files, name)
    request = pipeline.request(**settings)
    given_run = {"seeds": [7], "request": request, "negative_reference": who["negative_reference"]}
    whole = pipeline.sample([PROMPT], [who["reference"]], **given_run)
    paths = [save_state(whole, tmp_path / f"{step.index}.state") for step in whole]
    expected = whole.latents
    for path in paths:
        stored = load_state(path)
        run = sampling_of(pipeline, stored.recipes, state=stored.state)
        assert len([*run]) == request.steps - stored.state.step.index - 1
        assert torch.equal(run.latents, expected)
        assert run.passes == whole.passes


def test_a_step_that_is_interrupted_leaves_no_state(pipeline):
    def interrupted(predict, transformer):
        calls = iter(range(3))

        def wrapped(*given):
            if next(calls) == 1:
                raise KeyboardInterrupt
            return predict(*given)

        return wrapped

    request = pipeline.request(steps=3)
    run = pipeline.sample([PROMPT], [None], seeds=[1], request=request, wrap_prediction=interrupted)
    assert not run.resumable
    next(run)
    assert run.resumable
    with pytest.raises(KeyboardInterrupt):
        next(run)
    assert not run.resumable
    with pytest.raises(UserError, match="a step was interrupted in the middle"):
        run.state()


def test_a_batch_goes_on_from_a_step(pipeline, files, tmp_path):
    run = pipeline.sample([PROMPT] * 2, [files / "0.png", two(files)], seeds=[3, 4], request=pipeline.request(steps=3))
    next(run)
    path = save_state(run, tmp_path / "pair.state")
    expected = pipeline.finish(run)
    stored = load_state(path)
    for video, other in zip(
        pipeline.finish(sampling_of(pipeline, stored.recipes, state=stored.state)), expected, strict=True
    ):
        assert np.array_equal(video.frames, other.frames)
        assert VideoRecipe.of_video(video).made.batch == 2


def test_a_subject_file_is_recorded_by_its_content(pipeline, files, tmp_path):
    encoded = pipeline.encode_subject(Subject(files / "0.png", name="fox"))
    path = save_subject(encoded, tmp_path / "fox.subject")
    video = pipeline.generate(PROMPT, Subject(file=path), seed=1, steps=2)
    recipe = VideoRecipe.of_video(video)
    (tmp_path / "moved").mkdir()
    shutil.move(path, tmp_path / "moved" / "other.subject")
    with pytest.raises(UserError, match=r"fox\.subject: is not there; the video was made with the file of sha256"):
        sampling_of(pipeline, [recipe])
    (again,) = pipeline.finish(sampling_of(pipeline, [recipe], references=[tmp_path]))
    assert np.array_equal(again.frames, video.frames)


def test_images_are_found_by_their_content(pipeline, files, tmp_path):
    image = tmp_path / "fox.png"
    shutil.copy(files / "0.png", image)
    video = pipeline.generate(PROMPT, image, seed=1, steps=2)
    recipe = VideoRecipe.of_video(video)
    shutil.copy(files / "1.png", image)
    with pytest.raises(
        UserError, match=r"fox\.png: has changed; the video was made with the image of sha256 [0-9a-f]{64}"
    ):
        sampling_of(pipeline, [recipe])
    folder = tmp_path / "elsewhere" / "deep"
    folder.mkdir(parents=True)
    (folder / "broken.png").write_bytes(b"no image")
    shutil.copy(files / "1.png", folder / "fox.png")  # the name alone is not enough
    Image.open(files / "0.png").save(folder / "renamed.bmp")  # the same pixels in another format
    (again,) = pipeline.finish(sampling_of(pipeline, [recipe], references=[tmp_path / "elsewhere"]))
    assert np.array_equal(again.frames, video.frames)


def test_an_image_in_memory_is_recorded_by_its_content(pipeline, files):
    image = np.asarray(Image.open(files / "0.png"))
    recipe = VideoRecipe.of_video(pipeline.generate(PROMPT, image, seed=1, steps=1))
    with pytest.raises(UserError, match="image: is not there"):
        sampling_of(pipeline, [recipe])
    sampling_of(pipeline, [recipe], references=[files])


def test_one_thing_is_changed(pipeline, files):
    recipe = VideoRecipe.of_video(pipeline.generate(PROMPT, two(files), seed=1, steps=3))
    other = recipe.changed(
        {"prompt": "a critter in the rain", "seed": 2, "steps": 4, "fox.scale": 0.5, "ball.steps": "1"}
    )
    assert (other.prompt, other.seed, other.settings.steps) == ("a critter in the rain", 2, 4)
    assert [one.scale for one in other.subjects] == [0.5, 0.5]
    assert other.subjects[1].steps == "1"
    assert recipe.changed({}) == recipe
    for change, message in (
        ({"stepss": 3}, "stepss: unknown; did you mean steps?"),
        ({"steps": "x"}, "^steps: "),
    ):
        with pytest.raises(UserError, match=message):
            recipe.changed(change)


def test_another_model_is_refused(pipeline, files, tiny_base):
    recipe = VideoRecipe.of_video(pipeline.generate(PROMPT, files / "0.png", seed=1, steps=1))
    assert load_for(recipe).base.name == str(tiny_base)
    with pytest.raises(UserError, match=r"pocket: is another base model .*; give that with --base"):
        load_for(recipe, base="pocket", adapter="default")
    assert recipe.adapter is not None
    other = recipe.model_copy(update={"adapter": recipe.adapter.model_copy(update={"fingerprint": "0" * 16})})
    with pytest.raises(UserError, match=r"is another adapter .*; give that with --adapter"):
        load_for(other)


def test_embeddings_have_no_recipe(pipeline, tmp_path):
    text = pipeline.base.encoders.text([PROMPT])
    (video,) = pipeline.generate_batch(text, [None], seeds=[1], steps=1)
    assert video.note is None
    with pytest.raises(UserError, match="has no recipe"):
        VideoRecipe.of_video(video)
    run = pipeline.sample(text, [None], seeds=[1], request=pipeline.request(steps=2))
    with pytest.raises(UserError, match="has not done a step yet"):
        run.state()
    with pytest.raises(UserError, match="a run from embeddings has no recipe"):
        save_state(run, tmp_path / "x.state")


@pytest.fixture(scope="module")
def state(pipeline, files, tmp_path_factory):
    run = pipeline.sample([PROMPT], [files / "0.png"], seeds=[1], request=pipeline.request(steps=2))
    next(run)
    return save_state(run, tmp_path_factory.mktemp("state") / "fox.state")


@pytest.mark.parametrize(
    ("about", "tensors", "message"),
    [
        (None, {}, "not a state file"),
        ({"format": 9}, {}, "a state file of version 9, this refilm reads up to 1; update refilm"),
        ({"recipes": []}, {}, "its description is damaged: recipes"),
        ({"index": "1"}, {}, "its description is damaged: index"),
        ({}, {"latents": None}, "has no latents; generate the video again"),
        ({}, {"generator.0": None}, "its tensors do not fit each other"),
        ({"index": 2}, {}, "its tensors do not fit each other"),
        ({}, {"earlier.0": torch.zeros(1, 2)}, "its tensors do not fit each other"),
        ({}, {"clean": torch.zeros(1, 5, 4, 8, 8, dtype=torch.int32)}, "its tensors do not fit each other"),
        ({}, {"clean": torch.zeros(1, 2)}, "its tensors do not fit each other"),
        ({}, {"clean": torch.full((1, 2), torch.nan)}, "clean contains NaN or infinity"),
    ],
)
def test_damaged_states_are_refused(state, tmp_path, about, tensors, message):
    with safe_open(state, framework="pt") as file:
        kept = {key: file.get_tensor(key) for key in file.keys()} | tensors  # noqa: SIM118
        card = json.loads(file.metadata()["refilm_state"])
    path = tmp_path / "bad.state"
    metadata = None if about is None else {"refilm_state": json.dumps(card | about)}
    save_file({key: tensor for key, tensor in kept.items() if tensor is not None}, path, metadata=metadata)
    with pytest.raises(UserError, match=f"bad.state: {message}"):
        load_state(path)


@pytest.mark.parametrize(
    "generator", [torch.zeros(100, dtype=torch.uint8), torch.zeros(5056), torch.full((5056,), 255, dtype=torch.uint8)]
)
def test_a_state_that_was_edited_is_refused(pipeline, state, generator):
    stored = load_state(state)
    with pytest.raises(UserError, match="the state does not fit these settings"):
        sampling_of(pipeline, stored.recipes, state=replace(stored.state, generators=(generator,)))
    recipe = stored.recipes[0].changed({"step_cache": 0.1})
    with pytest.raises(UserError, match="the state does not fit these settings"):
        sampling_of(pipeline, [recipe], state=stored.state)


def test_a_state_of_other_settings_is_refused(pipeline, state):
    stored = load_state(state)
    recipe = stored.recipes[0].changed({"steps": 5})
    with pytest.raises(UserError, match="the state is of 1 videos in 2 steps, these settings are for 1 in 5"):
        sampling_of(pipeline, [recipe], state=stored.state)
    shape = replace(stored.state, step=replace(stored.state.step, latents=stored.state.step.latents[:, :, :2]))
    with pytest.raises(UserError, match="the state has latents of"):
        sampling_of(pipeline, stored.recipes, state=shape)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "fox.json: not the recipe of a video"),
        ("[1]", "fox.json: not the recipe of a video"),
        ('{"settings": 3}', "fox.json: prompt: "),
        ('{"format": 2, "settings": {}}', "fox.json: a recipe of version 2, this refilm reads up to 1; update refilm"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, message):
    (tmp_path / "fox.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_video_recipe(tmp_path / "fox.json")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_comment_of_other_programs_does_not_hide_the_recipe_beside(pipeline, tmp_path, suffix):
    video = pipeline.generate(PROMPT, seed=1, steps=1)
    recipe = VideoRecipe.of_video(video)
    path = tmp_path / f"fox{suffix}"
    save_with_recipe(video, recipe, path)
    replace(video, note="made by hand").save(path)
    assert read_video_recipe(path) == recipe
    recipe_path(path).unlink()
    with pytest.raises(UserError, match=rf"fox\{suffix}: not the recipe of a video"):
        read_video_recipe(path)


def test_a_full_disk_leaves_a_video_with_its_own_recipe(pipeline, tmp_path, monkeypatch):
    video = pipeline.generate(PROMPT, seed=1, steps=1)
    recipe = VideoRecipe.of_video(video)
    save_with_recipe(video, recipe, tmp_path / "fox.mp4")

    def full(*given, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("refilm.media.writing.write_video", full)
    with pytest.raises(OSError, match="No space left"):
        save_with_recipe(video, recipe.changed({"seed": 2}), tmp_path / "fox.mp4")
    assert read_video_recipe(tmp_path / "fox.mp4.json") == recipe
    assert read_video_recipe(tmp_path / "fox.mp4") == recipe


def test_subjects_of_any_name_are_changed(pipeline, files):
    who = [Subject(files / f"{number}.png", name=name) for number, name in enumerate(("settings", "my-fox"))]
    recipe = VideoRecipe.of_video(pipeline.generate(PROMPT, who, seed=1, steps=1))
    changed = recipe.changed({"steps": 2, "settings.scale": 0.5, "my-fox.scale": 0.25})
    assert changed.settings.steps == 2
    assert [(one.scale, one.steps) for one in changed.subjects] == [(0.5, 1.0), (0.25, 1.0)]
    with pytest.raises(UserError, match=r"^my-fox\.scale: "):
        recipe.changed({"my-fox.scale": -1})
    with pytest.raises(UserError, match="nothing: unknown; give prompt, seed, a setting such as steps"):
        recipe.changed({"nothing": 1})


def test_a_video_without_metadata_has_the_recipe_beside_it(pipeline, tmp_path):
    video = pipeline.generate(PROMPT, seed=1, steps=1)
    recipe = VideoRecipe.of_video(video)
    save_with_recipe(video, recipe, tmp_path / "fox.gif")
    replace(video, note=None).save(tmp_path / "fox.gif")
    assert read_video_recipe(tmp_path / "fox.gif") == recipe
    recipe_path(tmp_path / "fox.gif").unlink()
    with pytest.raises(UserError, match=r"fox\.gif: contains no recipe, and there is no fox\.gif\.json"):
        read_video_recipe(tmp_path / "fox.gif")
