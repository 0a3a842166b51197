"""Subjects on the command line: the same videos as in Python, from options, recipes and subject files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import refilm as library
from refilm import Subject

PROMPT = "a critter bounces in the meadow"


@pytest.fixture
def here(tmp_path, monkeypatch, fox):
    monkeypatch.chdir(tmp_path)
    image = Image.open(fox)
    image.save("fox.png")
    image.rotate(20).save("side.png")
    Image.fromarray(np.asarray(image)[..., ::-1].copy()).save("ball.png")
    Image.fromarray(np.pad(np.full((32, 16), 255, np.uint8), ((0, 0), (0, 16)))).save("left.png")
    return tmp_path


@pytest.fixture
def generate(refilm, tiny_base, here):
    def run(*words: object) -> np.ndarray:
        result = refilm("generate", *words, "--base", tiny_base, "-o", "video.png", "--seed", 3, "--steps", 2)
        assert result.exit_code == 0, result.output
        return np.stack([np.asarray(Image.open(f"video-{number:03}.png")) for number in range(17)])

    return run


def in_python(tiny_base, *subjects, **settings):
    return library.load(tiny_base).generate(PROMPT, list(subjects), seed=3, steps=2, **settings).frames


def test_controls_are_those_of_python(generate, tiny_base):
    made = generate(
        PROMPT, "--subject", "fox=fox.png,side.png", "--subject", "ball=ball.png",
        "--subject-mask", "fox=left.png", "--subject-scale", "ball=0.5", "--subject-frames", "ball=9-17",
        "--subject-steps", "fox=0.5..1", "--subject-blocks", "fox=1:1 2:0.5", "--subject-weights", "fox=2,1",
        "--subject-words", "fox=dragon,critter", "--binding", "joint", "--negative-reference", "side.png",
    )  # fmt: skip
    expected = in_python(
        tiny_base,
        Subject(
            name="fox", images=["fox.png", "side.png"], mask="left.png", steps="0.5..1", blocks="1:1 2:0.5",
            weights=[2.0, 1.0], words=["dragon", "critter"],
        ),
        Subject(name="ball", images="ball.png", scale=0.5, frames="9-17"),
        binding="joint",
        negative_reference="side.png",
    )  # fmt: skip
    assert np.array_equal(made, expected)


def test_repeated_references_are_views_of_one_subject(generate, tiny_base):
    made = generate(PROMPT, "--reference", "fox.png", "--reference", "side.png", "--subject-scale", "0.5")
    assert np.array_equal(made, in_python(tiny_base, Subject(images=["fox.png", "side.png"], scale=0.5)))


def test_a_recipe_has_everything_and_options_come_first(generate, tiny_base, here):
    (here / "video.toml").write_text(
        f'prompt = "{PROMPT}"\nguidance = 3.0\nbinding = "joint"\n'
        f'[subjects.fox]\nimages = ["fox.png"]\nscale = 0.5\nframes = {[1] + [0] * 15 + [1]}\n'
        '[subjects.ball]\nimages = ["ball.png"]\nmask = "left.png"\n'
    )
    fox = Subject(name="fox", images="fox.png", scale=0.5, frames=(1.0, *[0.0] * 15, 1.0))
    ball = Subject(name="ball", images="ball.png", mask="left.png")
    made = generate("--recipe", "video.toml")
    assert np.array_equal(made, in_python(tiny_base, fox, ball, guidance=3.0, binding="joint"))
    other = generate("--recipe", "video.toml", "--guidance", 2, "--subject-scale", "fox=1", "--subject", "ball=fox.png")
    fox, ball = (
        Subject(**{**subject.model_dump(), **change})
        for subject, change in ((fox, {"scale": 1.0}), (ball, {"images": "fox.png"}))
    )
    assert np.array_equal(other, in_python(tiny_base, fox, ball, guidance=2.0, binding="joint"))


def test_subject_files_are_made_shown_and_used(refilm, generate, tiny_base, here):
    made = refilm(
        "subject", "make", "fox.png", "side.png", "-o", "fox.subject", "--words", "dragon", "--words", "critter",
        "--weights", 1, "--weights", 0.5, "--base", tiny_base,
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("fox.subject: fox, 2 views of ")
    shown = refilm("subject", "show", "fox.subject", "--thumbnail", "small.png").stdout
    for line in ("name: fox", "words: dragon, critter", "weights: 1, 0.5", "read: 100%, 100% of each image"):
        assert line in shown
    assert shown.count("sha256") == 2
    assert Image.open("small.png").size == (128, 128)
    by_images = generate(
        PROMPT, "--subject", "fox=fox.png,side.png", "--subject-weights", "1,0.5", "--subject-words", "critter"
    )
    for name in ("fox.png", "side.png"):
        Path(name).unlink()
    assert np.array_equal(generate(PROMPT, "--subject", "fox.subject"), by_images)
    assert np.array_equal(generate(PROMPT, "--subject", "other=fox.subject"), by_images)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--subject", "fox.png"), "--subject 'fox.png': name it, for example fox=fox.png"),
        (("--subject", "fox="), "--subject 'fox=': give a name and its images, for example fox=fox.png,side.png"),
        (("--subject", "fox=nowhere.png"), "nowhere.png: no such file"),
        (("--subject", "a=fox.png", "--subject", "a=ball.png"), "--subject: two subjects are named 'a'"),
        (("--subject", "a=fox.png", "--reference", "ball.png"), "use --subject NAME=IMAGE for each of several"),
        (("--subject", "two words=fox.png"), "subject 'two words': name: "),
        (("--subject-scale", "0.5"), "--subject-scale: there is no subject; give one with --reference or --subject"),
        (("--subject", "fox=fox.png", "--subject-scale", "fx=1"), "did you mean fox? the subjects are fox"),
        (("--subject", "fox=fox.png", "--subject-scale", "much"), "subject 'fox': scale: "),
        (
            ("--subject", "a=fox.png", "--subject", "b=ball.png", "--subject-scale", "1"),
            "give a=VALUE; the subjects are a, b",
        ),
        (("--subject", "fox=fox.png", "--subject-steps", "1-9"), "fox: steps: '1-9': there are 2 steps"),
        (("--reference", "fox.png", "--adapter", "none"), "a reference needs an adapter: remove --adapter none"),
        (("--recipe", "bad.toml"), "bad.toml: guidanc: unknown; did you mean guidance?"),
        (("--recipe", "table.toml"), "table.toml: guidance: is a table; give a value"),
        (("--recipe", "list.toml"), "list.toml: subjects: must be tables, for example [subjects.fox]"),
        (("--recipe", "nowhere.toml"), "nowhere.toml: no such file"),
    ],
)
def test_bad_subjects_are_refused_in_one_line(refilm, tiny_base, here, words, message):
    (here / "bad.toml").write_text("guidanc = 2\n")
    (here / "table.toml").write_text("[guidance]\nscale = 2\n")
    (here / "list.toml").write_text("subjects = [1]\n")
    result = refilm("generate", PROMPT, "--base", tiny_base, "-o", "video.png", "--steps", 2, *words)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert not list(here.glob("video*"))


def test_a_subject_file_needs_its_suffix(refilm, tiny_base, here):
    result = refilm("subject", "make", "fox.png", "-o", "fox.png", "--base", tiny_base)
    assert result.exit_code == 2
    assert "fox.png: the name of a subject file must end in .subject" in result.stderr
