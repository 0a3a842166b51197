"""Any name or caption is printed as one harmless line."""

import pytest

from refilm.printable import printable


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("a fox läuft, 狐 🦊", "a fox läuft, 狐 🦊"),
        (b"caf\xe9.mp4".decode("utf-8", "surrogateescape"), r"caf\xe9.mp4"),
        ("half \ud83e", r"half \ud83e"),
        ("\x1b[2J\x1b]0;mine\x07", r"\x1b[2J\x1b]0;mine\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("two\nlines\r", r"two\x0alines\x0d"),
        ("4pm\u202e.exe\u2066", r"4pm\u202e.exe\u2066"),
        ("نص\u200c‏", "نص\u200c\\u200f"),
    ],
)
def test_what_could_steer_a_terminal_is_spelled(text, spelled):
    assert printable(text) == spelled
    printable(text).encode()
