"""Subjects in the form: a new one from images, and saved ones, which are the store's characters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from refilm.control.subject import Controls
from refilm.errors import UserError
from refilm.serving.api.images import Checks
from refilm.serving.characters import Character
from refilm.serving.errors import NotFoundError
from refilm.serving.page.controls import control, given, shown
from refilm.serving.page.fragments import text
from refilm.serving.store import Store

MOST = 4
NEW = "new"
CONTROLS = ("words", "scale", "frames", "steps")
DEFAULTS = {name: Controls.model_fields[name].default for name in CONTROLS}


class Direction:
    """The controls of one subject: its words, and how strongly it appears when."""

    def __init__(self, prefix: str):
        words, scale, frames, steps = CONTROLS
        with gr.Row(elem_classes="fields two"):
            self.controls = {
                words: control(Controls, words, None, prefix=prefix),
                scale: control(Controls, scale, DEFAULTS[scale], prefix=prefix),
            }
        with gr.Accordion("When it appears", open=False, elem_id=f"{prefix}-when"):
            self.controls |= {name: control(Controls, name, None, prefix=prefix) for name in (frames, steps)}

    @property
    def components(self) -> list[Component]:
        """All controls."""
        return [*self.controls.values()]

    def read(self, values: Mapping[Component, Any]) -> dict[str, Any]:
        """The values that differ from the defaults.

        Raises:
            UserError: a number cannot be read.
        """
        read = {name: values[one] for name, one in self.controls.items()}
        words = [word.strip() for word in (read.pop("words") or "").split(",") if word.strip()]
        return given(Controls, read, DEFAULTS) | ({"words": words} if words else {})

    def filled(self, subject: Mapping[str, Any]) -> dict[Any, Any]:
        """The controls with the values of a subject."""
        return {one: shown(subject.get(name, _default(name))) for name, one in self.controls.items()}


class Slot:
    """A saved subject in the form."""

    def __init__(self, number: int):
        with gr.Column(visible=False, elem_classes="subject") as self.group:
            self.portrait = gr.HTML()
            self.direction = Direction(f"subject-{number}")
            self.remove = gr.Button("Remove from this video", size="sm", elem_id=f"remove-{number}")
        self.character = gr.State("")

    @property
    def components(self) -> list[Any]:
        """What a change of the slot changes."""
        return [self.group, self.portrait, self.character, *self.direction.components]

    def filled(self, store: Store, character: str, subject: Mapping[str, Any] | None = None) -> dict[Any, Any]:
        """The slot with a character and its values; without one it is hidden."""
        if not character:
            return {self.group: gr.update(visible=False), self.portrait: "", self.character: ""}
        found = store.characters.get(character)
        subject = {"words": [*found.words]} if subject is None else subject
        return {
            self.group: gr.update(visible=True),
            self.portrait: portrait(found),
            self.character: character,
            **self.direction.filled(subject),
        }


@dataclass(frozen=True)
class Member:
    """A subject of a request: its files and its values."""

    key: str
    """NEW, or the id of its character."""
    name: str
    values: dict[str, Any]
    files: dict[str, Path | bytes]


def new_member(images: Sequence[Any] | None, name: str, values: dict[str, Any]) -> Member:
    """The subject of uploaded images.

    Raises:
        UserError: a file is no image, or is too large.
    """
    files = uploaded(images)
    return Member(NEW, name.strip() or "subject", {"images": [*files], **values}, files)


def saved_member(store: Store, character: str, values: dict[str, Any]) -> Member:
    """A saved subject.

    Raises:
        UserError: it was deleted.
    """
    try:
        found = store.characters.get(character)
    except NotFoundError as error:
        raise UserError("a chosen subject was deleted; remove it from this video") from error
    own, files = store.characters.subject(found)
    return Member(character, found.name, {**own, **values}, {**files})


def uploaded(images: Sequence[Any] | None) -> dict[str, Path | bytes]:
    """Uploaded images as files of a request, checked.

    Raises:
        UserError: a file is no image, or is too large.
    """
    checks, files = Checks(), {}
    for number, image in enumerate(images or ()):
        path = Path(image[0] if isinstance(image, tuple) else image)
        content = path.read_bytes()
        files[f"{NEW}-{number}{checks.suffix(content, 'image', path.name)}"] = content
    return files


def named(members: Sequence[Member]) -> dict[str, Member]:
    """The members by names that a request can have: letters, digits, hyphens, each once."""
    result: dict[str, Member] = {}
    for member in members:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", member.name).strip("-")[:24]
        plain = plain if plain[:1].isalpha() else f"subject-{plain}".strip("-")
        name, number = plain, 2
        while name in result:
            name, number = f"{plain}-{number}", number + 1
        result[name] = member
    return result


def choices(store: Store) -> list[tuple[str, str]]:
    """All saved subjects, newest first, for a dropdown."""
    found, _ = store.characters.list(limit=1000)
    return [(one.name, one.id) for one in found]


def portrait(character: Character) -> str:
    """A subject's name with its images."""
    images = [name for name in character.files if not name.endswith(".subject")][:4]
    shown = "".join(
        f'<img src="page/characters/{character.id}/{text(name)}" alt="View {number} of {text(character.name)}">'
        for number, name in enumerate(images, 1)
    )
    return f'<div class="portrait">{shown}<strong>{text(character.name)}</strong></div>'


def _default(name: str) -> Any:
    return DEFAULTS["scale"] if name == "scale" else None
