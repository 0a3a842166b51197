"""Reading of model configuration files, with a type and bounds for each value.

These files are untrusted. Only declared fields reach a library, and no module is created before they are validated.
Unused keys are ignored; keys that request code are rejected by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from refilm.errors import UserError
from refilm.files import read_json
from refilm.settings import Settings, explain, renamed

T = TypeVar("T")
LARGEST = 1 << 26  # maximum bytes of a configuration file
Words = Annotated[str, Field(min_length=0, max_length=200)]
Small = Annotated[float, Field(gt=0, le=1)]


class Config(BaseModel):
    """The part of a configuration file that refilm reads."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """The fields in the file; the library uses its defaults for the others."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class KindConfig(Config):
    """The model class in a folder."""

    class_name: Words | None = Field(default=None, alias="_class_name")
    architectures: list[Words] | None = None
    model_type: Words | None = None

    @property
    def kind(self) -> str:
        """The class that the file names."""
        return (
            self.class_name or next(iter(self.architectures or ()), None) or self.model_type or "model of unknown class"
        )


def read_config(path: Path, kind: type[T], *, within: str | None = None) -> T:
    """Read and validate a configuration file.

    Args:
        path: the file.
        kind: its type: a `Config`, or any other type that pydantic supports.
        within: the key of an object in the file to read in its place.

    Raises:
        UserError: the file is missing, too large or not a JSON object, a value is invalid, or a key requests custom
            code; names the file and the key.
    """
    content = read_object(path)
    return validated(content if within is None else content.get(within, {}), kind, path)


def validated(content: Any, kind: type[T], path: Path, *, names: Mapping[str, str] | None = None) -> T:
    """Validate a value read from `path` as a `kind`. `names` maps fields to their names in the file.

    Raises:
        UserError: the value is invalid; names the file and the key.
    """
    try:
        if isinstance(kind, type) and issubclass(kind, Settings) and isinstance(content, Mapping):
            content = renamed(kind, content)
        return TypeAdapter(kind).validate_json(json.dumps(content))  # JSON mode accepts lists for tuples
    except ValidationError as error:
        known = kind if isinstance(kind, type) and issubclass(kind, Settings) else None
        raise UserError(f"{path}: {explain(error, known, names=names)}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read the object in a configuration file without validating its values.

    Raises:
        UserError: the file is missing, too large or not a JSON object, or requests code; names the file and the key.
    """
    if path.is_file() and path.stat().st_size > LARGEST:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes is too large for a configuration")
    content = read_json(path)
    tables = [content]
    for table in tables:  # the list grows in the loop
        if "auto_map" in table:
            raise UserError(
                f"{path}: auto_map: requests Python code from the model, which refilm never runs; remove the key if "
                "refilm supports the model"
            )
        tables += [value for value in table.values() if isinstance(value, dict)]
    return content
