"""Every command and option of refilm that a docs page, the README or CONTRIBUTING mentions exists."""

import re
import shlex

import pytest

from ..command_tree import commands, options
from .pages import DOCS, ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
OTHERS = {"--shutdown-timeout", "--signal", "--"}
"""Options of other programs."""


KNOWN = {name: options(command) | {"--help"} for name, command in commands()}
ALL = set().union(*KNOWN.values())


def fault(line: str) -> str | None:
    """What is wrong with a command line of refilm."""
    words = shlex.split(line.split(" #")[0])
    name = "refilm"
    for word in words[1:]:
        if f"{name} {word}" not in KNOWN:
            break
        name = f"{name} {word}"
    name = "refilm evaluate run" if name == "refilm evaluate" else name  # a suite in place of a command
    if name in ("refilm", "refilm data") and len(words) > 1 and not words[-1].startswith("-"):
        return f"{line}: no such command"
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in KNOWN[name]]
    return f"{line}: {unknown}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page):
    text = page.read_text(encoding="utf-8").replace("\\\n   ", "")
    fences = "\n".join(re.findall(r"^```(?:sh|console|)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = [line for line in fences.splitlines() if line.startswith("refilm ")]
    marks = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines += [mark for mark in marks if mark.startswith("refilm ") and "…" not in mark and "..." not in mark]
    assert [found for line in lines if (found := fault(line))] == []
    named = {mark.split()[0].split("=")[0] for mark in marks if mark.startswith("--")}
    assert named - ALL - OTHERS == set()


def test_wrong_commands_and_options_are_noticed():
    assert fault("refilm generate 'a critter' --likeness 2 -o video.mp4")
    assert fault("refilm data inspect clips")
    assert fault("refilm data check clips --keep usable.jsonl") is None
