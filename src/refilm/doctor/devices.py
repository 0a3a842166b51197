"""torch's build, the driver, and the devices that torch can compute on."""

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refilm.doctor.checks import Check, gib, ok, problem, warning
from refilm.files import read_text

DRIVER = Path("/proc/driver/nvidia/version")
CPUINFO = Path("/proc/cpuinfo")
INSTALL = "https://pytorch.org/get-started/locally"
LEAST_FREE = 0.8  # of a GPU's memory


@dataclass(frozen=True)
class Device:
    """A GPU."""

    name: str
    total: int
    """Bytes of memory."""
    free: int
    """Bytes that no process uses."""
    capability: tuple[int, int] | None = None
    """Compute capability of an NVIDIA GPU."""
    supported: bool = True
    """Whether torch has kernels for it."""


@dataclass(frozen=True)
class DeviceFacts:
    """What torch and the system say about devices."""

    build: Literal["CPU", "CUDA", "ROCm"]
    version: str = ""
    """Version of CUDA or ROCm."""
    driver: str | None = None
    """Version of the NVIDIA driver. None: no NVIDIA GPU was found."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES."""
    devices: tuple[Device, ...] = ()
    reason: str = ""
    """Why torch found no GPU, in its own words."""
    native: bool = False
    """Whether the processor has instructions for bfloat16."""


def gather() -> DeviceFacts:
    """Ask torch and the driver."""
    import torch

    build = "CUDA" if torch.version.cuda else "ROCm" if torch.version.hip else "CPU"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    return DeviceFacts(
        build,
        torch.version.cuda or torch.version.hip or "",
        driver_version(),
        os.environ.get("CUDA_VISIBLE_DEVICES"),
        tuple(map(_device, range(torch.cuda.device_count()))) if found else (),
        " ".join(str(each.message).split("(")[0].strip() for each in caught),
        bool(re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", read_text(CPUINFO))) if CPUINFO.is_file() else False,
    )


def driver_version() -> str | None:
    """The version of the NVIDIA driver, from the kernel or from nvidia-smi. None: there is none."""
    if DRIVER.is_file():
        found = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", read_text(DRIVER))
        return found[0] if found else "unknown version"
    program = shutil.which("nvidia-smi")  # under WSL
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, errors="replace")
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def _device(index: int) -> Device:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    name = torch.cuda.get_device_name(index)
    if torch.version.hip:
        return Device(name, total, free)
    capability = torch.cuda.get_device_capability(index)
    return Device(name, total, free, capability, has_kernels(torch.cuda.get_arch_list(), capability))


def has_kernels(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Whether kernels for some architectures run on a GPU. Those for `sm_XY` run on GPUs of the same major version;
    `compute_XY` is compiled for all newer ones when it is loaded."""
    for kind, major, minor in re.findall(r"(sm|compute)_(\d+)(\d)", " ".join(architectures)):
        own = int(major), int(minor)
        if own <= capability and (kind == "compute" or own[0] == capability[0]):
            return True
    return not architectures


def judge(facts: DeviceFacts) -> Iterator[Check]:
    """Checks of the build, each device, and bfloat16."""
    yield _build(facts)
    if facts.driver is not None:
        yield ok("NVIDIA driver", facts.driver)
    for index, device in enumerate(facts.devices):
        yield _gpu(f"GPU {index}", device)
    yield _bfloat16(facts)


def _build(facts: DeviceFacts) -> Check:
    name, what = "torch build", f"{facts.build} {facts.version}".strip()
    if facts.devices:
        return ok(name, f"{what}, {len(facts.devices)} GPU{'s' * (len(facts.devices) > 1)}")
    if facts.build == "CPU":
        if facts.driver is None:
            return ok(name, "CPU, no NVIDIA GPU found")
        return problem(
            name,
            f"CPU, although there is an NVIDIA GPU (driver {facts.driver}), which torch cannot use",
            f"Install a CUDA build of torch, with the command of {INSTALL}.",
        )
    if facts.driver is None:
        return warning(
            name,
            f"{what}, but no GPU was found; everything runs on the CPU",
            "On a machine without a GPU, a CPU build is a smaller download: "
            "`pip install torch --index-url https://download.pytorch.org/whl/cpu`. "
            "If it has one, install its driver; in a container, pass the GPU with `--gpus all`.",
        )
    if facts.visible is not None:
        return problem(
            name,
            f"{what} finds no GPU, with CUDA_VISIBLE_DEVICES={facts.visible!r}",
            "Unset CUDA_VISIBLE_DEVICES, or set it to the number of a GPU in the list of nvidia-smi.",
        )
    return problem(
        name,
        f"{what} finds no GPU with driver {facts.driver}" + (f": {facts.reason}" if facts.reason else ""),
        f"Update the NVIDIA driver, or install a torch build for an older CUDA, with the command of {INSTALL}.",
    )


def _gpu(name: str, device: Device) -> Check:
    finding = f"{device.name}, {gib(device.free)} of {gib(device.total)} free"
    if not device.supported:
        assert device.capability is not None
        return problem(
            name,
            f"{finding}; this torch has no kernels for its compute capability {device.capability[0]}."
            f"{device.capability[1]}",
            f"Install a torch build that supports this GPU, with the command of {INSTALL}.",
        )
    if device.free < LEAST_FREE * device.total:
        return warning(
            name,
            finding,
            "Stop the other processes that nvidia-smi lists, or choose another GPU with `--device` or "
            "CUDA_VISIBLE_DEVICES.",
        )
    return ok(name, finding)


def _bfloat16(facts: DeviceFacts) -> Check:
    slow = [device.name for device in facts.devices if device.capability is not None and device.capability < (8, 0)]
    if slow:
        return warning(
            "bfloat16",
            f"emulated, and therefore slow, on {', '.join(slow)} (fast from compute capability 8.0)",
            "Try `--dtype float16`, which these GPUs compute fast.",
        )
    if facts.devices:
        return ok("bfloat16", "fast; the default on a GPU")
    how = "has instructions for it" if facts.native else "has no instructions for it, so it is emulated"
    return ok("bfloat16", f"this processor {how}; the default on a CPU is float32")
