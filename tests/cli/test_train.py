"""How `refilm train` reads changes and shows progress; what it trains is tested in tests/e2e."""

import io
import re

import pytest
from rich.console import Console

from refilm.cli.console import clock
from refilm.cli.run_display import LineDisplay, LiveDisplay, display_for
from refilm.cli.train import changes_of
from refilm.data.encoding import EncodeProgress
from refilm.recipes import changed
from refilm.training.engine.loop import Progress
from refilm.training.engine.parameters import ParameterRow, ParameterTable


def test_changes_are_toml_or_plain_words():
    texts = ["loop.steps=10", "base=pocket", 'out="a b"', "x.y=[{until=2, batch=1}]", "on=true", "path=a=b", "lr=1e-3"]
    assert changes_of(texts) == {
        "loop.steps": 10,
        "base": "pocket",
        "out": "a b",
        "x.y": [{"until": 2, "batch": 1}],
        "on": True,
        "path": "a=b",
        "lr": 0.001,
    }
    assert changes_of(["x=" + "[" * 10_000]) == {"x": "[" * 10_000}
    for text in ("loop.steps", "=1", "loop..steps=1"):
        with pytest.raises(ValueError, match="give a setting's dotted name and its value"):
            changes_of([text])


def test_changes_replace_values_and_leave_the_rest():
    recipe = {"stage": "base", "loop": {"steps": 5, "optimizer": {"ema": 0.9}}}
    changes = {"loop.steps": 10, "loop.optimizer.clip": 1.0, "data.clips": 4}
    assert changed(recipe, changes) == {
        "stage": "base",
        "loop": {"steps": 10, "optimizer": {"ema": 0.9, "clip": 1.0}},
        "data": {"clips": 4},
    }
    assert recipe == {"stage": "base", "loop": {"steps": 5, "optimizer": {"ema": 0.9}}}


def test_without_a_terminal_there_are_few_lines(capsys):
    found = {"right": 0.25, "wrong": 0.5, "none": 0.3, "gap": 0.25, "gap_error": 0.01, "right/q1": 0.2}
    with LineDisplay(every=1000) as display:
        for step in range(1, 101):
            scores, words = (found, "it is used") if step == 50 else ({}, "")
            display.step(Progress(step, 100, loss=1 / step, seconds=2.0, samples=8, scores=scores, words=words))
    first, middle, words, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"step 1 of 100  loss 1\.0000  4\.0 clips/s  3 min 18 s left  \d\.\d GiB", first)
    assert re.fullmatch(r"step 50 of 100  loss 0\.0900  4\.0 clips/s  1 min 40 s left  \S+ GiB  right.*", middle)
    assert middle.endswith("  right 0.2500  wrong 0.5000  none 0.3000")
    assert words == "  it is used"
    assert last.startswith("step 100 of 100  loss 0.0138")


def test_a_terminal_shows_the_gap_and_what_trains():
    console = Console(force_terminal=True, width=140, file=io.StringIO(), highlight=False, color_system=None)
    rows = (
        ParameterRow("adapter", True, 1500, 6000, 6000, 12_000),
        ParameterRow("transformer", False, 9000, 2**20, 0, 0),
    )
    with LiveDisplay(console) as display:
        display.show_parameters(ParameterTable(rows))
        display.step(Progress(1, 2, 0.5, 2.0, samples=8, scores={"right": 0.25, "gap": 0.02, "gap_error": 0.001}))
        display.step(Progress(2, 2, 0.5, 2.0, samples=8, words="[the image] is used"))
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert re.search(r"adapter\s+trains\s+1,500\s+6 KiB\s+6 KiB\s+12 KiB", told)
    assert re.search(r"transformer\s+frozen\s+9,000\s+1 MiB\s+-\s+-", told)
    assert "step 1: right 0.2500" in told
    assert "[the image] is used" in told
    assert re.search(
        r"2/2\s+loss 0\.5000\s+gap 0\.0200 ± 0\.0010\s+pace 4\.0 clips/s\s+left 0\.0 s\s+memory \d\.\d GiB", told
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.24, "8.2 s"), (59.99, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_read_well(seconds, text):
    assert clock(seconds) == text


def test_only_the_first_of_several_processes_prints(capsys):
    with display_for(Console(), first=False) as display:
        display.encoded(EncodeProgress("clips", 1, 1))
        display.step(Progress(1, 1, loss=1.0, seconds=1.0))
    assert capsys.readouterr().out == ""
