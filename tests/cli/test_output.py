"""A pipe gets whole lines without colors, in any encoding; a terminal gets nothing that steers it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refilm.data.critters.files import write_clips

LONG = "a-folder-with-a-name-as-long-as-the-ones-that-people-give-to-their-folders-of-clips-of-every-day-and-year"
COLORS = {"FORCE_COLOR": "1", "COLUMNS": "40", "TTY_COMPATIBLE": "1"}


def piped(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command in its own process, without a terminal."""
    command = [sys.executable, "-m", "refilm.cli", *words]
    return subprocess.run(command, capture_output=True, env=os.environ | COLORS | environment, timeout=300)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A manifest with a name that few encodings have, and findings."""
    home = tmp_path_factory.mktemp("clips") / LONG
    list(write_clips(home, clips=1, split="train", seed=0))
    line = json.dumps({"video": "🦊 [red]:fox:.mp4", "caption": "a fox", "references": []}, ensure_ascii=False)
    (home / "mine.jsonl").write_text(line + "\n", encoding="utf-8")
    return home / "mine.jsonl"


def test_a_pipe_gets_whole_lines(clips):
    done = piped("data", "check", clips, "--workers", "1", PYTHONIOENCODING="gbk")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.decode("gbk").splitlines()
    assert lines[0] == f"{clips}: 1 clips, 1 cannot be used"
    name = r"\U0001f98a [red]:fox:.mp4"
    missing = f"{clips}:1: '{name}' is not a file in {clips.parent}; fix the path, or add the file"
    assert f"error, missing: 1 clips; first: {missing}" in lines
    assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["data", "check", LONG, "--no-such-option"], ["data", "--help"]])
def test_usage_is_printed_in_plain_lines(words):
    done = piped(*words)
    output = (done.stdout + done.stderr).decode()
    assert "Usage: " in output
    assert not set("\x1b╭│╰─") & set(output)


def test_names_do_not_steer_a_terminal(refilm, tmp_path):
    done = refilm("data", "check", tmp_path / "\x1b[2Jnowhere\u202e")
    assert done.exit_code == 2
    assert r"\x1b[2Jnowhere\u202e: no such file or folder" in done.stderr
    assert "\x1b" not in done.stderr
