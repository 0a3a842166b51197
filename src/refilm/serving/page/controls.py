"""Controls of settings, made from the settings' classes: labels, sentences, choices and defaults are written there."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from refilm.errors import UserError

BASIC = ("negative_prompt", "steps", "guidance", "reference_scale", "sampler", "frames", "width", "height")
LABELS = {"words": "Words of the prompt", "scale": "Strength"}
MORE = (
    "reference_guidance",
    "guidance_schedule",
    "guidance_steps",
    "guidance_form",
    "guidance_rescale",
    "guidance_parallel",
    "guidance_norm",
    "guidance_momentum",
    "binding",
    "window",
    "window_overlap",
    "step_cache",
)


def control(settings: type[BaseModel], name: str, default: Any, *, prefix: str = "setting") -> Component:
    """The control of a setting; empty means that the setting is not given.

    Args:
        settings: the class that declares it.
        name: its name.
        default: what the control shows at first.
        prefix: begins the control's id in the page.
    """
    field = settings.model_fields[name]
    about: dict[str, Any] = {
        "label": label_of(name),
        "info": _sentence(name, field) or None,
        "elem_id": f"{prefix}-{name}",
    }
    kind = _kind(field)
    if get_origin(kind) is Literal:
        return gr.Dropdown([*map(str, get_args(kind))], value=default, filterable=False, **about)
    if kind in (int, float) and default is not None:
        step = 1 if kind is int else 0.1
        return gr.Number(value=default, precision=0 if kind is int else None, step=step, **about)
    return gr.Textbox(value="" if default is None else str(default), max_lines=3, **about)


def given(settings: type[BaseModel], values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are given and differ from the defaults.

    Raises:
        UserError: a number cannot be read; names the control.
    """
    read = {name: _read(settings, name, value) for name, value in values.items()}
    return {name: value for name, value in read.items() if value is not None and value != defaults.get(name)}


def label_of(name: str) -> str:
    """A setting's name for a reader: guidance_steps -> Guidance steps."""
    return LABELS.get(name) or name.replace("_", " ").capitalize()


def shown(value: Any) -> Any:
    """A value of a request as its control shows it."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value


def _read(settings: type[BaseModel], name: str, value: Any) -> Any:
    kind = _kind(settings.model_fields[name])
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if kind not in (int, float):
        return value.strip() if isinstance(value, str) else value
    try:
        number = float(value)
    except ValueError as error:
        raise UserError(
            f"{label_of(name)}: {value!r} is not a number; give a number, or nothing for the default"
        ) from (error)
    if kind is int and number != int(number):
        raise UserError(f"{label_of(name)}: {value} is not a whole number; give one, or nothing for the default")
    return int(number) if kind is int else number


def _kind(field: FieldInfo) -> Any:
    """The type of a field, without None and annotations."""
    kind = field.annotation
    if type(None) in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind


def _sentence(name: str, field: FieldInfo) -> str:
    """The first sentence of a description; empty if it only repeats the name."""
    sentence = re.split(r"(?<=\.)\s", " ".join((field.description or "").split()), maxsplit=1)[0]
    if sentence == f"{label_of(name)}.":
        return ""
    optional = "" if field.is_required() or field.default is not None else " Empty: the default."
    return sentence.replace("`", "") + optional
