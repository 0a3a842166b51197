"""How `refilm train` reads changes and tells its course; what it trains is shown in tests/e2e."""

import pytest
from rich.console import Console

from refilm.cli.courses import Lines, course_of
from refilm.cli.showing import clock
from refilm.cli.train import changes_of
from refilm.training.loop import Progress
from refilm.training.recipes import changed


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


def test_where_nobody_looks_there_are_few_lines(capsys):
    with Lines(every=1000) as course:
        for step in range(1, 101):
            scores = {"held_out": 0.25} if step == 50 else {}
            course.step(Progress(step, 100, loss=1 / step, seconds=2.0, scores=scores))
    first, middle, last = capsys.readouterr().out.splitlines()
    assert first == "step 1 of 100  loss 1.0000  2.00 s/step  3 min 18 s left"
    assert middle == "step 50 of 100  loss 0.0900  2.00 s/step  1 min 40 s left  held_out 0.2500"
    assert last.startswith("step 100 of 100  loss 0.0138")


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.24, "8.2 s"), (59.99, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_read_well(seconds, text):
    assert clock(seconds) == text


def test_only_the_first_of_several_processes_tells(capsys):
    with course_of(Console(), first=False) as course:
        course.encoded(1, 1)
        course.step(Progress(1, 1, loss=1.0, seconds=1.0))
    assert capsys.readouterr().out == ""
