"""The machine and the versions that a measurement or a video depends on."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from refilm.files import read_text


def machine() -> dict[str, Any]:
    """What a measurement depends on: processor, accelerator, threads, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """The processor's name; `platform.processor` is empty on most Linux systems."""
    facts = Path("/proc/cpuinfo")
    lines = read_text(facts).splitlines() if facts.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
