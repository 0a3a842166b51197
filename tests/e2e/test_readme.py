"""The README's code runs as it stands there, but for shorter training and fewer steps."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(python|sh|console)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SHORTER = {
    "refilm demo": "--steps 2",
    "refilm generate": "--steps 2",
    "refilm data critters": "--clips 4",
    "refilm train": "--set loop.steps=2 --set data.clips=4 --set data.held_out_clips=4 --set base=pocket "
    "--set 'diffusion.curriculum=[{until=2, latent_frames=1, batch=2}]'",
}


@pytest.fixture
def folder(fox, tmp_path, monkeypatch) -> Path:
    """Like a fresh clone with the reader's picture in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, tmp_path / "fox.png")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_it_shows_both_ways():
    assert {kind for kind, _ in BLOCKS} == {"python", "sh"}


@pytest.mark.parametrize("code", [code for kind, code in BLOCKS if kind == "python"])
def test_python(folder, code):
    exec(compile(code, "README.md", "exec"), {})
    assert (folder / "film.mp4").stat().st_size > 0


@pytest.mark.parametrize("code", [code for kind, code in BLOCKS if kind != "python"])
def test_commands(folder, code):
    lines = [line.removeprefix("$ ") for line in code.splitlines()]
    for start, more in SHORTER.items():
        lines = [f"{line} {more}" if line.startswith(start) else line for line in lines]
    subprocess.run(["sh", "-euc", "\n".join(lines)], check=True, timeout=1200)
    for made in ("demo/index.html", "film.mp4", "OUT/manifest.jsonl"):
        assert (folder / made).is_file()
