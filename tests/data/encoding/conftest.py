"""Encoders, and clips as files, for the tests here."""

from pathlib import Path

import pytest

from refilm.data import Example, read_examples
from refilm.data.critters.files import write_clips

from .clips import Encoding


@pytest.fixture(scope="session")
def encoding(tiny_base) -> Encoding:
    return Encoding(tiny_base)


@pytest.fixture
def examples(tmp_path) -> list[Example]:
    """Three clips of critters as files."""
    folder: Path = tmp_path / "clips"
    list(write_clips(folder, clips=3, split="train", seed=0, references=1, size=32, scale=1))
    return read_examples(folder / "manifest.jsonl")
