"""Subjects on the command line: `--reference`, `--subject`, and an option for each of their controls."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field, create_model

from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.settings import Settings, meant, read_toml

CONTROLS = ("words", "mask", "scale", "frames", "steps", "blocks", "weights", "image_masks")
LISTS = ("words", "weights", "image_masks")
OF = "As NAME=VALUE; without NAME= for a single subject."


class _Who(Settings):
    """Who appears."""

    reference: Annotated[tuple[Path, ...], typer.Option(metavar="PATH")] = ()
    """Reference image of the subject; repeat it for more views of the same subject. Default: no reference."""
    subject: Annotated[tuple[str, ...], typer.Option(metavar="NAME=SOURCE")] = ()
    """Subject: NAME=fox.png, NAME=fox.png,side.png (views), or a subject file or its Hub id, with or without NAME=.
    Repeat it for several subjects."""


def _control(name: str) -> tuple[Any, Any]:
    described = f"{Subject.model_fields[name].description} {OF}"
    return Annotated[tuple[str, ...], typer.Option(metavar="[NAME=]VALUE")], Field(default=(), description=described)


if TYPE_CHECKING:
    SubjectOptions = _Who
else:
    SubjectOptions = create_model(
        "SubjectOptions", __base__=_Who, **{f"subject_{name}": _control(name) for name in CONTROLS}
    )


def subjects_of(options: "SubjectOptions", *, recipe: Path | None = None) -> tuple[Subject, ...]:
    """The subjects that the options describe, and those of the tables [subjects.NAME] of a recipe.

    Raises:
        UserError: a subject or a control is invalid, or names an unknown subject; names the option.
    """
    given = _of_recipe(recipe)
    for name, source in _sources(options):
        given[name] = {
            key: value for key, value in given.get(name, {}).items() if key not in ("images", "file")
        } | source
    for control in CONTROLS:
        for text in getattr(options, f"subject_{control}"):
            name, value = _control_of(text, list(given), f"--subject-{control.replace('_', '-')}")
            given[name][control] = value.split(",") if control in LISTS else value
    return tuple(_subject(name, values) for name, values in given.items())


def _of_recipe(path: Path | None) -> dict[str, dict[str, Any]]:
    tables = {} if path is None else read_toml(path).get("subjects", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UserError(f"{path}: subjects: must be tables, for example [subjects.fox]")
    return {name: dict(table) for name, table in tables.items()}


def _sources(options: "SubjectOptions") -> list[tuple[str, dict[str, Any]]]:
    named = [_source(text) for text in options.subject]
    names = [name for name, _ in named]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(
            f"--subject: two subjects are named {repeated[0]!r}; give each its own name, or join its images"
        )
    if not options.reference:
        return named
    if named:
        raise UserError(
            "--reference gives the images of a single subject; use --subject NAME=IMAGE for each of several"
        )
    return [("subject", {"images": [str(path) for path in options.reference]})]


def _source(text: str) -> tuple[str, dict[str, Any]]:
    """A subject's name, and its images or its file."""
    name, equals, value = text.partition("=")
    if not equals:
        name, value = re.sub(r"\W+", "-", Path(text).stem), text
    parts = [value] if Path(value).exists() else value.split(",")
    if not all(parts):
        raise UserError(f"--subject {text!r:.100}: give a name and its images, for example fox=fox.png,side.png")
    if len(parts) == 1 and Path(value).suffix in (".subject", ""):  # a Hub id has no suffix
        return name, {"file": value}
    if not equals:
        raise UserError(f"--subject {text!r:.100}: name it, for example {name}={text}")
    return name, {"images": parts}


def _control_of(text: str, names: Sequence[str], option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if equals and name in names:
        return name, value
    if not names:
        raise UserError(f"{option}: there is no subject; give one with --reference or --subject")
    if len(names) == 1 and not equals:
        return names[0], text
    similar = meant(name, list(names)) if equals else None
    hint = f"did you mean {similar}?" if similar else f"give {names[0]}=VALUE;"
    raise UserError(f"{option} {text!r:.100}: {hint} the subjects are {', '.join(names)}")


def _subject(name: str, values: dict[str, Any]) -> Subject:
    typed = {key: _number(value) if key in ("scale", "weights") else value for key, value in values.items()}
    try:
        return Subject(name=name, **typed)
    except UserError as error:
        raise UserError(f"subject {name!r:.40}: {error}") from error


def _number(value: Any) -> Any:
    """Text as a number, if it is one; settings refuse any other."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
