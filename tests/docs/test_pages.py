"""The code of every docs page runs, in order. Pages that edit the source run in `test_howto.py`."""

import shutil

import pytest

from .pages import DOCS, Session, blocks, edits_source

VIDEOS = {"video.mp4", "video.attention.mp4", "video.attention.png"}
ALONE = {
    "extending.md": VIDEOS,
    "weights.md": set(),
    "read-the-model.md": set(),
    "api/index.md": {"video.mp4"},
    "howto/direct-guidance.md": {f"{name}.mp4" for name in ("stronger", "apart", "early", "projected", "rescaled")},
    "getting-started.md": VIDEOS | {"unseen", "tiny.toml", "tiny-cache", "runs", "tiny.mp4", "python.mp4"},
}
"""The files that each page makes."""
TUTORIAL = "own-subject.md"
CONTINUED = ("data.md", "training.md")
"""Pages that use the files of the tutorial."""
NOT_RUN = ("cogvideox-2b.md", "api/training.md")  # needs a GPU; runs again what another page runs
WITHOUT_REFERENCES = ("refilm data check clips/manifest.jsonl",)  # the page says that it fails


def test_every_page_with_code_is_run():
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    with_code = {page for page in pages if any(block.kind in ("python", "sh", "toml") for block in blocks(page))}
    listed = {*ALONE, TUTORIAL, *CONTINUED, *NOT_RUN}
    assert with_code - {page for page in pages if edits_source(page)} == listed


@pytest.mark.parametrize(("page", "made"), ALONE.items())
def test_a_page_runs(page, made, fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, "fox.png")
    Session(refilm).run(page)
    assert {path.name for path in tmp_path.iterdir()} == {"fox.png", *made}


def test_the_tutorial_runs_and_the_guides_continue_it(fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, "fox.png")
    session = Session(refilm, fails=WITHOUT_REFERENCES)
    session.run(TUTORIAL)
    assert (tmp_path / "runs" / "mine" / "adapter" / "adapter.safetensors").is_file()
    for page in CONTINUED:
        session.run(page)
