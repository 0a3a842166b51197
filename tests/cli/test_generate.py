"""`refilm generate` writes the video, and prints everything that is needed to reproduce it."""

import re

import numpy as np
import pytest
from PIL import Image

import refilm as library
from refilm.media import open_video

PROMPT = "a critter bounces in the meadow"


@pytest.fixture
def generate(refilm, tiny_base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> str:
        result = refilm("generate", PROMPT, "--base", tiny_base, "--steps", 2, *words)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_video_has_the_frames_and_the_size(generate, fox):
    said = generate("--reference", fox, "-o", "video.mp4", "--seed", 3)
    video = open_video("video.mp4")
    assert video.frames.shape == (17, 256, 256, 3)  # enlarged
    assert video.fps == 8
    assert said.startswith("video.mp4: 17 frames of 32 x 32 pixels, seed 3, ")
    generate("-o", "video.gif", "--frames", 9, "--size", "40x24", "--scale", 2, "--sampler", "ddim")
    assert open_video("video.gif").frames.shape == (9, 48, 80, 3)


def test_the_video_is_the_librarys(generate, fox, tiny_base):
    generate("--reference", fox, "-o", "video.png", "--seed", 3, "--reference-scale", 0.5, "--guidance", 2)
    video = library.load(tiny_base).generate(
        PROMPT, fox, seed=3, steps=2, reference_scale=0.5, guidance=2.0, guidance_schedule="constant"
    )
    frames = [np.asarray(Image.open(f"video-{number:03}.png")) for number in range(17)]
    assert np.array_equal(np.stack(frames), video.frames)


def test_prompt_and_reference_have_scales_of_their_own(generate, fox):
    def frames(name, *scales):
        generate("--reference", fox, "-o", f"{name}.png", "--seed", 3, "--guidance", 2, *scales)
        return np.stack([np.asarray(Image.open(f"{name}-{n:03}.png")) for n in range(17)]).astype(int)

    together = frames("together")
    assert np.abs(frames("same", "--reference-guidance", 2) - together).max() <= 1
    assert np.abs(frames("other", "--reference-guidance", 6) - together).max() > 8


def test_a_random_seed_is_printed_and_reproduces_the_video(generate):
    seed = re.search(r"seed (\d+),", generate("-o", "one.png", "--frames", 1))
    generate("-o", "two.png", "--frames", 1, "--seed", seed[1])
    generate("-o", "three.png", "--frames", 1)
    one, two, three = (np.asarray(Image.open(f"{name}-000.png")) for name in ("one", "two", "three"))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_every_setting_of_a_request_has_an_option_with_its_sentence(refilm, monkeypatch):
    from refilm.generation import Request

    monkeypatch.setenv("COLUMNS", "300")
    told = " ".join(refilm("generate", "--help").stdout.split())
    for name, field in Request.model_fields.items():
        if name not in ("height", "width"):  # one --size
            assert f"--{name.replace('_', '-')}" in told
            assert " ".join(field.description.split()) in told


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (("--guidance", 0, "--guidance-schedule", "rising"), True),  # rises from 1
        (("--guidance", 0, "--reference-guidance", 2), True),
        (("--step-cache", 10, "--explain-steps", "2-2"), False),  # the second step is skipped
    ],
)
def test_a_video_is_reported_before_it_is_explained(refilm, tiny_base, fox, tmp_path, settings, shown):
    words = ("generate", PROMPT, "--base", tiny_base, "--steps", 3, "--reference", fox, "-o", tmp_path / "video.mp4")
    result = refilm(*words, "--explain", *settings)
    assert re.match(r".*video\.mp4: 17 frames of 32 x 32 pixels, seed \d+, ", result.stdout.splitlines()[0])
    assert (result.exit_code == 0) == ("heat maps: " in result.stdout) == shown
    assert ("that the step cache does not skip" in result.stderr) == (not shown)


def test_explain_writes_heat_maps(generate, fox):
    said = generate("--reference", fox, "-o", "video.mp4", "--explain-steps", "2-2")
    assert said.splitlines()[1] == "heat maps: video.attention.mp4, video.attention.png"
    assert open_video("video.attention.mp4").frames.shape == (17, 256, 792, 3)
    assert Image.open("video.attention.png").mode == "RGB"


@pytest.mark.parametrize("binding", ["separate", "joint"])
@pytest.mark.parametrize("control", ["scale=0", "frames=0", "steps=2-2", "blocks=0"])
def test_subjects_that_are_not_read_have_no_heat_map(refilm, tiny_base, fox, tmp_path, binding, control):
    control, value = control.split("=")
    words = ("generate", PROMPT, "--base", tiny_base, "--steps", 2, "-o", tmp_path / "video.mp4", "--frames", 1)
    two = ("--subject", f"one={fox}", "--subject", f"two={fox}", f"--subject-{control}", f"one={value}")
    result = refilm(*words, *two, "--binding", binding, "--explain-steps", "1-1")
    assert result.exit_code == 0, result.output
    assert "note: one has strength 0 in the explained steps, so it has no heat map" in result.stderr
    assert {path.name for path in tmp_path.glob("video.*-*.png")} == {"video.two-1.attention.png"}
    assert Image.open(tmp_path / "video.subjects.png").mode == "RGB"
