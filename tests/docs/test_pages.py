"""The code of every docs page runs, in order. Pages that edit the source run in `test_howto.py`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refilm.data import critters

from .pages import DOCS, Session, blocks, edits_source


def mp4s(*names: str) -> set[str]:
    """Videos of `refilm generate`, with their recipes."""
    return {f"{name}.mp4{beside}" for name in names for beside in ("", ".json")}


VIDEOS = {*mp4s("video"), "video.attention.mp4", "video.attention.png"}
EXPLAINED = ("fox-1.attention", "ball-1.attention", "subjects")
ALONE = {
    "extending.md": VIDEOS,
    "weights.md": set(),
    "read-the-model.md": set(),
    "api/index.md": {"video.mp4"},
    "howto/direct-subjects.md": {"video.toml", "fox.subject", *mp4s("views", "subjects", "recipe", "file")},
    "howto/direct-where.md": {
        *mp4s("mask", "words", "both", "explained"),
        *(f"explained.{what}.{kind}" for what in EXPLAINED for kind in ("mp4", "png")),
    },
    "howto/direct-when.md": mp4s("appears", "later", "weaker"),
    "howto/direct-guidance.md": mp4s("stronger", "apart", "early", "away", "projected", "rescaled"),
    "howto/speed.md": {"magnitudes.json", *mp4s("fast")},
    "howto/longer-videos.md": mp4s("long", "smooth"),
    "howto/remember.md": {*mp4s("fox", "fox-again", "fox-again-2", "other", "long"), "fox.state"},
    "howto/drafts.md": {"drafts", "scales", "grid", "prompts"},
    "howto/batch.md": {"jobs.jsonl", "jobs.csv", "videos", "table"},
    "howto/evaluate.md": {"scores", "weaker", "elsewhere", "listed", "videos.jsonl", "mine", "mine-scores"},
    "concepts/metrics.md": set(),
    "critters.md": {"clips", "held", "pairs", "photos"},
    "howto/previews.md": {"drawn", "preview.safetensors"},
    "getting-started.md": VIDEOS | {"unseen", "tiny.toml", "tiny-cache", "runs", "python.mp4", *mp4s("tiny")},
}
"""The files that each page makes."""
TUTORIAL = "own-subject.md"
CONTINUED = ("data.md", "training.md")
"""Pages that use the files of the tutorial."""
NOT_RUN = ("cogvideox-2b.md", "api/training.md", "howto/serve.md")
# needs a GPU; runs again what another page runs; runs in tests/serving/test_api.py
WITHOUT_REFERENCES = ("refilm data check clips/manifest.jsonl",)  # the page says that it fails


def test_every_page_with_code_is_run():
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    with_code = {page for page in pages if any(block.kind in ("python", "sh", "toml") for block in blocks(page))}
    listed = {*ALONE, TUTORIAL, *CONTINUED, *NOT_RUN}
    assert with_code - {page for page in pages if edits_source(page)} == listed


def draw_images(fox: Path) -> set[str]:
    """The images that pages use: two views of a critter, another one, and a mask."""
    shutil.copy(fox, "fox.png")
    rng, other = np.random.default_rng(1), critters.subjects("held_out")[7]
    Image.fromarray(critters.portrait(critters.subjects("held_out")[0], rng, size=256)).save("side.png")
    Image.fromarray(critters.portrait(other, rng, size=256)).save("ball.png")
    Image.fromarray(np.pad(np.full((64, 32), 255, np.uint8), ((0, 0), (0, 32)))).save("left.png")
    return {"fox.png", "side.png", "ball.png", "left.png"}


@pytest.mark.parametrize(("page", "made"), ALONE.items())
def test_a_page_runs(page, made, fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    images = draw_images(fox)
    Session(refilm).run(page)
    assert {path.name for path in tmp_path.iterdir()} == {*images, *made}


def test_the_tutorial_runs_and_the_guides_continue_it(fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, "fox.png")
    session = Session(refilm, fails=WITHOUT_REFERENCES)
    session.run(TUTORIAL)
    assert (tmp_path / "runs" / "mine" / "adapter" / "adapter.safetensors").is_file()
    for page in CONTINUED:
        session.run(page)
