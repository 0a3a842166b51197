"""Texts that describe subjects on the command line and in recipes: "NAME=SOURCE", "[NAME=]VALUE" and lists."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from refilm.control.subject import NAME
from refilm.errors import UserError
from refilm.hub import is_hub_id
from refilm.settings import meant

LISTS = ("words", "weights", "image_masks")
NUMBERS = ("scale", "weights")
FILE = ".subject"
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def source_of(text: str, option: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """A subject's name, and its images or its file, from "NAME=SOURCE", or from the source alone if it is a file.

    Args:
        text: the text.
        option: the option that has it, for errors.
        folder: relative paths are relative to it.

    Raises:
        UserError: the text has another form; says how to write it.
    """
    where = f"{option} {text.strip()!r:.100}"
    name, equals, source = (part.strip() for part in text.partition("="))
    if not equals or ((folder / text).exists() and not (folder / source).exists()):  # "=" can be part of a path
        name, equals, source = _name_from(text), "", text.strip()
    require_name(name, where)
    file = file_of(source, where, folder)
    if file is not None:
        return name, {"file": file}
    parts = paths_in(source, folder)
    if not all(parts):
        raise UserError(f"{where}: give a name and its images, for example fox=fox.png,side.png")
    if files := [part for part in parts if part.endswith(FILE)]:
        raise UserError(f"{where}: {files[0]} is a subject file with images of its own; give it alone")
    if not equals:
        raise UserError(f"{where}: name it, for example {name}={source}")
    return name, {"images": parts}


def require_name(name: str, where: str) -> None:
    """Check the name of a subject.

    Raises:
        UserError: it has other characters or is too long.
    """
    if re.fullmatch(NAME, name) is None:
        raise UserError(f"{where}: a name is a letter and up to 31 more letters, digits, - or _, for example fox")


def require_images(paths: Iterable[Path], where: str) -> None:
    """Check that no path of an image is that of a subject file, or several paths.

    Raises:
        UserError: one is.
    """
    for path in paths:
        if path.suffix == FILE:
            raise UserError(f"{where} {path}: is a subject file, not an image; subject files are used by --subject")
        if "," in path.name and not path.exists():
            raise UserError(f"{where} {path}: no such file; give each image by itself, without commas")


def file_of(source: str, where: str, folder: Path) -> str | None:
    """The path or the Hub id of a subject file; None for another source.

    Raises:
        UserError: the file is missing.
    """
    path = folder / source
    if path.suffix == FILE and "," not in source:
        if not path.is_file():
            raise UserError(f"{where}: {path}: no such file; make it with `refilm subject make`")
        return str(path)
    on_hub = is_hub_id(source) and not path.exists() and path.suffix.lower() not in IMAGES
    return source if on_hub else None


def _name_from(path: str) -> str:
    """A name for the subject of a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path.strip()).stem).lstrip("-_0123456789")[:32].rstrip("-") or "fox"


def target_of(text: str, names: Sequence[str], where: str, *, folder: Path | None) -> tuple[str, str]:
    """The subject of a control and the control's value, from "NAME=VALUE", or from the value alone.

    Args:
        text: the text.
        names: names of the subjects.
        where: the option that has it, for errors.
        folder: of a relative path, which can contain "="; None if the value is not a path.

    Raises:
        UserError: it does not say which subject.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if equals and name in names:
        return name, value
    if not names:
        raise UserError(f"{where}: there is no subject; give one with --reference or --subject")
    if len(names) == 1 and (not equals or (folder is not None and (folder / text).exists())):
        return names[0], text.strip()
    if not equals:
        hint = f"say of which subject, for example {names[0]}={text.strip()}"
    elif similar := meant(name, list(names)):
        hint = f"did you mean {similar}={value}?"
    else:
        hint = f"there is no subject {name!r:.40}; give {names[0]}={value}"
    raise UserError(f"{where} {text!r:.100}: {hint} (subjects: {', '.join(names)})")


def value_of(control: str, text: str, where: str, folder: Path) -> Any:
    """The value of a control from its text, as `Subject` takes it.

    Args:
        control: name of the control.
        text: the text; of words, weights and image masks several can be separated by commas.
        where: the option that has it, for errors.
        folder: relative paths are relative to it.

    Raises:
        UserError: the text, or one of several values, is empty.
    """
    if control == "image_masks":
        parts = paths_in(text, folder)
    else:
        parts = [part.strip() for part in text.split(",")] if control in LISTS else [text]
    if not all(parts):
        raise UserError(f"{where} {text!r:.100}: a value is empty; write it, or remove the option or the comma")
    if control == "mask":
        return str(folder / text)
    values = [number_in(part) if control in NUMBERS else part for part in parts]
    return values if control in LISTS else values[0]


def values_of(control: str, texts: Iterable[str], where: str) -> tuple[Any, ...]:
    """The values of a control of several values, from several texts of a command line; errors as `value_of`."""
    return tuple(value for text in texts for value in value_of(control, text, where, Path()))


def paths_in(text: str, folder: Path) -> list[str]:
    """Paths separated by commas, relative to a folder; an empty text where there is none between two commas.

    A comma can be part of the path of an existing file.
    """
    parts = [text] if (folder / text).exists() else [part.strip() for part in text.split(",")]
    return [str(folder / part) if part else "" for part in parts]


def number_in(text: str) -> float | str:
    """Text as a number, if it is one; settings refuse any other."""
    return float(text) if NUMBER.fullmatch(text) else text
