"""Which files a model's weights are in, and what lies there instead when a download went wrong. Reads no weights."""

from pathlib import Path
from typing import Any

from refilm.weights.configs import read_object

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html")


def weight_files(folder: Path, name: str, pickled: str | None = None) -> list[Path]:
    """The files of a model's weights: one, or those that an index tells; safetensors where there are any.

    A variant (`model.fp16.safetensors`) is taken where nothing else is there.

    Args:
        folder: where they are.
        name: what they are called, without suffix.
        pickled: what they are called as pickles; none: as `name`.

    Raises:
        ValueError: the index is damaged, or there are several variants; names it. Files that are missing are left to
            the opening.
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
        raise ValueError(f"{folder}: several variants of the weights, {', '.join(found)}; keep one, or call one {stem}")
    return list(found.values())


def _indexed(index: Path) -> list[Path]:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(_is_beside(file) for file in names.values()):
        raise ValueError(f"{index}: weight_map: must tell each tensor's file (received {type(names).__name__})")
    return [index.parent / file for file in sorted(set(names.values()))]


def _is_beside(file: Any) -> bool:
    """Whether it names a file in the same folder: a forged index shall not lead elsewhere."""
    return isinstance(file, str) and file not in ("", "..") and Path(file).name == file and "\0" not in file


def refuse_pointer(path: Path) -> None:
    """Refuse what a download left in a file's place: the pointer of Git LFS, or a web page.

    Raises:
        ValueError: it is one; names the file and what to do. Missing files are left to the opening.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(100).lstrip().lower()
    remedy = "fetch the file itself: `git lfs pull` in its repository, or `hf download`"
    if start.startswith(_LFS):
        raise ValueError(f"{path}: a Git LFS pointer, not the file that it stands for; {remedy}")
    if start.startswith(_PAGES):
        raise ValueError(f"{path}: a web page, not the file that was to be downloaded; {remedy}")
