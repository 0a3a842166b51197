"""Escape text so that it is safe to print or write: control characters and undecodable bytes are spelled out.

File names come from untrusted sources and may contain any bytes. Python represents bytes that are not UTF-8 as
surrogates, which cannot be encoded when the text is written.
"""

import re

ODD = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, which start terminal commands
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # text directions, which can disguise a name
    "\u2028\u2029"  # line separators
    "\ud800-\udfff"  # bytes that are not UTF-8, and lone UTF-16 surrogates
    "]"
)
BYTES = range(0xDC80, 0xDD00)  # how `surrogateescape` represents the bytes 80 to ff


def printable(text: str) -> str:
    r"""The text on one line, with unprintable characters escaped as in Python: `caf\xe9.mp4` for a Latin-1 name."""
    return ODD.sub(lambda found: _spelled(ord(found[0])), text)


def _spelled(code: int) -> str:
    if code in BYTES:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
