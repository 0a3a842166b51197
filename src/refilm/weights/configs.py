"""Configuration files of models: what refilm reads of them, each value with its type and bounds.

They may come from anybody. So nothing of such a file reaches a library but the fields declared here, and no module is
built before they were checked. Keys that play no part are passed over; keys that ask for code are refused by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from refilm.files import read_json
from refilm.settings import Settings, explain, renamed

T = TypeVar("T")
LARGEST = 1 << 26  # bytes of a configuration file
Small = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[str, Field(min_length=0, max_length=200)]


class Config(BaseModel):
    """The part of a configuration file that refilm reads."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """The fields that the file has; a library knows the defaults of the others."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class KindConfig(Config):
    """What kind of model a folder has."""

    class_name: Words | None = Field(default=None, alias="_class_name")
    architectures: list[Words] | None = None
    model_type: Words | None = None

    @property
    def kind(self) -> str:
        """Its class, as far as the file names one."""
        return self.class_name or next(iter(self.architectures or ()), None) or self.model_type or "model of no class"


def read_config(path: Path, kind: type[T], *, within: str | None = None) -> T:
    """What a configuration file says, checked.

    Args:
        path: the file.
        kind: what it must say: a `Config`, or any other type that pydantic knows.
        within: the key of a table in it that says it.

    Raises:
        ValueError: the file is missing, too large or no JSON object, a value is not what it must be, or a key asks for
            code of the model's own; names the file and the key.
    """
    content = read_object(path)
    return validated(content if within is None else content.get(within, {}), kind, path)


def validated(content: Any, kind: type[T], path: Path, *, names: Mapping[str, str] | None = None) -> T:
    """A value that was read from `path`, as a `kind`. `names` are the file's own names of its fields.

    Raises:
        ValueError: it is none; names the file and the key.
    """
    try:
        if isinstance(kind, type) and issubclass(kind, Settings) and isinstance(content, Mapping):
            content = renamed(kind, content)
        return TypeAdapter(kind).validate_json(json.dumps(content))  # in which lists may be tuples
    except ValidationError as error:
        known = kind if isinstance(kind, type) and issubclass(kind, Settings) else None
        raise ValueError(f"{path}: {explain(error, known, names=names)}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a configuration file, its values unchecked.

    Raises:
        ValueError: the file is missing, too large or no JSON object, or asks for code; names the file and the key.
    """
    if path.is_file() and path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes are too many for a configuration")
    content = read_json(path)
    tables = [content]
    for table in tables:  # which grows
        if "auto_map" in table:
            raise ValueError(
                f"{path}: auto_map: names Python code that comes with the model, and refilm runs none; remove the "
                "key if the model is one that refilm reads"
            )
        tables += [value for value in table.values() if isinstance(value, dict)]
    return content
