"""Progress bars and spinners show names as they are."""

from io import StringIO

import pytest
from rich.console import Console

from refilm.cli import console

NAME = "a[@click=foo](.:smile:[red]b.mp4"


@pytest.fixture
def shown(monkeypatch) -> StringIO:
    """What a terminal shows."""
    terminal = Console(file=StringIO(), force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(console, "terminal", terminal)
    return terminal.file


def test_a_name_on_a_progress_bar_is_no_markup(shown):
    with console.bar(NAME, 2) as advance:
        pass
    assert NAME in shown.getvalue()
    with console.bar("", 2) as advance:
        advance(f"2\x1b[2J{NAME}")
    assert f"2\\x1b[2J{NAME}" in shown.getvalue()


def test_a_name_on_a_spinner_is_no_markup(shown):
    with console.working(NAME):
        pass
    assert NAME in shown.getvalue()
