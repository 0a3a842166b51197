"""Every error message on the troubleshooting page is one of refilm's source, word for word."""

import ast
import re
from functools import cache

import pytest

from .pages import DOCS, ROOT

HEADINGS = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
MESSAGES = [match[1] for heading in HEADINGS if (match := re.fullmatch(r"`([^`]+)`", heading))]


@cache
def texts() -> str:
    """All texts of the source, one per line, with "…" for each value that a text is filled with."""
    found = []
    for path in (ROOT / "src" / "refilm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(" ".join(text.split()) for text in found).replace("%s", "…")


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_in_the_source(message):
    found = message in texts()
    assert found, message  # not in the condition: pytest would print all texts


def test_messages_are_found_and_wrong_ones_noticed():
    assert len(MESSAGES) > 25
    assert "…: already contains a run; add --again to continue it" not in texts()
