"""Short runs of the benchmarks: they write results where they should, and the docs show the recorded results."""

import argparse
import csv
import json
import runpy
import shutil
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from refilm.checkpoints import copy_base, load_base, whole_base

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
NOT_MEASURING = {"judging.py", "record.py"}
TRAININGS = {"finder.py", "judge.py", "judge_two.py"}
OWN_RESULTS = {"curve.py", "study.py"}  # a line in a run's folder; a file per run, never overwritten


@pytest.fixture
def measure(monkeypatch, capsys):
    """Run a benchmark in this process; returns what it printed."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def measured(script: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        return capsys.readouterr().out

    return measured


def scripts() -> list[str]:
    """The benchmarks whose results are files of their own."""
    return sorted({path.name for path in BENCHMARKS.glob("*.py")} - NOT_MEASURING - OWN_RESULTS)


@pytest.mark.parametrize("script", [name for name in scripts() if (RESULTS / name).with_suffix(".json").exists()])
def test_a_result_is_not_overwritten_by_a_trial(measure, script, capsys):
    result = (RESULTS / script).with_suffix(".json")
    before = {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*")}
    with pytest.raises(SystemExit, match="2"):
        measure(script)
    assert "exists; use --" in (error := capsys.readouterr().err)
    assert str(result) in error or script in TRAININGS  # they name their weights first
    assert {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*")} == before


def test_only_a_named_file_may_exist(measure, tmp_path, capsys):
    target, parser = import_module("record").target, argparse.ArgumentParser()
    (default := tmp_path / "default.json").touch()
    with pytest.raises(SystemExit, match="2"):
        target(parser, None, default)
    assert f"{default} exists; use --out FILE to write another file" in capsys.readouterr().err
    assert target(parser, default, default) == default
    assert target(parser, None, tmp_path / "new.json") == tmp_path / "new.json"


@pytest.mark.parametrize("script", scripts())
def test_every_benchmark_can_write_elsewhere(measure, script, capsys):
    with pytest.raises(SystemExit, match="0"):
        measure(script, "--help")
    assert "--out" in capsys.readouterr().out
    assert ".write_text(json" not in (BENCHMARKS / script).read_text()  # `record.write` does it


def test_a_result_records_machine_date_and_commit(measure, tmp_path):
    out = tmp_path / "new" / "autoencoder.json"
    measure("autoencoder.py", "--clips", 1, "--turns", 0, "--out", out)
    result = json.loads(out.read_text())
    assert list(result)[:3] == ["machine", "date", "commit"]
    assert 20 < result["psnr_mean"] < 40
    measure("autoencoder.py", "--clips", 2, "--turns", 0, "--out", out)  # an explicit file is overwritten
    assert json.loads(out.read_text())["clips"] == 2


def test_decoders_are_compared_only_if_the_encoders_are_equal(measure):
    check = import_module("decoders").require_equal_encoders
    before, after = (load_base("pocket", device="cpu").encoders.autoencoder for _ in range(2))
    weights = after.model.state_dict()
    weights["decoder.conv_out.conv.bias"] += 1
    check({"old": before, "new": after})
    weights["encoder.conv_out.conv.bias"] += 1
    with pytest.raises(ValueError, match=r"encoder\.conv_out\.conv\.bias differs between old and new"):
        check({"old": before, "new": after})


@pytest.mark.slow
def test_one_decoder_decodes_as_well_as_itself(measure, tmp_path):
    copy_base(whole_base("pocket"), tmp_path / "copy")
    bases = ("--bases", "pocket", tmp_path / "copy")
    measure("decoders.py", *bases, "--count", 2, "--pairs", 1, "--out", tmp_path / "new.json")
    result = json.loads((tmp_path / "new.json").read_text())
    for kind in ("one critter", "two critters"):
        assert result[kind]["psnr"]["pocket"] == result[kind]["psnr"]["copy"]
        assert result[kind]["psnr_gained"]["copy"]["mean"] == 0
    before, after = result["generated"]["rows"]
    assert before["scores"] == after["scores"]


def test_a_step_and_a_forward_are_counted_for_every_base_model(measure):
    counting = import_module("training_memory")
    for known in counting.MODELS.values():
        model = replace(known, size=replace(known.size, layers=2))
        steps = [counting.measure(model, counting.cases()[f"adapter, autocast, {mode}"]) for mode in ("none", "full")]
        forward = counting.measure_forward(model)
        assert steps[0]["kept_gib"] > 2 * steps[1]["kept_gib"] > 0
        assert steps[1]["peak_gib"] > forward["peak_gib"] > 0
        assert forward["tflop"] == steps[0]["forward_tflop"] < 0.6 * steps[0]["tflop"]


def test_a_video_is_counted_without_a_gpu(measure):
    counts, tiny = import_module("counts"), import_module("gpu.models").TINY
    ours, theirs = counts.count(tiny).values()
    assert ours["step"]["forwards"] == theirs["step"]["forwards"] == 1
    assert ours["step"]["tflop"] == theirs["step"]["tflop"] > 0
    assert ours["weights_gb"] == theirs["weights_gb"] > 0
    assert ours["step"]["waits"] == ours["step"]["copied_mb"] == 0 < theirs["step"]["waits"]
    assert ours["video"]["operators"] == ours["once"]["operators"] + 50 * ours["step"]["operators"]


def test_operators_waits_and_copies_are_counted(measure):
    with torch.inference_mode(), import_module("counts").Counter() as counter:
        x = torch.ones(4).to("meta") + 1  # a copy and a sum
        assert x.view(2, 2).isfinite().all()
        assert not (x == torch.empty_like(x)).all()
        torch.ones(4).sum().item()  # on the CPU
    assert (counter.waits, counter.copied) == (3, 16)
    before = counter.operators
    with torch.inference_mode(), counter:
        F.linear(x.view(1, 4), torch.empty(4, 4, device="meta"))
    assert counter.operators == before + 1


def test_the_study_s_page_has_the_table_of_its_runs(measure):
    assert measure("study.py", "--table") in (BENCHMARKS.parent / "docs" / "study.md").read_text()


def test_rows_of_different_judges_are_not_compared(measure, tmp_path):
    shutil.copytree(RESULTS / "study", tmp_path / "study")
    path = tmp_path / "study" / "shipped-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"judged_by": "another"}))
    with pytest.raises(ValueError, match=r"shipped-1\.json: judged_by differs from that in shipped-0\.json"):
        measure("study.py", "--table", "--out", tmp_path / "study")


def test_the_result_of_the_slow_tests_lists_each(measure, tmp_path):
    """Two quick tests that are marked slow: one passes, one fails."""
    for name, body in {"good": "pass", "bad": "assert False"}.items():
        (tmp_path / f"test_{name}.py").write_text(
            f"import pytest\n\n@pytest.mark.slow\ndef test_{name}():\n    {body}\n\ndef test_quick():\n    pass\n"
        )
    with pytest.raises(SystemExit, match="1"):
        measure("slow_tests.py", "--out", tmp_path / "record.json", "-q", "-p", "no:cacheprovider", tmp_path)
    result = json.loads((tmp_path / "record.json").read_text())
    assert result["counts"] == {"passed": 1, "failure": 1}
    assert {test["test"].split("::")[1]: test["outcome"] for test in result["tests"]} == {
        "test_good": "passed",
        "test_bad": "failure",
    }


@pytest.mark.slow
def test_the_preview_is_measured(measure, tmp_path):
    out = tmp_path / "preview.json"
    measure("preview.py", "--clips", 4, "--pairs", 2, "--repeats", 1, "--out", out)
    result = json.loads(out.read_text())
    assert result["clips"]["decoded"]["mean"] > 0.8 > 0.5 > result["clips"]["next clip"]["mean"]
    assert result["steps"]["20"]["decoded against finished"]["mean"] == pytest.approx(1)
    assert result["seconds"]["frames"] < result["seconds"]["step"] / 10


@pytest.mark.slow
def test_the_judge_is_trained_and_used(measure, tmp_path):
    judge = tmp_path / "judge.safetensors"
    measure("judge.py", "--steps", 2, "--count", 4, "--pool", 64, "--weights", judge, "--out", tmp_path / "judge.json")
    assert [row["name"] for row in json.loads((tmp_path / "judge.json").read_text())["rows"]] == [
        "real held-out clips, 32 pixels",
        "real held-out clips, 64 pixels",
    ]
    few = ("--pairs", 2, "--steps", 2, "--judge", judge, "--out", tmp_path / "critters.json")
    measure("critters.py", *few, "--sheets", tmp_path / "sheets")
    assert len(json.loads((tmp_path / "critters.json").read_text())["rows"]) == 6
    with (tmp_path / "critters.csv").open() as file:
        videos = list(csv.DictReader(file))
    assert [(video["row"], video["pair"]) for video in videos[:4]] == [
        ("asked", "0"),
        ("asked", "1"),
        ("model", "0"),
        ("model", "1"),
    ]
    assert len(videos) == 2 * 7
    assert len(list((tmp_path / "sheets").iterdir())) == 6


@pytest.mark.slow
def test_the_finder_and_the_region_judge_are_trained_and_measured(measure, tmp_path):
    finder, judge = tmp_path / "finder.safetensors", tmp_path / "judge.safetensors"
    few = ("--steps", 2, "--count", 2, "--pool", 64)
    measure("finder.py", *few, "--weights", finder, "--out", tmp_path / "finder.json")
    measure("judge_two.py", *few, "--finder", finder, "--weights", judge, "--out", tmp_path / "judge_two.json")
    clips = [f"{count}{how}" for count in ("one critter", "two critters") for how in ("", ", autoencoder")]
    rows = {name: json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in ("finder", "judge_two")}
    assert [row["name"] for row in rows["finder"]] == clips
    assert [row["name"] for row in rows["judge_two"]] == [
        f"{name}, {masks} masks" for name in clips for masks in ("true", "found")
    ]
