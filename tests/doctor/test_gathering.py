"""Facts are read correctly from files of the system, and tables in the code agree with their sources."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch

from refilm.doctor import Check, Section, devices, environment, examined, fit, software, storage
from refilm.doctor.limits import Limits, read_limits
from refilm.doctor.probe import measure
from refilm.doctor.published import BRANCHES, PUBLISHED, PublishedModel

ROOT = Path(__file__).parents[2]


def test_a_failing_section_is_a_problem_and_the_others_run():
    def fails():
        yield Check("first", "ok", "before it fails")
        raise RuntimeError("no such bus\nsecond line")

    last = Check("last", "ok", "after it")
    first, failed, *rest = examined([Section("bus", fails), Section("other", lambda: [last])])
    assert (first.name, rest) == ("first", [last])
    assert (failed.name, failed.status) == ("bus", "problem")
    assert "RuntimeError: no such bus" in failed.finding
    assert "second" not in failed.finding


def files(root: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_limits_of_control_groups(tmp_path):
    groups = {
        "job/cpu.max": "400000 100000",
        "job/memory.max": "8589934592",
        "job/memory.current": "1073741824",
        "job/step/cpu.max": "max 100000",
        "job/step/memory.max": "max",
    }
    own = files(tmp_path, {"self": "0::/job/step"}) / "self"
    assert read_limits(files(tmp_path / "v2", groups), own) == Limits(4.0, 8 << 30, 1 << 30)
    groups = {
        "cpu/docker/cpu.cfs_quota_us": "150000",
        "cpu/docker/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }
    own.write_text("4:memory:/docker\n3:cpu,cpuacct:/docker\n1:name=systemd:/docker\n")
    assert read_limits(files(tmp_path / "v1", groups), own) == Limits(1.5)
    assert read_limits(tmp_path, tmp_path / "no such file") == Limits()


def test_kernels_run_on_gpus_of_their_major_version():
    built = ["sm_75", "sm_80", "sm_90a", "sm_100"]
    on = {
        capability: devices.has_kernels(built, capability) for capability in [(7, 0), (8, 9), (9, 0), (10, 3), (12, 0)]
    }
    assert on == {(7, 0): False, (8, 9): True, (9, 0): True, (10, 3): True, (12, 0): False}
    assert devices.has_kernels([*built, "compute_100"], (12, 0))


def test_a_folder_is_tried_and_left_as_it_was(tmp_path):
    facts = storage.gather("result", tmp_path / "not" / "there")
    assert (facts.error, facts.locks, facts.wal) == ("", True, True)
    assert facts.free > 0
    assert list(tmp_path.iterdir()) == []
    assert storage.gather("result", Path("/proc")).error  # no file can be created there, even by root


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path}/with\\040space nfs4 rw 0 0\n")
    assert storage.file_system(tmp_path / "with space" / "deeper", mounts) == "nfs4"
    assert storage.file_system(tmp_path, mounts) == "ext4"


def test_tested_versions_are_the_constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert software.TESTED.items() <= pinned.items()


def test_every_extra_has_a_use():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras.keys() - {"dev"} <= software.USES.keys()


def test_every_variable_of_refilm_is_known():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "refilm").rglob("*.py")]
    assert {name for text in sources for name in re.findall(r"\bREFILM_[A-Z_]+\b", text)} <= environment.KNOWN.keys()


def test_the_published_models_are_as_counted():
    result = json.loads((ROOT / "benchmarks" / "results" / "generation_memory.json").read_text())
    assert result["branches"] == BRANCHES
    for model, counted in zip(PUBLISHED, result["models"].values(), strict=True):
        parameters = {name.replace(" ", "_"): number for name, number in counted["parameters"].items()}
        step, decode = counted["step"], counted["decode"]
        assert model == PublishedModel(
            counted["name"],
            model.source,
            **parameters,
            step_tflop=step["tflop"],
            attention_tflop=step["attention_tflop"],
            step_activations=step["activations"],
            decode_tflop=decode["tflop"],
            decode_activations=decode["activations"],
        )


ROUND = PublishedModel("round", "me/round", 2000, 100, 3000, 500, 1000, 30.0, 10.0, 400, 100.0, 8000)


def test_memory_and_time_of_a_model():
    assert fit.bytes_needed(ROUND, itemsize=2, low=False) == 2 * 6600 + 8000
    assert fit.bytes_needed(ROUND, itemsize=2, low=True) == 2 * 100 + 2 * 1000 + 8000
    assert fit.bytes_needed(ROUND, itemsize=4, low=True) == 2 * fit.bytes_needed(ROUND, itemsize=2, low=True)
    assert fit.hours(ROUND, fit.Rates(1e12, 2e12), steps=10) == pytest.approx((10 * 20 + 100 + 10 * 10 / 2) / 3600)


@pytest.mark.parametrize(
    ("memory", "status", "finding"),
    [
        (50_000, "ok", "fits: needs"),
        (25_000, "ok", "fits with `--memory low`: needs"),
        (11_000, "ok", "fits with `--memory low --dtype bfloat16`: needs"),
        (9_000, "warning", "does not fit"),
    ],
)
def test_a_model_fits_with_the_first_mode_that_does(memory, status, finding):
    rates = fit.Rates(1e12, 1e12)
    (check,) = fit.judge(fit.PlaceFacts("cpu", memory, "float32", rates, (ROUND,)))
    assert check.status == status
    assert check.finding.startswith(finding)
    assert ("takes an estimated 27 min" in check.finding) == (status == "ok")


def test_a_model_that_takes_days_is_a_warning():
    (check,) = fit.judge(fit.PlaceFacts("cpu", 50_000, "float32", fit.Rates(1e9, 1e9), (ROUND,)))
    assert check.status == "warning"
    assert "days" in check.finding


def test_rates_are_of_the_right_order():
    rates = measure(torch.device("cpu"), torch.float32)
    assert 1e8 < rates.attention < 1e14
    assert 1e8 < rates.product < 1e14
