"""Text from files as a terminal, a page or JSON may have it: what steers terminals or cannot be encoded is spelled.

Names of files come from anyone, and may hold any bytes. Python keeps bytes that are not UTF-8 as surrogates, which
no writer takes.
"""

import re

ODD = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, which begin a terminal's commands
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # directions, which make a name read as another
    "\u2028\u2029"  # ends of lines
    "\ud800-\udfff"  # bytes that are not UTF-8, and halves of UTF-16
    "]"
)
BYTES = range(0xDC80, 0xDD00)  # how `surrogateescape` keeps the bytes 80 to ff


def printable(text: str) -> str:
    r"""The text in one line, its odd characters spelled as in Python: `caf\xe9.mp4` for a name in Latin-1."""
    return ODD.sub(lambda found: _spelled(ord(found[0])), text)


def _spelled(code: int) -> str:
    if code in BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
