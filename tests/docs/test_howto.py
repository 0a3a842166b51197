"""The how-to pages: their edits are applied to a copy of the repository, where their tests and examples pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import DOCS, ROOT, blocks, edit, edits_source

PAGES = [page for path in sorted(DOCS.rglob("*.md")) if edits_source(page := str(path.relative_to(DOCS)))]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the repository with the edits of all how-to pages."""
    root = tmp_path_factory.mktemp("copy")
    large = shutil.ignore_patterns("__pycache__", "*.safetensors", "fixtures")
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=large)
    for weights in (ROOT / "src").rglob("*.safetensors"):
        (root / weights.relative_to(ROOT)).symlink_to(weights)
    shutil.copy(ROOT / "pyproject.toml", root)
    for page in PAGES:
        for block in blocks(page):
            if block.title and block.kind in ("diff", "python"):
                edit(block, root)
    return root


def test_the_pages_pass_their_tests_and_run(copy):
    titles = {block.title for page in PAGES for block in blocks(page)}
    tests = sorted(title for title in titles if title.startswith("tests/"))
    assert len(tests) >= len(PAGES)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            *tests,
            "tests/docs/patched.py",
        ],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_edits_pass_the_linter(copy):
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        done = subprocess.run([ruff, *command, "src", "tests"], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
