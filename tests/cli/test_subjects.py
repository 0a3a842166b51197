"""Subjects on the command line: the same videos as in Python, from options, recipes and subject files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import refilm as library
from refilm import Subject
from refilm.cli.subject_options import SubjectOptions
from refilm.cli.subjects import subjects_of
from refilm.errors import UserError

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


def described(recipe: str = "", **options: object) -> dict[str, dict[str, object]]:
    """What is described of each subject, in fields that are not at their defaults."""
    Path("video.toml").write_text(recipe)
    texts = {name: (value,) if isinstance(value, str) else value for name, value in options.items()}
    paths = tuple(map(Path, texts.pop("reference", ())))
    subjects = subjects_of(SubjectOptions(reference=paths, **texts), recipe=Path("video.toml"))
    return {subject.name: subject.model_dump(exclude_defaults=True, exclude={"name"}) for subject in subjects}


VIEWS = {"subject": "fox=fox.png,side.png"}


@pytest.mark.parametrize("both", [("1,2",), ("1", "2"), (" 1 , 2 ",), ("fox=1", "fox = 2"), ("fox=1, 2",)])
def test_values_of_a_list_are_separated_by_commas_or_repeated(here, both):
    weights = described(**VIEWS, subject_weights=both)
    assert weights["fox"]["weights"] == (1.0, 2.0)
    assert described(f"subject = 'fox=fox.png, side.png'\nsubject_weights = {list(both)}") == weights
    words = tuple(text.replace("1", "a dragon").replace("2", "fox") for text in both)
    assert described(**VIEWS, subject_words=words)["fox"]["words"] == ("a dragon", "fox")
    masks = tuple(text.replace("1", "left.png").replace("2", "fox.png") for text in both)
    assert described(**VIEWS, subject_image_masks=masks)["fox"]["image_masks"] == ("left.png", "fox.png")


@pytest.mark.parametrize("control", ["mask", "scale", "frames", "steps", "blocks"])
def test_other_controls_are_given_once_for_each_subject(here, control):
    both = {"subject": ("fox=fox.png", "ball=ball.png")}
    name = f"subject_{control}"
    assert described(**both, **{name: ("fox=1", "ball=2")})["ball"][control] == (2.0 if control == "scale" else "2")
    with pytest.raises(
        UserError, match=f"^--subject-{control.replace('_', '-')}: is given twice for fox; give it once"
    ):
        described(**both, **{name: ("fox=1", "fox=1")})
    for recipe in (f"[subjects.fox]\nimages='fox.png'\n{control}='1'", "subject='fox=fox.png'"):
        texts = ["fox=1"] if control in recipe else ["fox=1", "fox=2"]
        with pytest.raises(UserError, match=rf"^video.toml: {name}: is given twice for fox; give it once"):
            described(f"{name} = {texts}\n{recipe}")


TABLES = """
[subjects.fox]
images = ["fox.png", "side.png"]
weights = [1, 2]
scale = 0.5
[subjects.ball]
images = "ball.png"
"""
FOX = {"images": ("fox.png", "side.png"), "weights": (1.0, 2.0), "scale": 0.5}
BALL = {"images": ("ball.png",)}
UNNAMED = "reference = ['fox.png', 'side.png']\nsubject_weights = '1,2'\nsubject_scale = '0.5'"


@pytest.mark.parametrize(
    ("recipe", "options", "subjects"),
    [
        (TABLES, {}, {"fox": FOX, "ball": BALL}),
        (TABLES, {"subject_scale": "fox=2"}, {"fox": {**FOX, "scale": 2.0}, "ball": BALL}),
        (TABLES, {"subject_weights": "fox=2,2"}, {"fox": {**FOX, "weights": (2.0, 2.0)}, "ball": BALL}),
        (TABLES, {"subject": "fox=ball.png"}, {"fox": {**BALL, "scale": 0.5}, "ball": BALL}),
        (TABLES, {"subject": "third=left.png"}, {"fox": FOX, "ball": BALL, "third": {"images": ("left.png",)}}),
        (TABLES, {"reference": ("left.png",)}, {"subject": {"images": ("left.png",)}}),
        (UNNAMED, {}, {"subject": FOX}),
        (UNNAMED, {"reference": ("ball.png",)}, {"subject": {**BALL, "scale": 0.5}}),
        (UNNAMED, {"subject": "fox=ball.png"}, {"fox": {**BALL, "scale": 0.5}}),
        ("subject = 'fox=fox.png'\nsubject_scale = 'fox=0.5'", {"reference": ("ball.png",)}, {"subject": BALL}),
        ("subject_scale = '0.5'", {"reference": ("ball.png",)}, {"subject": {**BALL, "scale": 0.5}}),
    ],
)
def test_images_of_the_command_line_replace_those_of_the_recipe(here, recipe, options, subjects):
    assert described(recipe, **options) == subjects


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (f"reference = 'fox.png'{TABLES}", "reference: gives the images of a single subject, but there is also fox"),
        (f"subject = 'fox=fox.png'{TABLES}", "subject: two subjects are named 'fox'"),
        (
            "reference = 'fox.png'\nsubject_scale = '0.5'\nsubject_frames = 'ball=1'",
            "subject_frames 'ball=1': there is",
        ),
        ("[subjects.fox]\nname = 'fox'", r"subjects.fox.name: a subject has the name of its table; remove this line"),
        ("[subjects.fox]\nself = 1", r"subjects.fox.self: unknown"),
        ("[subjects.fox]\nframe = 1", r"subjects.fox.frame: unknown; did you mean frames\?"),
        ("[subjects.'two words']", r"\[subjects.two words\]: a name is a letter"),
        ("[subjects.fox]\nimages = 3", r"subjects.fox.images: give a path in quotes or a list of them \(received 3\)"),
        ("[subjects.fox]\nimages = []", r"subjects.fox.images: give a path in quotes or a list"),
        ("[subjects.fox]\nimages = ['fox.png', 3]", r"subjects.fox.images: give a path in quotes or a list"),
        ("[subjects.fox]\nmask = ['left.png']", r"subjects.fox.mask: give a path in quotes \(received \['left"),
        ("[subjects.fox]\nfile = 'fox.png'", r"subjects.fox.file: 'fox.png' is not a subject file"),
        ("[subjects.fox]\nfile = 'fox.subject'", r"subjects.fox.file: fox.subject: no such file; make it with"),
        (
            "[subjects.fox]\nimages = 'fox.png'\nscale = '0.5'",
            r"subjects.fox.scale: .*'0.5'\); write it without quotes",
        ),
        ("[subjects.fox]\nimages = 'fox.png'\nwords = 3", r"subjects.fox.words.0: .*3\); write it in quotes"),
    ],
)
def test_faults_of_a_recipe_name_it_and_the_key(here, recipe, message):
    with pytest.raises(UserError, match=f"^video.toml: {message}"):
        described(recipe)


def test_paths_in_a_recipe_are_relative_to_its_folder(here):
    inner = here / "inner"
    inner.mkdir()
    for name in ("fox.png", "side.png", "left.png"):
        Path(name).rename(inner / name)
    (inner / "fox.subject").touch()
    recipe = """
    subject = ["fox=fox.png, side.png", "file=fox.subject", "hub=owner/name"]
    subject_mask = "fox=left.png"
    subject_image_masks = "fox=left.png,left.png"
    [subjects.ball]
    images = "fox.png"
    image_masks = ["left.png"]
    mask = "left.png"
    [subjects.side]
    file = "fox.subject"
    [subjects.other]
    file = "owner/name"
    """
    (inner / "video.toml").write_text(recipe)
    ball, side, other, fox, file, hub = subjects_of(SubjectOptions(), recipe=inner / "video.toml")
    assert fox.images == (str(inner / "fox.png"), str(inner / "side.png"))
    assert fox.mask == ball.mask == str(inner / "left.png")
    assert fox.image_masks == (str(inner / "left.png"),) * 2
    assert ball.images == (str(inner / "fox.png"),)
    assert ball.image_masks == (str(inner / "left.png"),)
    assert file.file == side.file == inner / "fox.subject"
    assert hub.file == other.file == Path("owner/name")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subject": "fox=1.png"}, r"--subject 'fox=1.png': name it, for example fox-1=fox=1.png"),
        ({"subject": "fox=fox.png,fox.subject"}, "fox.subject is a subject file with images of its own; give it alone"),
        ({"subject": "faces/fox.subject"}, "--subject 'faces/fox.subject': faces/fox.subject: no such file; make it"),
        ({"subject": "fox=fox.png,,"}, "give a name and its images"),
        ({"reference": ("fox.subject",)}, "--reference fox.subject: is a subject file, not an image"),
        ({"reference": ("a.png,b.png",)}, "--reference a.png,b.png: no such file; give each image by itself"),
        ({**VIEWS, "subject_weights": "1,"}, "--subject-weights '1,': a value is empty"),
        ({**VIEWS, "subject_words": "fox="}, "--subject-words '': a value is empty"),
        ({**VIEWS, "subject_image_masks": "left.png,,left.png"}, "--subject-image-masks .* a value is empty"),
        ({**VIEWS, "subject_mask": " "}, "--subject-mask '': a value is empty"),
        ({**VIEWS, "subject_weights": "1,much"}, r"--subject-weights.1: .* \(received 'much'\)$"),
        ({**VIEWS, "subject_scale": "٢"}, r"--subject-scale: .*valid number"),
        ({**VIEWS, "subject_scale": "cat=2"}, r"there is no subject 'cat'; give fox=2 \(subjects: fox\)"),
    ],
)
def test_faults_of_options_name_them(here, options, message):
    Path("fox=1.png").touch()
    with pytest.raises(UserError, match=message):
        described(**options)


def test_a_path_can_contain_an_equals_sign_or_a_comma(here):
    Path("fox=1.png").touch()
    Path("a,b.png").touch()
    assert described(subject="cat=fox=1.png", subject_mask="fox=1.png")["cat"]["mask"] == "fox=1.png"
    assert described(subject="fox=a,b.png", subject_image_masks="a,b.png")["fox"]["images"] == ("a,b.png",)


def test_images_and_names_of_files_need_no_suffix(here):
    Path("fox.png").rename("image")
    Path("2 Füchse.subject").touch()
    assert described(subject="fox=image") == {"fox": {"images": ("image",)}}
    assert described(subject="2 Füchse.subject") == {"F-chse": {"file": Path("2 Füchse.subject")}}


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
        (
            ("--subject", "a=fox.png", "--reference", "ball.png"),
            "--reference: gives the images of a single subject, but there is also a; use --subject NAME=IMAGE for each",
        ),
        (
            ("--subject", "two words=fox.png"),
            "--subject 'two words=fox.png': a name is a letter and up to 31 more letters",
        ),
        (("--subject-scale", "0.5"), "--subject-scale: there is no subject; give one with --reference or --subject"),
        (
            ("--subject", "fox=fox.png", "--subject-scale", "fx=1"),
            "--subject-scale 'fx=1': did you mean fox=1? (subjects: fox)",
        ),
        (
            ("--subject", "fox=fox.png", "--subject-scale", "much"),
            "--subject-scale: Input should be a valid number (received 'much')",
        ),
        (
            ("--subject", "a=fox.png", "--subject", "b=ball.png", "--subject-scale", "1"),
            "say of which subject, for example a=1 (subjects: a, b)",
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
