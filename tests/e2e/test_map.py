"""The table in CONTRIBUTING.md lists every package and module of refilm and every package of `training/`, in order."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "refilm"


def rows() -> list[list[str]]:
    """The paths in the first column of each row."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("| in `src/refilm/` | contains |\n| --- | --- |\n")[1].split("\n\n")[0]
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines()]


def parts(folder: Path) -> set[str]:
    """Packages, as `name/`, and modules, as `name.py`, directly in a folder of the source."""
    packages = {f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.name for path in folder.glob("*.py") if not path.name.startswith("__")}
    return packages | modules


def test_every_part_is_listed_once():
    listed = [path for row in rows() for path in row]
    assert len(listed) == len(set(listed))
    top = {path for path in listed if path.count("/") == path.endswith("/")}
    assert top == parts(SOURCE)
    packages = {f"training/{name}" for name in parts(SOURCE / "training") if name.endswith("/")}
    assert set(listed) - top == packages


def test_the_rows_are_in_the_order_of_the_import_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [layer.split(" | ") for layer in contracts[0]["layers"]]
    level = {name: number for number, names in enumerate(layers) for name in names}
    levels = [{level[path.split("/")[0].removesuffix(".py")] for path in row} for row in rows()]
    assert all(len(row) == 1 for row in levels)
    assert [*map(min, levels)] == sorted(map(min, levels))
