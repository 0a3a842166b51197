"""The README's code runs in its order, in a folder like a fresh clone, with fewer clips and steps."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ..docs.pages import BLOCK, ROOT, Block, Session


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch, refilm):
    """Only images that earlier commands wrote exist. The first command runs as the Makefile runs it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^```\nmake demo ", text, re.MULTILINE)
    (demo,) = re.findall(r"^\t\$\(BIN\)/(refilm demo .*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", f"{demo} --steps 2"], check=True, timeout=1200, env=os.environ | {"PATH": path})
    blocks = [Block(*found) for found in BLOCK.findall(text)]
    assert [block.kind for block in blocks] == ["python", "sh"]
    Session(refilm).run_blocks(blocks, "README.md")
    for made in ("demo/index.html", "video.mp4", "OUT/manifest.jsonl", "runs/critters/adapter/adapter.safetensors"):
        assert Path(made).is_file()
