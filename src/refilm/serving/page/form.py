"""The form that asks for a video: its components, what they say as a request, and a request as their values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from refilm.errors import UserError
from refilm.generation.request import Request
from refilm.serving.options import ServedModel
from refilm.serving.page.controls import BASIC, MORE, control, given, shown
from refilm.serving.page.masks import Masks, with_masks
from refilm.serving.page.subjects import (
    CONTROLS,
    MOST,
    Direction,
    Member,
    Slot,
    choices,
    named,
    new_member,
    saved_member,
)
from refilm.serving.requests import EXPLAIN
from refilm.serving.store import Store

SETTINGS = (*BASIC, *MORE)
OPEN_EXAMPLES = (
    "A dog runs along a beach at sunset, waves in the background",
    "A toy robot walks across a wooden table, soft morning light",
    "A cat sits on a windowsill and looks out at falling snow",
)
CRITTER_EXAMPLES = ("a critter bounces in the meadow", "a critter spins at night", "a critter moves left on the beach")


class Form:
    """The components of the form, which are created in the present place of the page.

    Args:
        store: the saved subjects.
        model: the base model, whose defaults the form shows.
    """

    def __init__(self, store: Store, model: ServedModel):
        self.store, self.model = store, model
        self.defaults = {**model.request().model_dump(), "width": model.defaults.width, "height": model.defaults.height}
        self.masks = gr.State({})

    def build_prompt(self) -> None:
        """The prompt and the seed."""
        self.prompt = gr.Textbox(
            label="Prompt", info="What happens, and where.", lines=3, max_lines=8, elem_id="prompt", max_length=4000
        )

    def build_subjects(self) -> None:
        """The new subject and the saved ones."""
        self.images = gr.Gallery(
            label="Images of the subject: drop one or several views",
            interactive=True,
            sources=["upload", "webcam", "clipboard"],
            file_types=["image"],
            type="filepath",
            columns=4,
            object_fit="contain",
            buttons=[],
            elem_id="images",
        )
        with gr.Column(visible=False, elem_classes="subject") as self.new:
            self.name = gr.Textbox(
                label="Name", info="To save the subject and use it again.", elem_id="subject-name", max_length=100
            )
            self.direction = Direction("new")
            self.save = gr.Button("Save subject", size="sm", elem_id="save-subject")
        self.saved = gr.Dropdown(
            choices=[("Add a saved subject", ""), *choices(self.store)],
            value="",
            label="Saved subjects",
            filterable=False,
            elem_id="saved",
        )
        self.message = gr.HTML(elem_id="subject-message")
        self.slots = [Slot(number) for number in range(MOST)]

    def build_settings(self) -> None:
        """The advanced settings."""
        self.seed = gr.Textbox(
            label="Seed", info="The same seed repeats a video.", placeholder="random", elem_id="seed"
        )
        first, *others = BASIC
        self.settings = {first: control(Request, first, self.defaults[first])}
        with gr.Row(elem_classes="fields"):
            self.settings |= {name: control(Request, name, self.defaults[name]) for name in others}
        with gr.Accordion("Guidance, windows and more", open=False), gr.Row(elem_classes="fields"):
            self.settings |= {name: control(Request, name, self.defaults[name]) for name in MORE}

    @property
    def inputs(self) -> set[Any]:
        """All components that say something about the video."""
        slots = {one for slot in self.slots for one in (slot.character, *slot.direction.components)}
        single = {self.prompt, self.seed, self.images, self.name, self.masks}
        return {*single, *self.direction.components, *slots, *self.settings.values()}

    @property
    def outputs(self) -> list[Any]:
        """All components that a request fills."""
        slots = [one for slot in self.slots for one in slot.components]
        single = [self.prompt, self.seed, self.images, self.name, self.new, self.masks]
        return [*single, *self.direction.components, *slots, *self.settings.values()]

    def members(self, values: Mapping[Component, Any]) -> list[Member]:
        """The subjects of the form, without masks.

        Raises:
            UserError: an image or a value is invalid.
        """
        members = []
        if values[self.images]:
            members.append(new_member(values[self.images], values[self.name] or "", self.direction.read(values)))
        for slot in self.slots:
            if values[slot.character]:
                members.append(saved_member(self.store, values[slot.character], slot.direction.read(values)))
        return members

    def read(self, values: Mapping[Component, Any]) -> tuple[dict[str, Any], dict[str, Path | bytes]]:
        """The request that the form describes, checked, and its files.

        Raises:
            UserError: a value is invalid; says how to fix it.
        """
        prompt = (values[self.prompt] or "").strip()
        if not prompt:
            raise UserError("the prompt is empty; write what happens in the video")
        request: dict[str, Any] = {"prompt": prompt}
        settings = given(Request, {name: values[one] for name, one in self.settings.items()}, self.defaults)
        size = [settings.pop(name, self.defaults[name]) for name in ("width", "height")]
        if size != [self.defaults["width"], self.defaults["height"]]:
            request["size"] = f"{size[0]}x{size[1]}"
        if seed := (values[self.seed] or "").strip():
            if not seed.isdecimal():
                raise UserError(f"Seed: {seed!r} is no whole number from 0; give one, or nothing for a random seed")
            request["seed"] = int(seed)
        masks: Masks = values[self.masks]
        members = named([with_masks(member, masks) for member in self.members(values)])
        files = {name: content for member in members.values() for name, content in member.files.items()}
        if members:
            request["subjects"] = {name: member.values for name, member in members.items()}
        request |= settings
        self.model.check(request)
        return request, files

    def filled(self, request: Mapping[str, Any], *, seed: bool = True) -> dict[Any, Any]:
        """The prompt and the settings of a request; its subjects are filled by `Reuse`.

        Args:
            request: a row, or a recipe's values.
            seed: whether its seed is filled in.
        """
        width, height = map(int, request["size"].split("x")) if "size" in request else (None, None)
        values = {**request, **({"width": width, "height": height} if width else {})}
        filled: dict[Any, Any] = {self.prompt: request["prompt"], self.seed: str(request["seed"]) if seed else ""}
        return filled | {one: shown(values.get(name, self.defaults[name])) for name, one in self.settings.items()}


def examples(model: ServedModel) -> tuple[str, ...]:
    """Prompts that the model can follow."""
    domain = model.defaults.domain
    if domain is None:
        return OPEN_EXAMPLES
    return CRITTER_EXAMPLES if "critter" in domain.words else ()


def not_in_form(request: Mapping[str, Any]) -> list[str]:
    """The names of a request's settings that the form has no control for."""
    known = {"prompt", "seed", "size", "subjects", "reference", "output", EXPLAIN, *SETTINGS}
    names = [name for name in request if name not in known]
    of_subject = {"images", "file", "image_masks", "mask", *CONTROLS}
    tables = request.get("subjects", {}).values()
    return names + sorted({name for table in tables for name in table if name not in of_subject})
