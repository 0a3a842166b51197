"""The road from files to a cache on the command line; several processes make one cache."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refilm.cli.encoding import EncodingPace
from refilm.data.checking import CheckSettings, check
from refilm.data.checking.check import TokenCounter
from refilm.data.encoding import EncodedSet, EncodeProgress


@pytest.fixture
def clips(refilm, tmp_path) -> Path:
    """Three checked clips."""
    folder = tmp_path / "clips"
    assert refilm("data", "critters", folder, "--clips", 3).exit_code == 0
    settings = CheckSettings(frames=17, height=32, width=32, tokens=24)
    list(
        check(
            folder, settings, counter=TokenCounter(count=lambda caption: len(caption.split()), base="tiny"), workers=2
        )
    )
    return folder


def test_from_files_to_a_cache(refilm, clips, tiny_base, tmp_path):
    cache = tmp_path / "cache"
    words = ["data", "encode", clips, "--base", tiny_base, "--out", cache, "--views", 1]
    first = refilm(*words)
    assert first.exit_code == 0, first.stderr
    assert "encoding clips: 3 of 3\n" in first.stderr
    assert "3 clips in 1 sizes; " in first.stdout
    assert "; newly encoded: 3 captions, 6 references, 3 clips" in first.stdout
    found = EncodedSet(cache)
    assert found[0].references.shape[:2] == (2, 2)
    assert found.entries[2].video == str(clips / "videos" / "00003.mp4")
    assert refilm(*words).stdout == f"{cache}: 3 clips in 1 sizes; everything was already encoded\n"

    assert refilm("data", "verify", cache).stdout == f"{cache}: no damage found\n"
    (shard,) = cache.glob("latents-*.safetensors")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    verified = refilm("data", "verify", cache)
    assert verified.exit_code == 1
    assert f"{shard}: the content differs from what was written (sha256)\n" in verified.stdout
    assert "run refilm data encode again" in verified.stdout
    assert "; newly encoded: 3 clips" in refilm(*words).stdout
    assert shard.read_bytes() == content

    (clips / "labels" / "00001.txt").write_text("another caption\n")
    changed = refilm(*words)
    assert (changed.exit_code, changed.stdout) == (2, "")
    assert "has changed since the check" in changed.stderr


def test_processes_make_a_cache_together(clips, tiny_base, tmp_path):
    cache = tmp_path / "cache"
    command = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2", "-m", "refilm.cli"]
    words = ["data", "encode", clips, "--base", tiny_base, "--out", cache, "--workers", "1"]
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=600, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 clips in 1 sizes") == 1
    assert len(EncodedSet(cache)) == 3
    assert len(list(cache.glob("latents-*.safetensors"))) == 2


def test_what_was_never_checked_is_refused(refilm, tmp_path):
    assert refilm("data", "critters", tmp_path / "clips", "--clips", 1).exit_code == 0
    result = refilm("data", "encode", tmp_path / "clips", "--out", tmp_path / "cache")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has not been checked; run: refilm data check" in result.stderr
    assert not (tmp_path / "cache").exists()


def test_the_time_that_is_left_follows_from_the_pace_of_its_kind(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = EncodingPace()
    lines = []
    for now[0], what, done in ((0.0, "captions", 16), (1.0, "captions", 32), (60.0, "clips", 2), (90.0, "clips", 12)):
        lines.append(pace.take(EncodeProgress(what, done, 112)))
    assert lines == [
        "encoding captions: 16 of 112",
        "encoding captions: 32 of 112, 5.0 s left",
        "encoding clips: 2 of 112",
        "encoding clips: 12 of 112, 5 min 00 s left",
    ]
