"""Images above progress bars."""

import io
import os
import pty
import subprocess
import sys

import numpy as np
from rich.console import Console

from refilm.cli.progress_image import UPPER, half_blocks


def drawn(pixels):
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=200).print(half_blocks(pixels))
    return out.getvalue()


def test_a_character_is_two_pixels():
    pixels = np.array([[[255, 0, 0], [0, 0, 1]], [[0, 255, 0], [0, 0, 2]], [[1, 2, 3], [4, 5, 6]]], np.uint8)
    text = drawn(pixels)
    assert text.count(UPPER) == 4
    assert "38;2;255;0;0;48;2;0;255;0" in text
    assert text.count("38;2;1;2;3;48;2;1;2;3") == 1  # an odd row is its own lower half
    assert drawn(np.zeros((90, 160, 3), np.uint8)).splitlines()[0].count(UPPER) == 40


def test_sampling_shows_the_video_on_a_terminal(tmp_path):
    main, other = pty.openpty()
    words = ["generate", "a critter bounces in the meadow", "--steps", "4", "-o", str(tmp_path / "fox.mp4")]
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-m", "refilm.cli", *words], stderr=other, env=environment)
    os.close(other)
    seen = b""
    try:
        while part := os.read(main, 1 << 16):
            seen += part
    except OSError:  # Linux reports the end of a terminal so
        pass
    assert process.wait() == 0
    assert seen.decode().count(UPPER) >= 4 * 8  # the pocket model's previews have 8 x 8 pixels
