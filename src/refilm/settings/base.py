"""The base class of settings, and how they are read from and written to TOML."""

import json
import logging
import tomllib
from collections.abc import Mapping
from copy import copy
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from refilm.errors import UserError
from refilm.files import read_text
from refilm.settings.names import explain, tables_in

logger = logging.getLogger("refilm")
LARGEST = 1 << 22  # bytes of a settings file; a larger file (weights, given by mistake) is rejected before it is read
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Settings(BaseModel):
    """Base class of all settings: frozen and strict; unknown keys are errors.

    A value must have the type that its field declares and is never converted: "12" and 12.0 are not integers, 1 and
    "yes" are not booleans, True is not a number. A float field accepts integers, but not NaN or infinity. In Python,
    fields take tuples and `Path`s; plain values (`from_toml`, `from_values`) have lists and strings instead. Every
    number is bounded.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Setting names of earlier versions: old -> new. Both are read."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise UserError(f"{type(self).__name__}.{name}: settings cannot be changed; create new ones")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Create settings from Python values, like the constructor, which raises pydantic's ValidationError.

        Raises:
            UserError: an unknown or invalid setting; the message names it.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise UserError(explain(error, cls)) from error

    @classmethod
    def from_toml(cls, path: Path | str) -> Self:
        """Read settings from a file.

        Raises:
            UserError: the file is missing, is not TOML, or has an unknown or invalid setting; the message names it.
        """
        values = read_toml(Path(path))
        try:
            return cls.from_values(values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Create settings from plain values, as in TOML and JSON: lists for tuples, strings for paths.

        Raises:
            UserError: an unknown or invalid setting; the message names it.
        """
        try:
            return cls.model_validate_json(_json(renamed(cls, values)))
        except ValidationError as error:
            raise UserError(explain(error, cls)) from error
        except UnicodeEncodeError as error:
            raise UserError(f"{error.object[error.start : error.end]!a} is not a valid character; remove it") from error

    def to_values(self) -> dict[str, Any]:
        """These settings as plain values; `from_values` reads them back as equal settings. None values are omitted."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """These settings as TOML; `from_toml` reads it back as equal settings."""
        return tomli_w.dumps(self.to_values())


def shared(kind: type[Settings], name: str) -> Any:
    """The field of a setting that another class has too, with its default, range and sentence."""
    return copy(kind.model_fields[name])


def optional(field: FieldInfo, *more: Any) -> Any:
    """The annotation of a setting that can also be None, with more metadata."""
    annotation: Any = field.annotation
    metadata = (*field.metadata, *more)
    return Annotated[(annotation | None, *metadata)] if metadata else annotation | None


def renamed(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace old setting names by current ones in all nested tables; each old name is reported once by a warning.

    Raises:
        UserError: a setting is given under both its old and its new name.
    """
    for old, new in kind.RENAMED.items():
        if old in values:
            if new in values:
                raise UserError(f"{old}: was renamed to {new}, and both are given; remove {old}")
            _warn_of(old, new)
    now = {kind.RENAMED.get(name, name): value for name, value in values.items()}
    inner = {name: next(tables_in(field.annotation), None) for name, field in kind.model_fields.items()}
    return {name: _renamed_in(inner.get(name), value) for name, value in now.items()}


def _renamed_in(kind: type | None, value: Any) -> Any:
    if kind is None or not issubclass(kind, Settings):
        return value
    if isinstance(value, list | tuple):
        return [_renamed_in(kind, item) for item in value]
    return renamed(kind, value) if isinstance(value, Mapping) else value


@cache
def _warn_of(old: str, new: str) -> None:
    logger.warning("%s was renamed to %s; the old name is still read", old, new)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: the file is missing or is not TOML.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the path of a recipe, a TOML file")
    if (size := path.stat().st_size) > LARGEST:
        raise UserError(f"{path}: has {size:,} bytes, a recipe at most {LARGEST:,}; give the path of a TOML file")
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # thousands of digits in a number raise a plain ValueError
        raise UserError(f"{path}: not TOML: {error}") from error


def _json(values: Mapping[str, Any]) -> bytes:
    texts = []
    for name, value in values.items():
        try:
            texts.append(f"{json.dumps(name)}: {json.dumps(value, default=_plain, ensure_ascii=False)}")
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    return f"{{{', '.join(texts)}}}".encode()


def _plain(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise UserError(f"{value!r} is not a valid setting; give a string, a number, true, false, a list or a table")
