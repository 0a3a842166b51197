"""Every file, class, method and function that the tour of the model names exists, where the tour says.

On all other pages, files exist, and classes of refilm have the attributes that are named.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from .pages import DOCS, ROOT

SOURCE = ROOT / "src" / "refilm"
PAGE = (DOCS / "read-the-model.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)


def stops() -> list[tuple[str, tuple[str, ...]]]:
    """The names of each stop, with the files that were mentioned since its heading."""
    found = []
    for stop in re.split(r"^## ", PROSE, flags=re.MULTILINE)[1:]:
        files: tuple[str, ...] = ()
        for mark in re.findall(r"`([^`]+)`", stop):
            if mark.endswith(".py"):
                files = (*files, mark)
            elif re.fullmatch(r"[A-Za-z_][\w.]+", mark) and files:
                found.append((mark, files))
    return found


def names(path: str | Path) -> set[str]:
    """The classes, functions, methods and attributes that a file defines."""
    found: set[str] = set()
    for node in ast.parse((SOURCE / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    found.add(f"{node.name}.{inner.name}")
                elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    found.add(f"{node.name}.{inner.attr}")
    return found


def marks() -> list[str]:
    """The code marks of all pages, outside of code blocks."""
    found: set[str] = set()
    for page in DOCS.rglob("*.md"):
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        found |= set(re.findall(r"`([^`\n]+)`", prose))
    return sorted(found)


@cache
def everything() -> set[str]:
    """The names that all files of refilm define."""
    return set().union(*(names(path) for path in SOURCE.rglob("*.py")))


ELSEWHERE = "sgm/"  # files of the CogVideoX code start with this


@pytest.mark.parametrize(
    "path", [mark for mark in marks() if re.fullmatch(r"[\w/]+/\w+\.py", mark) and not mark.startswith(ELSEWHERE)]
)
def test_a_file_exists(path):
    assert (SOURCE / path).exists() or (ROOT / path).exists() or (SOURCE.parent / path).exists()


@pytest.mark.parametrize("name", [mark for mark in marks() if re.fullmatch(r"[A-Z][A-Za-z]+\.[a-z_]+", mark)])
def test_a_class_of_refilm_has_its_attribute(name):
    assert name in everything() or name.split(".")[0] not in everything()


@pytest.mark.parametrize(("name", "files"), stops())
def test_a_name_is_defined_in_a_file_of_its_stop(name, files):
    assert any(name in names(path) for path in files)


def test_enough_is_found_and_other_names_are_not():
    assert len(stops()) > 25
    assert "Transformer.backward" not in names("backbones/cogvideox/transformer.py")
