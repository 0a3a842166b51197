"""The results of `run.py` as Markdown tables.

    python benchmarks/gpu/report.py results

Writes report.md into the folder and prints it. Imports nothing that may be missing.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FACTS = ("accelerator", "processor", "torch")


def write(folder: Path) -> str:
    """Write `report.md` from all results in a folder, oldest first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    text = "\n".join(section(json.loads(path.read_text())) for path in paths)
    (folder / "report.md").write_text(text)
    return text


def section(result: Mapping[str, Any]) -> str:
    """A part: how it ended, where it was measured, and a row for each case."""
    machine = result.get("machine") or {}
    facts = [str(machine[name]) for name in FACTS if machine.get(name)]
    facts += [f"commit {result['commit']}"] if result.get("commit") else []
    facts += ["tiny sizes: these times mean nothing"] if result.get("tiny") else []
    lines = [f"## {result['part']}: {result['status']}", ""] + ([f"{'; '.join(facts)}.", ""] if facts else [])
    return "\n".join([*lines, *table(result["cases"]), ""])


def table(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A column for each name that a case has, in the order in which they appear."""
    columns = list(dict.fromkeys(name for facts in cases.values() for name in facts))
    if not columns:
        return []
    rows = [["", *columns], ["---", *["---"] * len(columns)]]
    rows += [[name, *(cell(facts.get(column)) for column in columns)] for name, facts in cases.items()]
    return [f"| {' | '.join(row)} |" for row in rows]


def cell(value: Any) -> str:
    """A value as text: numbers with four digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1])))
