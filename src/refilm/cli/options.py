"""Options of a command, made from settings classes: name, type, range, default and sentence stand only there.

A setting is the option `--its-name`. A `typer.Argument` or `typer.Option` in its annotation sets what typer alone
knows: other names, a metavar, or words for a default.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import wraps
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from typer.models import OptionInfo, ParameterInfo

from refilm.cli.parsing import size_of
from refilm.errors import UserError
from refilm.settings import Settings, explain, optional
from refilm.settings.described import values_of

if TYPE_CHECKING:
    from refilm.checkpoints.defaults import Defaults

OF_BASE = "the base model's"
Size = Annotated[str | None, typer.Option(metavar="WxH", show_default=OF_BASE)]


class BaseOption(Settings):
    """The base model of a command."""

    base: str = "pocket"
    """Base model: pocket (included), a Hub id, or a folder in diffusers' layout or SAT format."""


class ManifestOptions(Settings):
    """The clips of a command."""

    manifest: Annotated[Path, typer.Argument()]
    """A manifest of JSON lines, or a folder with videos/, labels/ and ref_images/."""
    allow_outside: bool = False
    """Allow paths outside of the manifest's folder."""


class Device(Settings):
    """Where a command computes."""

    device: str | None = None
    """Device, for instance cpu or cuda. Default: a GPU if there is one."""


class Computing(Device):
    """Where a command computes, and how exactly."""

    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Dtype of the model. Default: float32 on a CPU, bfloat16 on a GPU."""


def with_options(*kinds: type[Settings]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator for a command that takes one settings object per class, in this order.

    Raises:
        UserError: (from the decorated command) a value is invalid; the message names the option.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            command(*(_validated(kind, values) for kind in kinds))

        parameters = [_parameter(name, field) for kind in kinds for name, field in kind.model_fields.items()]
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        run.__annotations__ = {}
        return run

    return decorate


def given(kind: type[Settings], *names: str, of_base: tuple[str, ...] = (), **options: OptionInfo) -> type[Settings]:
    """Some settings of a class as a class of options, which are None if they are not given.

    Args:
        kind: its other settings are not options.
        names: of the settings.
        of_base: names of settings whose defaults are the base model's, as for all that their class requires.
        options: what typer alone knows of a setting.
    """
    fields = {}
    for name in (*of_base, *names):
        field, option = kind.model_fields[name], options.get(name) or typer.Option()
        if name in of_base or field.is_required():
            option.show_default = OF_BASE
        elif field.default is not None and not isinstance(field.default, bool):
            option.show_default = str(field.default)
        fields[name] = (optional(field, option), Field(default=None, description=field.description))
    return create_model(f"Given{kind.__name__}", __base__=Settings, **fields)


@contextmanager
def naming(kind: type[Settings], names: Mapping[str, str]) -> Iterator[None]:
    """Within the context, errors about settings of a class call them as the user does.

    Args:
        kind: the class.
        names: what the user calls its settings: options, or keys of a file.
    """
    try:
        yield
    except UserError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise UserError(explain(error.__cause__, kind, names=names)) from error.__cause__


def option_name(name: str) -> str:
    """The option of a setting."""
    return f"--{name.replace('_', '-')}"


def chosen(settings: Settings) -> dict[str, Any]:
    """The settings that were given, by name."""
    return {name: value for name, value in settings if value is not None}


def clip_settings(defaults: "Defaults", settings: Settings, size: str | None) -> dict[str, Any]:
    """The base model's frames, fps, height and width, except for those that were given, and all other given settings.

    Raises:
        UserError: `size` is not WIDTHxHEIGHT.
    """
    height, width = size_of(size)
    sides = {} if height is None else {"height": height, "width": width}
    return defaults.model_dump(include={"frames", "fps", "height", "width"}) | sides | chosen(settings)


def _validated(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    typed = {name: values[name] for name in kind.model_fields if values[name] is not None}
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()})
    except ValidationError as error:
        names = {name: _names(name, _info(field))[0] for name, field in kind.model_fields.items()}
        raise UserError(explain(error, kind, names=names)) from error


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    assert field.description, f"{name} has no docstring"
    info = _info(field)
    kind, _, limits = values_of(field.annotation, field.metadata).partition(", ")
    info.help = f"{field.description} ({limits})" if kind in ("integer", "number") and limits else field.description
    if isinstance(info, OptionInfo):
        info.default, *info.param_decls = _names(name, info)  # typer reads the first name from the default
    if info.show_default is True and (field.is_required() or field.default in (None, False, ())):
        info.show_default = False
    default = inspect.Parameter.empty if field.is_required() else field.default or None
    annotation = Annotated[_plain(field.annotation), info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _info(field: FieldInfo) -> ParameterInfo:
    return copy(next((each for each in field.metadata if isinstance(each, ParameterInfo)), typer.Option()))


def _names(name: str, info: ParameterInfo) -> tuple[str, ...]:
    """The names of an option; the name of an argument."""
    if not isinstance(info, OptionInfo):
        return (name,)
    declared = () if info.default is ... else (str(info.default), *(info.param_decls or ()))
    return declared or (option_name(name),)


def _plain(annotation: Any) -> Any:
    """The type that typer converts text to: without constraints, and lists instead of tuples."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain(parts[0])
    if origin in (Union, UnionType):
        return Union[tuple(map(_plain, parts))]  # noqa: UP007  # built at run time
    return list[_plain(parts[0])] if origin is tuple else annotation
