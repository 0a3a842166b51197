"""The code of the docs' pages runs, block after block, in one session a page."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FILMS = {"film.mp4", "film.looks.mp4", "film.looks.png"}


@pytest.mark.parametrize(("page", "made"), [("extending.md", FILMS), ("weights.md", set())])
def test_the_page_runs(page, made, fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, "fox.png")
    session: dict[str, object] = {}
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for kind, code in blocks:
        if kind == "sh":
            faster = ("--steps", 2) if "generate" in code else ()
            result = refilm(*shlex.split(code)[1:], *faster)
            assert result.exit_code == 0, result.output
        else:
            exec(compile(code, f"docs/{page}", "exec"), session)
    assert {path.name for path in tmp_path.iterdir()} == {"fox.png", *made}
