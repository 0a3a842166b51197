"""Commands complete, with the right exit code, even if standard output and error cannot be written."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refilm.cli.app import main
from refilm.cli.streams import install_safe_streams

from ..tiny_recipe import write_recipe

PROMPT = "a critter bounces in the meadow"


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def unread() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


BROKEN: dict[str, Callable[[], int] | None] = {"full disk": full, "reader gone": unread, "closed": None}


@contextmanager
def broken(how: str) -> Iterator[None]:
    """Within the context descriptors 1 and 2 are so; Python's streams are as Python would have opened them."""
    sys.stdout.flush()
    kept, make = [os.dup(1), os.dup(2)], BROKEN[how]
    with pytest.MonkeyPatch.context() as patch:
        for number, name in ((1, "stdout"), (2, "stderr")):
            if make is None:
                os.close(number)
                patch.setattr(sys, name, None)
            else:
                os.dup2(descriptor := make(), number)
                os.close(descriptor)
                patch.setattr(sys, name, open(os.dup(number), "w"))  # noqa: SIM115  # which nothing is written to
        try:
            yield
        finally:
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def command(how: str, *words: object) -> int:
    """The exit code of a command whose outputs are broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["refilm", *map(str, words)])
        with broken(how), pytest.raises(SystemExit) as left:
            main()
    return left.value.code or 0


@pytest.mark.parametrize("how", BROKEN)
def test_commands_do_their_work(how, tiny_base, fox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(Path("tiny.toml"), base=tiny_base, cache=Path("drawn"))
    few = ("--set", "loop.steps=2", "--set", "loop.save_every=2")
    video = ("generate", PROMPT, "--base", tiny_base, "--reference", fox, "--steps", 1)
    imported = "imported/manifest.jsonl"
    commands: dict[tuple[object, ...], tuple[int, str]] = {
        (*video, "-o", "video.png"): (0, "video-016.png"),
        ("demo", "--base", tiny_base, "--steps", 1, "--out", "demo"): (0, "demo/index.html"),
        ("data", "critters", "clips", "--clips", 2): (0, "clips/videos"),
        ("data", "import", "clips", "imported"): (0, imported),
        ("data", "prepare", imported, "--out", "prepared.jsonl", "--base", tiny_base): (0, "prepared.jsonl"),
        ("data", "check", imported, "--base", tiny_base, "--workers", 1): (0, "imported/manifest.check.json"),
        ("data", "encode", imported, "--base", tiny_base, "--out", "cache", "--workers", 1): (0, "cache/index.json"),
        ("data", "verify", "cache"): (0, "cache/index.json"),
        ("train", "tiny.toml", *few): (0, "runs/tiny/step-00000002/manifest.json"),
        ("convert", tiny_base / "adapter", "sat"): (0, "sat"),
        ("push", "adapter", "me/mine", "--dry-run"): (0, "adapter"),
        ("train", "missing.toml"): (2, ""),
        ("generate",): (2, ""),
    }
    for words, (code, made) in commands.items():
        assert command(how, *words) == code, words
        assert Path(made).exists(), words


@pytest.mark.parametrize("how", BROKEN)
def test_lost_output_is_an_error_only_on_a_full_disk(how, tiny_base, tmp_path):
    recipe = write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=tmp_path / "cache")
    expected = 2 if how == "full disk" else 0
    assert command(how, "info", tiny_base) == expected
    assert command(how, "train", recipe, "--dry-run") == expected


def test_no_file_gets_the_number_of_a_closed_output(tmp_path):
    with broken("closed"):
        install_safe_streams()
        with open(tmp_path / "weights", "wb") as file:
            number = file.fileno()
            os.write(2, b"a library's warning")
    assert number > 2
    assert not (tmp_path / "weights").read_bytes()
