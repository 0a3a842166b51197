"""Encoders and clip files for these tests."""

import shutil
from pathlib import Path

import pytest

from refilm.data import Example, read_examples
from refilm.data.critters.files import write_clips

from .clips import CLIPS, Encoding


@pytest.fixture(scope="session")
def encoding(tiny_base) -> Encoding:
    return Encoding(tiny_base)


@pytest.fixture(scope="session")
def sound(encoding, tmp_path_factory) -> Path:
    """A cache of five critters; do not write to it."""
    folder: Path = tmp_path_factory.mktemp("sound") / "cache"
    encoding(CLIPS, folder)
    return folder


@pytest.fixture
def cache(sound, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(sound, tmp_path / "cache")


@pytest.fixture
def examples(tmp_path) -> list[Example]:
    """Three clips of critters as files."""
    folder: Path = tmp_path / "clips"
    list(write_clips(folder, clips=3, split="train", seed=0, references=1, size=32, scale=1))
    return read_examples(folder / "manifest.jsonl")
