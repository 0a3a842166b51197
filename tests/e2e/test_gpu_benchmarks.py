"""The measurements that need a GPU, at tiny sizes on the CPU: every part runs, and none can stop the others."""

import json
import os
import runpy
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GPU = ROOT / "benchmarks" / "gpu"


@pytest.fixture
def gpu(monkeypatch):
    """Make the package importable, and its scripts as they are to themselves."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(GPU))
    return import_module


@pytest.fixture
def part(gpu, monkeypatch, tmp_path):
    """Measure a part in this process; returns its result."""

    def measured(name: str) -> dict:
        out = tmp_path / f"{name}.json"
        monkeypatch.setattr(sys, "argv", ["gpu", name, "--tiny", "--commit", "0123abc", "--out", str(out)])
        runpy.run_module("gpu", run_name="__main__")
        return json.loads(out.read_text())

    return measured


def test_a_part_is_measured_and_reported(part, gpu, tmp_path):
    result = part("encoding")
    assert list(result)[:3] == ["machine", "date", "commit"]
    assert (result["status"], result["commit"], result["tiny"]) == ("complete", "0123abc", True)
    assert list(result["cases"]) == ["video", "caption", "image", "clip"]
    seconds = sum(result["cases"][name]["seconds"] for name in ("video", "caption", "image"))
    assert result["cases"]["clip"]["clips_per_second"] == pytest.approx(1 / seconds)
    text = gpu("report").write(tmp_path)
    assert (tmp_path / "report.md").read_text() == text
    assert text.startswith("## encoding: complete\n")
    assert "commit 0123abc; tiny sizes" in text
    assert [line.split(" | ")[0] for line in text.splitlines()[-4:]] == ["| video", "| caption", "| image", "| clip"]


def test_a_part_without_its_packages_is_skipped(part, gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpu.decoding", None)
    result = part("decoding")
    assert (result["status"], result["cases"]) == ("skipped: import of gpu.decoding halted; None in sys.modules", {})
    assert gpu("run").is_good(result)


def test_a_report_shows_every_kind_of_fact(gpu):
    cases = {"a": {"seconds": 0.123456, "same": True}, "b": {"seconds": None, "skipped": "no | here"}}
    assert gpu("report").table(cases) == [
        "|  | seconds | same | skipped |",
        "| --- | --- | --- | --- |",
        "| a | 0.1235 | yes |  |",
        "| b |  |  | no \\| here |",
    ]
    assert gpu("report").section({"part": "x", "status": "failed: so", "cases": {}}) == "## x: failed: so\n\n"


def test_a_case_that_fails_stops_no_other(gpu, tmp_path):
    run = gpu("gpu.part").Run("some", tmp_path / "some.json", tiny=True)
    once, error = gpu("gpu.timing").once, gpu("refilm.errors").UserError

    def missing():
        import_module("surely_not_installed")

    def raising(problem):
        raise problem

    run.compare(
        {
            "missing": once(missing),
            "unfit": once(lambda: raising(error("it does not run here"))),
            "broken": once(lambda: raising(RuntimeError("out of memory\nand more"))),
            "fine": once(lambda: None),
        },
        turns=2,
    )
    assert run.obtain(["theirs", "its twin"], missing) is None
    cases = json.loads((tmp_path / "some.json").read_text())["cases"]
    assert cases["fine"]["turns"] == 2
    assert cases["fine"]["least"] <= cases["fine"]["seconds"] <= cases["fine"]["most"]
    nothing = {"skipped": "No module named 'surely_not_installed'"}
    assert cases["missing"] == cases["theirs"] == cases["its twin"] == nothing
    assert cases["unfit"] == {"skipped": "it does not run here"}
    assert cases["broken"] == {"failed": "RuntimeError: out of memory"}


PARTIAL = """
import json, pathlib, sys, time
result = {"part": "p", "status": "running", "cases": {"a": {"seconds": 1.0}}}
pathlib.Path(sys.argv[1]).write_text(json.dumps(result))
"""


@pytest.mark.parametrize(
    ("ending", "seconds", "status"),
    [
        ("time.sleep(60)", 1, "failed: stopped after 1 s"),
        ("sys.exit(3)", 60, "failed: ended with 3 before it was complete"),
        ("import os; os.kill(os.getpid(), 9)", 60, "failed: ended with -9 before it was complete"),
    ],
)
def test_a_part_that_does_not_end_leaves_what_it_measured(gpu, tmp_path, ending, seconds, status):
    run, out = gpu("run"), tmp_path / "p.json"
    result = run.finish(out, [sys.executable, "-c", PARTIAL + ending, str(out)], dict(os.environ), seconds=seconds)
    assert result["status"] == status
    assert result["cases"] == {"a": {"seconds": 1.0}}
    assert json.loads(out.read_text()) == result
    assert result["seconds"] < 50  # and so it did not sleep to its end
    assert not run.is_good(result)


def test_a_part_that_cannot_start_has_a_result_too(gpu, tmp_path):
    run, out = gpu("run"), tmp_path / "p.json"
    result = run.finish(out, [sys.executable, "-c", "raise SystemExit(1)"], dict(os.environ), seconds=60)
    assert (result["part"], result["cases"]) == ("p", {})
    assert result["status"] == "failed: ended with 1 before it was complete"


def test_only_what_is_out_of_bound_or_failed_is_bad(gpu):
    good = {"status": "complete", "cases": {"a": {"within": True}, "b": {"skipped": "no GPU"}, "c": {"seconds": 1.0}}}
    is_good = gpu("run").is_good
    assert is_good(good)
    assert is_good({"status": "skipped: No module named 'av'", "cases": {}})
    assert not is_good(good | {"cases": {"a": {"within": False}}})
    assert not is_good(good | {"cases": {"a": {"failed": "RuntimeError: no"}}})


def test_wheels_of_installed_packages_are_not_unpacked(gpu, tmp_path):
    for name in ("torch-1.0-py3-none-any.whl", "surely_not_installed-1.0-py3-none-any.whl"):
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            wheel.writestr(f"{name.split('-')[0]}.py", "VALUE = 1\n")
    run = gpu("run")
    run.unpack(tmp_path, tmp_path / "packages")
    assert [path.name for path in (tmp_path / "packages").iterdir()] == ["surely_not_installed.py"]
    command = [sys.executable, "-c", "import surely_not_installed, refilm"]
    subprocess.run(command, env=run.environment(tmp_path / "packages"), check=True)


def test_without_a_gpu_only_tiny_sizes_are_measured(gpu, monkeypatch, tmp_path):
    torch = gpu("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "encoding.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "encoding", "--out", str(out)])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_module("gpu", run_name="__main__")
    assert json.loads(out.read_text())["status"] == "failed: torch finds no GPU here; use --tiny to try this on a CPU"


@pytest.mark.slow
def test_all_parts_run(gpu, tmp_path):
    command = ["sh", str(GPU / "run.sh"), "--tiny", "--out", str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert sorted(results) == sorted(gpu("run").PARTS)
    assert {result["status"] for result in results.values()} == {"complete"}
    generation = results["generation"]["cases"]
    assert generation["refilm, blocks compiled"]["psnr"] is None or generation["refilm, blocks compiled"]["psnr"] > 80
    assert generation["diffusers"]["psnr"] > 80  # float32 on a CPU
    assert generation["diffusers, blocks compiled"]["psnr"] > 80
    assert results["decoding"]["cases"]["diffusers"]["psnr"] > 45
    assert "| refilm, blocks compiled |" in (tmp_path / "report.md").read_text()
