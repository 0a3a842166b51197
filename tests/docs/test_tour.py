"""Every file, class, method and function that the tour of the model names exists, where the tour says."""

import ast
import re

import pytest

from .pages import DOCS, ROOT

SOURCE = ROOT / "src" / "refilm"
PAGE = (DOCS / "read-the-model.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"[ *]")


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


def names(path: str) -> set[str]:
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


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", PROSE))))
def test_a_file_exists(path):
    assert (SOURCE / path).exists()


@pytest.mark.parametrize(("name", "files"), stops())
def test_a_name_is_defined_in_a_file_of_its_stop(name, files):
    assert any(name in names(path) for path in files)


def test_enough_is_found_and_other_names_are_not():
    assert len(stops()) > 25
    assert "Transformer.backward" not in names("backbones/cogvideox/transformer.py")
