"""What is right, what is wrong, and how to fix it, for given facts."""

from dataclasses import replace
from pathlib import Path

import pytest

from refilm.doctor import devices, environment, models_cache, processor, software, storage, video_encoders
from refilm.doctor.checks import Check
from refilm.doctor.devices import Device, DeviceFacts
from refilm.doctor.environment import EnvironmentFacts
from refilm.doctor.limits import Limits
from refilm.doctor.models_cache import CacheFacts
from refilm.doctor.processor import ProcessorFacts
from refilm.doctor.software import SoftwareFacts
from refilm.doctor.storage import FolderFacts
from refilm.doctor.video_encoders import EncoderFacts

GIB = 1 << 30
SOURCE = Path("/src/refilm")
INSTALLED = SoftwareFacts(
    "3.12.1",
    "0.1.0",
    SOURCE,
    required={"torch": ">=2.11", "numpy": ">=2"},
    extras={"lora": ("peft",), "quant": ("torchao",)},
    versions={"torch": "2.13.0+cu130", "numpy": "2.4.0", "peft": "0.21.0"},
)
H100 = Device("H100", 80 * GIB, 79 * GIB, (9, 0))
GPU = DeviceFacts("CUDA", "13.0", "580.95.05", devices=(H100,))
MACHINE = ProcessorFacts(16, 16, 8, total=64 * GIB, available=60 * GIB, shared=32 * GIB)
FOLDER = FolderFacts("result", Path("videos"), "ext4", 100 * GIB)


def versions(**changed: str) -> SoftwareFacts:
    return replace(INSTALLED, versions={**(INSTALLED.versions or {}), **changed})


def judged(facts) -> list[Check]:
    if isinstance(facts, FolderFacts):
        return [storage.judge(facts)]
    module = {
        SoftwareFacts: software,
        DeviceFacts: devices,
        ProcessorFacts: processor,
        CacheFacts: models_cache,
        EncoderFacts: video_encoders,
        EnvironmentFacts: environment,
    }[type(facts)]
    return list(module.judge(facts))


GOOD = [
    INSTALLED,
    replace(INSTALLED, installed=Path("/src")),
    GPU,
    DeviceFacts("CPU"),
    MACHINE,
    replace(MACHINE, threads=4, environment={"OMP_NUM_THREADS": "4"}, load=14.0),  # others use the rest
    replace(MACHINE, environment={"OMP_WAIT_POLICY": "active"}, load=1.0),
    FOLDER,
    replace(FOLDER, purpose="cache", kind="nfs4", wal=False),  # has no database
    CacheFacts(Path("hub"), ("me/mine",), GIB, token=True, offline=("HF_HUB_OFFLINE",)),
    CacheFacts(Path("hub"), (), 0, token=False),
    EncoderFacts("18.1.0", "8.1", {".mp4 (libx264)": True}),
    EnvironmentFacts({"REFILM_TOKEN": "secret", "HOME": "/root"}, {"files": "utf8", "output": "UTF-8"}),
]


@pytest.mark.parametrize("facts", GOOD)
def test_nothing_is_wrong(facts):
    checks = judged(facts)
    assert checks
    assert {(check.status, check.fix) for check in checks} == {("ok", "")}


WRONG = [
    (replace(INSTALLED, python="3.10.2"), "Python", "problem", "Install Python 3.11"),
    (replace(INSTALLED, refilm=None), "refilm", "warning", "pip install -e ."),
    (replace(INSTALLED, installed=Path("/other")), "refilm", "warning", "PYTHONPATH"),
    (versions(torch="2.9.1+cu128"), "torch", "problem", "Install torch 2.11 or newer"),
    (versions(torch="2.10.0"), "torch", "problem", "Install torch 2.11 or newer"),
    (versions(numpy="1.26.4"), "package numpy", "problem", 'pip install "numpy>=2"'),
    (versions(numpy="3.0.0"), "packages", "warning", "constraints.txt"),
    (replace(GPU, build="CPU", devices=()), "torch build", "problem", "Install a CUDA build"),
    (DeviceFacts("CUDA", "13.0"), "torch build", "warning", "--gpus all"),
    (replace(GPU, devices=(), visible=""), "torch build", "problem", "Unset CUDA_VISIBLE_DEVICES"),
    (replace(GPU, devices=(), reason="driver too old"), "torch build", "problem", "Update the NVIDIA driver"),
    (replace(GPU, devices=(replace(H100, free=40 * GIB),)), "GPU 0", "warning", "Stop the other processes"),
    (replace(GPU, devices=(replace(H100, supported=False),)), "GPU 0", "problem", "supports this GPU"),
    (replace(GPU, devices=(replace(H100, capability=(7, 5)),)), "bfloat16", "warning", "--dtype float16"),
    (replace(MACHINE, threads=16, limits=Limits(cores=4)), "threads", "warning", "OMP_NUM_THREADS=4"),
    (replace(MACHINE, threads=1, limits=Limits(cores=0.5)), "threads", "ok", ""),
    (
        replace(MACHINE, threads=1, environment={"OMP_NUM_THREADS": "1"}),
        "threads",
        "warning",
        "Unset OMP_NUM_THREADS",
    ),
    (
        replace(MACHINE, environment={"OMP_WAIT_POLICY": "ACTIVE"}, load=15.0),
        "waiting threads",
        "warning",
        "Unset OMP_WAIT_POLICY",
    ),
    (replace(MACHINE, limits=Limits(memory=8 * GIB, used=6 * GIB)), "memory", "warning", "raise the memory limit"),
    (replace(MACHINE, shared=64 << 20), "shared memory", "warning", "--shm-size"),
    (replace(FOLDER, error="Permission denied"), "result folder", "problem", "Make it writable"),
    (replace(FOLDER, locks=False), "result folder", "problem", "with locks"),
    (replace(FOLDER, wal=False), "result folder", "warning", "local disk"),
    (replace(FOLDER, kind="nfs4"), "result folder", "warning", "local disk"),
    (replace(FOLDER, purpose="cache", free=GIB // 2), "cache folder", "warning", "HF_HOME"),
    (
        CacheFacts(Path("hub"), (), 0, token=False, offline=("HF_HUB_OFFLINE",)),
        "Hub access",
        "warning",
        "Unset HF_HUB_OFFLINE",
    ),
    (EncoderFacts("18.1.0", "8.1", {".mp4 (libx264)": False}), "video encoders", "problem", "--only-binary av"),
    (EnvironmentFacts({"REFILM_TOKN": "x"}), "variables of refilm", "warning", "REFILM_TOKEN"),
    (EnvironmentFacts({}, {"output": "ANSI_X3.4-1968"}), "encodings", "warning", "PYTHONUTF8=1"),
]


@pytest.mark.parametrize(("facts", "name", "status", "fix"), WRONG)
def test_one_thing_is_wrong(facts, name, status, fix):
    checks = {check.name: check for check in judged(facts)}
    assert checks[name].status == status
    assert fix in checks[name].fix
    assert bool(checks[name].fix) == (status != "ok")
    assert all(check.fix.endswith(".") and check.fix[0].isupper() for check in checks.values() if check.fix)
    assert {check.name for check in checks.values() if check.status != "ok"} <= {name}


def test_missing_extras_are_named_with_what_needs_them():
    (extras,) = [check for check in judged(INSTALLED) if check.name == "extras"]
    assert "installed: lora" in extras.finding
    assert "torchao missing, needed for `base_dtype" in extras.finding
    assert "refilm[quant]" in extras.finding


def test_secrets_are_not_shown():
    variables = {"REFILM_TOKEN": "s3cret", "HF_TOKEN": "s3cret", "HF_ENDPOINT": "https://me:s3cret@hub.example"}
    findings = " ".join(check.finding for check in judged(EnvironmentFacts(variables)))
    assert "s3cret" not in findings
    assert "REFILM_TOKEN=(set, not shown)" in findings
    assert "HF_ENDPOINT=https://***@hub.example" in findings


def test_sqlite():
    assert storage.judge_sqlite((3, 40, 1)).status == "ok"
    assert "3.35 or newer" in storage.judge_sqlite((3, 34, 0)).fix
