"""The code of docs/extending.md runs, block after block, in one session."""

import re
import shlex
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.MULTILINE | re.DOTALL)


def test_extending(fox, tmp_path, monkeypatch, refilm):
    monkeypatch.chdir(tmp_path)
    shutil.copy(fox, "fox.png")
    session: dict[str, object] = {}
    for kind, code in BLOCKS:
        if kind == "sh":
            result = refilm(*shlex.split(code)[1:], "--steps", 2)
            assert result.exit_code == 0, result.output
        else:
            exec(compile(code, "docs/extending.md", "exec"), session)
    assert {path.name for path in tmp_path.iterdir()} == {"fox.png", "film.mp4", "film.looks.mp4", "film.looks.png"}
