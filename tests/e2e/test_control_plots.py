"""The drawings in the documentation show the recorded results."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from .results import RESULTS, ROOT

ASSETS = ROOT / "docs" / "assets" / "control"
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def plots(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return runpy.run_path(str(BENCHMARKS / "control_plots.py"))


def test_every_drawing_is_of_the_result_file(plots):
    results = RESULTS / "control.json"
    experiments = json.loads(results.read_text())["experiments"] if results.exists() else {}
    assert {path.stem for path in ASSETS.glob("*.svg")} == experiments.keys() & plots["AXES"].keys()
    for name in experiments.keys() & plots["AXES"].keys():
        assert plots["digest"](experiments[name]) in (ASSETS / f"{name}.svg").read_text(), f"{name}.svg: draw it again"


def test_the_drawing_of_the_sweep_is_of_the_result_file(plots):
    points = json.loads((RESULTS / "evaluation.json").read_text())["sweep"]
    drawing = ROOT / "docs" / "assets" / "evaluation-scale.svg"
    assert plots["digest"](points) in drawing.read_text(), "draw it again with benchmarks/evaluation.py"


def test_drawings_are_made_from_a_result_file(plots, tmp_path, monkeypatch):
    values = {"share": 0.5, "low": 0.4, "high": 0.6, "count": 100}
    points = [{"x": x, "line": line, "likeness": values, "motion": values} for line in ("a", "b") for x in (1, 2)]
    (tmp_path / "control.json").write_text(json.dumps({"experiments": {"views": points, "cue": []}}))
    words = ["control_plots.py", "--results", str(tmp_path / "control.json"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    plots["main"]()
    (drawn,) = Path(tmp_path / "out").iterdir()
    assert drawn.name == "views.svg"
    assert plots["digest"](points) in drawn.read_text()
    assert len(re.findall(r'id="FillBetweenPolyCollection_\d+"', drawn.read_text())) == 4  # two lines in two panels
