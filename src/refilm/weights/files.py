"""Finds the weights files of a model and detects failed downloads. Does not read weights."""

from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.weights.configs import read_object

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html")


def weight_files(folder: Path, name: str, pickled: str | None = None) -> list[Path]:
    """Find the weights files of a model: one file, or the files of an index. Safetensors take precedence.

    A variant (`model.fp16.safetensors`) is used if there is no other file.

    Args:
        folder: their folder.
        name: file name without suffix.
        pickled: file name of pickles without suffix. Default: `name`.

    Raises:
        UserError: the index is damaged, or there are several variants; names it. Missing files are reported when
            they are opened.
    """
    for stem in (f"{name}.safetensors", f"{pickled or name}.bin"):
        for path in (folder / stem, folder / f"{stem}.index.json", *_variants(folder, stem)):
            if path.is_file():
                return _indexed(path) if path.suffix == ".json" else [path]
    return [folder / f"{name}.safetensors"]


def _variants(folder: Path, stem: str) -> list[Path]:
    """The one variant in a folder, `NAME.VARIANT.safetensors` or its index `NAME.safetensors.index.VARIANT.json`."""
    name, _, suffix = stem.rpartition(".")
    found = {}
    for pattern in (f"{name}.*.{suffix}", f"{stem}.index.*.json"):
        for path in sorted(folder.glob(pattern)):
            variant = path.name.split(".")[-2]
            if "-of-" not in path.name and path.name in (f"{name}.{variant}.{suffix}", f"{stem}.index.{variant}.json"):
                found.setdefault(variant, path)
    if len(found) > 1:
        raise UserError(
            f"{folder}: several variants of the weights, {', '.join(found)}; keep one, or rename one to {stem}"
        )
    return list(found.values())


def _indexed(index: Path) -> list[Path]:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(_is_beside(file) for file in names.values()):
        raise UserError(f"{index}: weight_map: must map each tensor to its file (received {type(names).__name__})")
    return [index.parent / file for file in sorted(set(names.values()))]


def _is_beside(file: Any) -> bool:
    """Whether it names a file in the same folder; a forged index must not point elsewhere."""
    return isinstance(file, str) and file not in ("", "..") and Path(file).name == file and "\0" not in file


def refuse_pointer(path: Path) -> None:
    """Reject the result of a failed download: a Git LFS pointer or a web page.

    Raises:
        UserError: the file is one; says what to do. Missing files are reported when they are opened.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(100).lstrip().lower()
    remedy = "download the file itself with `git lfs pull` in its repository, or `hf download`"
    if start.startswith(_LFS):
        raise UserError(f"{path}: is a Git LFS pointer, not the file itself; {remedy}")
    if start.startswith(_PAGES):
        raise UserError(f"{path}: is a web page, not the file itself; {remedy}")
