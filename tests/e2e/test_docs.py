"""The code of each docs page runs in order, in one session per page."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
VIDEOS = {"video.mp4", "video.attention.mp4", "video.attention.png"}
STEPS = {"mine", "clips", "cache", "mine.toml", "runs", "video.mp4"}
FASTER = {
    "refilm generate": ("--steps", 2),
    "refilm train": (
        *("--set", "loop.steps=2"),
        *("--set", "diffusion.curriculum=[{until=2, latent_frames=1, batch=2}]"),
    ),
}
UNUSABLE = "refilm data check clips/manifest.jsonl"  # the page says that its clips have no references yet


PAGES = {
    "extending.md": VIDEOS,
    "weights.md": set(),
    "data.md": STEPS,
    "training.md": {"mine.toml", "cache", "runs"},
}


@pytest.mark.parametrize(("page", "made"), PAGES.items())
def test_the_page_runs(page, made, fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, "fox.png")
    session: dict[str, object] = {}
    blocks = re.findall(r"^```(python|sh|toml)\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for kind, code in blocks:
        if kind == "sh":
            for line in code.splitlines():
                command(line, refilm)
        elif kind == "toml":
            Path("mine.toml").write_text(code)
        else:
            exec(compile(code, f"docs/{page}", "exec"), session)
    assert {path.name for path in tmp_path.iterdir()} == {"fox.png", *made}


def command(line: str, refilm) -> None:
    """Run a line of a page; slow commands run with fewer steps."""
    if line.startswith("rm -r "):
        shutil.rmtree(line.removeprefix("rm -r "))
        return
    faster = next((more for start, more in FASTER.items() if line.startswith(start)), ())
    result = refilm(*shlex.split(line)[1:], *faster)
    assert result.exit_code == (1 if line == UNUSABLE else 0), result.output
