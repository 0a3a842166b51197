"""What faster sampling costs: the benchmark on two videos, its drawing, and the drawing in the docs."""

import json
import runpy
import sys
from importlib import import_module

import pytest

from .results import RESULTS, ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def program(monkeypatch):
    """Run a benchmark in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(script, *words):
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")

    return run


def test_runs_and_quality_are_measured_and_drawn(program, tmp_path):
    out = tmp_path / "speed.json"
    program("speed.py", "--steps", 3, "--pairs", 2, "--cases", "ddim exact,ddim guidance in steps 1-2", "--out", out)
    program("speed.py", "--cases", "ddim 2 steps", "--resume", "--out", out)
    result = json.loads(out.read_text())
    assert (result["steps"], result["pairs"]) == (3, 2)
    exact, guided, fewer = result["cases"].values()
    assert (exact["runs"], guided["runs"], fewer["runs"]) == (6, 5, 4)
    assert exact["psnr"] is None
    assert result["other_noise_psnr"] < guided["psnr"]
    assert exact["likeness"]["count"] == 2
    pytest.importorskip("matplotlib")
    program("speed_plot.py", "--results", out, "--out", tmp_path / "speed.svg")
    assert import_module("control_plots").digest([result["cases"]]) in (tmp_path / "speed.svg").read_text()


def test_a_cpu_runs_the_same_work_in_both_libraries(program, tmp_path):
    out = tmp_path / "cpu.json"
    program("cpu.py", "--turns", 1, "--steps", 4, "--tokens", 240, "--out", out)
    result = json.loads(out.read_text())
    for part in ("sampling", "block"):
        assert result[part]["same"] or result[part]["psnr"] > 80
        assert result[part]["ratio"] > 0
        assert sum(result[part]["refilm"]["parts"].values()) == pytest.approx(1, abs=0.01)


def test_every_case_has_valid_settings(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    request = import_module("refilm.generation.request").Request
    sizes = {"frames": 17, "height": 64, "width": 64, "guidance": 4.0}
    for settings in import_module("speed").cases(50).values():
        request.of(**sizes, **settings)


def test_the_front_has_what_no_cheaper_case_beats(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    cheap, worse, best, same = (10, 20, 0, 0), (20, 15, 0, 0), (30, 40, 0, 0), (40, 40, 0, 0)
    assert import_module("speed_plot").front([cheap, worse, best, same]) == [cheap, best]


def test_the_drawing_is_of_the_result_file(monkeypatch):
    drawing = ROOT / "docs" / "assets" / "speed.svg"
    assert drawing.exists() == (RESULTS / "speed.json").exists()
    if drawing.exists():
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        cases = json.loads((RESULTS / "speed.json").read_text())["cases"]
        assert import_module("control_plots").digest([cases]) in drawing.read_text(), "draw it again: speed_plot.py"
