"""What docs/names.md and docs/differences.md name exists: in the package, or as a setting."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from refilm.generation import Request
from refilm.training.diffusion import DiffusionSettings
from refilm.training.loop import LoopSettings
from refilm.training.optimizers import OptimizerSettings

DOCS = Path(__file__).parents[2] / "docs"
ROOMS = ("checkpoints", "data", "diffusion", "encoders", "generation", "media", "model", "sizes", "training")
SETTINGS = {"diffusion": DiffusionSettings, "loop": LoopSettings}


def ours():
    """Names within code marks; in tables of two or three columns those of the second."""
    for page in ("names", "differences"):
        for line in (DOCS / f"{page}.md").read_text().splitlines():
            if line.startswith("| ") and not line.startswith("| ---"):
                yield from re.findall(r"`([^`]+)`", line.split(" | ")[1])


@pytest.mark.parametrize("name", sorted(set(ours())))
def test_it_exists(name):
    room, *rest = re.match(r"[\w.]*", name)[0].split(".")
    if room in SETTINGS and rest and rest[0] in SETTINGS[room].model_fields:
        return
    if room in ROOMS and rest:
        found = import_module(f"refilm.{room}")
        for part in rest:
            found = getattr(found, part) if hasattr(found, part) else import_module(f"{found.__name__}.{part}")
    elif "=" in name and room not in ("", "refilm", "weights_only"):
        assert room in Request.model_fields


def test_settings_of_the_optimizer():
    assert {"learning_rate", "weight_decay", "clip", "ema"} <= set(OptimizerSettings.model_fields)
