"""The data set card: a valid head, the facts of the draw, and the page of the docs."""

import runpy
import sys
from pathlib import Path
from typing import get_args

import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from refilm.data import critters, read_examples
from refilm.data.critters.card import Draw, Kind, card
from refilm.data.critters.files import write_clips, write_stills

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_of_the_docs_is_the_card():
    assert (DOCS / "critters.md").read_text(encoding="utf-8") == card()


def test_the_sheet_of_the_docs_is_drawn_by_its_script(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["critters_sheet.py", "--out", str(tmp_path / "sheet.png")])
    runpy.run_path(str(DOCS.parent / "benchmarks" / "critters_sheet.py"), run_name="__main__")
    drawn, shown = (Image.open(path) for path in (tmp_path / "sheet.png", DOCS / "assets" / "critters.png"))
    assert drawn.tobytes() == shown.tobytes()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_draw_has_its_card_beside_it(kind, tmp_path):
    how = {"clips": 3, "split": "held_out", "seed": 7, "references": 1}
    if kind == "stills":
        list(write_stills(tmp_path / "drawn", **how))
    else:
        list(write_clips(tmp_path / "drawn", subjects=1 + (kind == "two subjects"), **how))
    made = DatasetCard.load(tmp_path / "drawn" / "README.md")
    assert made.data.license == "apache-2.0"
    assert made.data.size_categories == ["n<1K"]
    assert made.data.configs == [{"config_name": "default", "data_files": "manifest.jsonl"}]
    assert f"| {'stills' if kind == 'stills' else 'clips'} | 3 |" in made.text
    assert "| split | `held_out` |\n| seed | 7 |" in made.text
    shown = {example.subject for example in read_examples(tmp_path / "drawn" / "manifest.jsonl")}
    assert f"| different subjects | {len(shown)} |" in made.text
    flag = {"stills": " --stills", "two subjects": " --subjects 2"}.get(kind, "")
    assert f"`refilm data critters OUT --clips 3 --split held_out --seed 7{flag}`" in made.text
    assert "assets/" not in made.text


def test_counts_are_those_of_the_clips():
    drawn = Draw(40, "train", 3, critters.SIZE, 2, "one subject")
    stories = [critters.story(3, index, "train") for index in range(40)]
    assert drawn.counts["motion"] == {
        name: count for name in sorted(critters.MOTIONS) if (count := [one.motion for one in stories].count(name))
    }
    assert all(sum(found.values()) == 40 for found in drawn.counts.values())
    assert "motion" not in Draw(4, "train", 3, critters.SIZE, 2, "stills").counts
    assert [Draw(n, "train", 0, 64, 2, "stills").category for n in (999, 1000, 10**6)] == ["n<1K", "1K<n<10K", "n>1M"]
    assert card(drawn).count("## ") == card().count("## ")
