"""`refilm subject make` and `show`, and `refilm info` of a subject file."""

from pathlib import Path

import pytest
from PIL import Image

from refilm.control import load_subject


@pytest.fixture
def subject(refilm, tiny_base, tmp_path, monkeypatch, fox):
    """`refilm subject`, in a folder with two images and a mask."""
    monkeypatch.chdir(tmp_path)
    image = Image.open(fox)
    image.save("fox.png")
    image.rotate(20).save("side.png")
    Image.new("L", image.size, 255).save("mask.png")
    return lambda *words: refilm("subject", *words, *(("--base", tiny_base) if words[0] == "make" else ()))


@pytest.mark.parametrize("both", [("1, 0.5",), ("1", "0.5")])
def test_values_of_a_list_are_separated_by_commas_or_repeated(subject, both):
    options = [part for text in both for part in ("--weights", text)]
    options += [part for text in both for part in ("--words", text.replace("1", "fox").replace("0.5", "a dragon"))]
    options += [
        part for text in both for part in ("--image-masks", text.replace("1", "mask.png").replace("0.5", "mask.png"))
    ]
    result = subject("make", "fox.png", "side.png", "-o", "fox.subject", *options)
    assert result.exit_code == 0, result.output
    made = load_subject("fox.subject")
    assert made.card.words == ("fox", "a dragon")
    assert made.weight[:, 0].tolist() == [1, 0.5]


def test_a_file_is_described_by_show_and_info(subject, refilm):
    assert subject("make", "fox.png", "-o", "fox.subject").stdout.startswith("fox.subject: fox, 1 view of ")
    shown = subject("show", "fox.subject", "--thumbnail", "small.webp").stdout.splitlines()
    assert shown[:2] == ["name: fox", "words: none"]
    assert shown.pop() == "small.webp: 128 x 128 pixels"
    described = refilm("info", "fox.subject").stdout.splitlines()
    assert described == ["fox.subject: subject file", *(f"  {line}" for line in shown)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("make", "fox.png", "-o", "fox.png"), "fox.png: the name of a subject file must end in .subject"),
        (("make", "fox.png", "-o", "2 b.subject"), "2 b.subject: give the subject a --name: a name is a letter"),
        (("make", "fox.png", "-o", "b.subject", "--name", "2 b"), "--name '2 b': a name is a letter and up to 31"),
        (("make", "a.subject", "-o", "b.subject"), "subject make a.subject: is a subject file, not an image"),
        (("make", "fox.png", "-o", "b.subject", "--weights", "0"), "--weights.0: Input should be greater than 0"),
        (("make", "fox.png", "-o", "b.subject", "--weights", "two"), "--weights.0: Input should be a valid number"),
        (("make", "fox.png", "-o", "b.subject", "--words", "the"), "--words.0: names no subject"),
        (("make", "fox.png", "-o", "b.subject", "--words", "a,"), "--words 'a,': a value is empty"),
        (("show", "faces/fox.subject"), "subject show: faces/fox.subject: no such file; make it with"),
        (("show", "a.subject", "--thumbnail", "a.xyz"), "--thumbnail a.xyz: cannot write .xyz; use .png, .jpg, .jpeg"),
        (("show", "a.subject", "--thumbnail", "a"), "--thumbnail a: cannot write a file without suffix; use .png"),
        (("show", "a.subject", "--thumbnail", "no/a.png"), "--thumbnail no/a.png: give the name of a file in an"),
        (("show", "a.subject", "--thumbnail", "folder.png"), "--thumbnail folder.png: give the name of a file in an"),
    ],
)
def test_faults_are_reported_before_anything_is_done(subject, words, message):
    Path("folder.png").mkdir()
    result = subject(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())
    assert not list(Path().glob("*.subject"))
