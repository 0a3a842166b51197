"""The README's code runs in its order, with shorter training and fewer sampler steps."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(python|sh|console|)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SHORTER = {
    "refilm demo": "--steps 2",
    "refilm generate": "--steps 2",
    "refilm data critters": "--clips 4",
    "refilm train": "--set loop.steps=2 --set data.clips=4 --set data.held_out_clips=4 --set base=pocket "
    "--set 'diffusion.curriculum=[{until=2, latent_frames=1, batch=2}]'",
}


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """In a folder like a fresh clone: only images that earlier commands wrote exist."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert [kind for kind, _ in BLOCKS[:3]] == ["", "python", "sh"]  # make demo, then Python, then commands
    assert BLOCKS[0][1].startswith("make demo ")
    (demo,) = re.findall(r"^\t\$\(BIN\)/(refilm demo .*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run(demo)
    for kind, code in BLOCKS[1:3]:
        if kind == "python":
            exec(compile(code, "README.md", "exec"), {})
            assert Path("video.mp4").stat().st_size > 0
            Path("video.mp4").unlink()
        else:
            run(code)
    for made in ("demo/index.html", "video.mp4", "OUT/manifest.jsonl"):
        assert Path(made).is_file()


def run(code: str) -> None:
    """Run the lines in a shell, with options that make them faster."""
    lines = code.splitlines()
    for start, more in SHORTER.items():
        lines = [f"{line} {more}" if line.startswith(start) else line for line in lines]
    subprocess.run(["sh", "-euc", "\n".join(lines)], check=True, timeout=1200)
