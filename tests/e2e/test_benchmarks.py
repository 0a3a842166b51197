"""The benchmarks that nothing else runs still run, in short, and the docs show what was measured."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def measure(script: str, *words: object) -> str:
    command = [sys.executable, BENCHMARKS / script, *map(str, words)]
    return subprocess.run(command, check=True, timeout=600, stdout=subprocess.PIPE, text=True).stdout


def test_the_study_s_page_has_the_table_of_its_runs():
    assert measure("study.py", "--table") in (BENCHMARKS.parent / "docs" / "study.md").read_text()


@pytest.mark.slow
def test_the_judge_is_trained_and_used(tmp_path):
    (tmp_path / "results").mkdir()
    measure("judge.py", "--steps", 2, "--count", 4, "--pool", 64, "--out", tmp_path)
    assert [row["name"] for row in json.loads((tmp_path / "results" / "judge.json").read_text())["rows"]] == [
        "real held-out clips, 32 pixels",
        "real held-out clips, 64 pixels",
    ]
    few = ("--pairs", 2, "--steps", 2, "--judge", tmp_path / "judge.safetensors", "--out", tmp_path / "critters.json")
    measure("critters.py", *few, "--sheets", tmp_path / "sheets")
    assert len(json.loads((tmp_path / "critters.json").read_text())["rows"]) == 6
    with (tmp_path / "critters.csv").open() as file:
        films = list(csv.DictReader(file))
    assert [(film["row"], film["pair"]) for film in films[:4]] == [
        ("asked", "0"),
        ("asked", "1"),
        ("model", "0"),
        ("model", "1"),
    ]
    assert len(films) == 2 * 7
    assert len(list((tmp_path / "sheets").iterdir())) == 6
