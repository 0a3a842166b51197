"""The tab in which videos are asked for and seen while they are made."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from refilm.errors import UserError
from refilm.serving.page import live
from refilm.serving.page.actions import actions
from refilm.serving.page.asking import Desk
from refilm.serving.page.form import Form, examples
from refilm.serving.page.fragments import alert, note, text
from refilm.serving.page.masking import MaskEditor
from refilm.serving.page.reuse import Reuse
from refilm.serving.page.subjects import MOST, NEW, choices, new_member

NO_ADAPTER = "This server has no adapter, so videos follow the prompt alone."
MOST_DRAFTS = 16


class CreateTab:
    """The form on the left, and the videos in progress on the right.

    Args:
        desk: asks for videos.
    """

    def __init__(self, desk: Desk):
        self.desk, self.store = desk, desk.store
        self.form = Form(desk.store, desk.options.model)
        self.reuse = Reuse(self.form)
        with gr.Row(equal_height=False, elem_classes="columns"):
            with gr.Column(scale=3, min_width=320):
                self._build_form()
            with gr.Column(scale=2, min_width=320):
                self.active = actions(live.active(self.store), elem_id="active")
                self.recent = actions(live.recent(self.store), elem_id="recent")
        self._connect()

    def _build_form(self) -> None:
        form, model = self.form, self.desk.options.model
        form.build_prompt()
        self.examples = actions(_examples(examples(model)), elem_id="examples")
        with gr.Column(visible=model.has_adapter):
            form.build_subjects()
        if not model.has_adapter:
            gr.HTML(note(NO_ADAPTER))
        self.message = gr.HTML(elem_id="message")
        self.create = gr.Button("Create video", variant="primary", elem_id="create")
        with gr.Accordion("Masks", open=False, elem_id="masks", visible=model.has_adapter):
            self.editor = MaskEditor(form)
        with gr.Accordion("Advanced settings", open=False, elem_id="advanced"):
            form.build_settings()
        with gr.Accordion("Drafts", open=False, elem_id="drafts"):
            self._build_drafts(model.defaults.steps)
        with gr.Accordion("Settings from a video", open=False, elem_id="from-video"):
            self.dropped = gr.File(
                label="Drop a video that refilm made: its recipe fills the form",
                file_types=[".mp4", ".webm", ".gif", ".webp"],
                elem_id="dropped",
                height=180,
            )

    def _build_drafts(self, steps: int) -> None:
        gr.HTML(
            "<p class='hint'>Drafts are videos of several seeds with few steps, to choose from. Finish makes a video "
            "again with the seed of its draft and all steps; it can differ from the draft.</p>"
        )
        with gr.Row(elem_classes="fields two"):
            self.count = gr.Slider(2, MOST_DRAFTS, 4, step=1, label="Number of drafts", elem_id="draft-count")
            self.draft_steps = gr.Number(
                max(1, steps // 4), precision=0, label="Steps of a draft", elem_id="draft-steps"
            )
        self.draft = gr.Button("Create drafts", elem_id="create-drafts")

    def _connect(self) -> None:
        form = self.form
        shown = self.message  # the clock shows the videos
        self.create.click(self._create, form.inputs, shown, show_progress="hidden")
        form.prompt.submit(self._create, form.inputs, shown, show_progress="hidden")
        inputs = form.inputs | {self.count, self.draft_steps}
        self.draft.click(self._create_drafts, inputs, shown, show_progress="hidden")
        self.examples.click(_chosen_example, None, form.prompt, show_progress="hidden")
        form.images.change(lambda images: gr.update(visible=bool(images)), form.images, form.new, queue=False)
        outputs = [form.message, form.images, form.name, form.new, form.saved, form.masks]
        outputs += [*form.direction.components, *(one for slot in form.slots for one in slot.components)]
        form.save.click(self._save, form.inputs, outputs, show_progress="hidden")
        form.saved.input(self._add, {*form.inputs, form.saved}, outputs, show_progress="hidden")
        for slot in form.slots:
            slot.remove.click(lambda slot=slot: slot.filled(self.store, ""), None, slot.components)
        self.dropped.upload(self._drop, self.dropped, [self.message, *form.outputs])
        self.editor.connect()

    def _create(self, values: dict[Component, Any]) -> dict[Any, Any]:
        return self._asked(lambda: [self.desk.create(*self.form.read(values))])

    def _create_drafts(self, values: dict[Component, Any]) -> dict[Any, Any]:
        count, steps = int(values[self.count] or 0), int(values[self.draft_steps] or 0)
        return self._asked(lambda: self.desk.drafts(*self.form.read(values), count=count, steps=steps))

    def _asked(self, ask: Callable[[], list[Any]]) -> dict[Any, Any]:
        """Ask for videos; what is wrong is shown above the button."""
        try:
            jobs = ask()
        except UserError as error:
            return {self.message: alert(str(error))}
        said = "The video is queued." if len(jobs) == 1 else f"{len(jobs)} drafts are queued."
        return {self.message: note(said)}

    def _save(self, values: dict[Component, Any]) -> dict[Any, Any]:
        """Save the new subject, and use the saved one in its place."""
        form = self.form
        name = (values[form.name] or "").strip()
        try:
            if not name:
                raise UserError("Name: is empty; give the subject a name to save it")
            table = form.direction.read(values)
            member = new_member(values[form.images], name, table)
            slot = self._free(values)
            saved = self.store.characters.create(name, member.files, words=tuple(table.get("words", ())))
        except UserError as error:
            return {form.message: alert(str(error))}
        hidden = gr.update(visible=False)
        masks = {key.replace(f"{NEW}/", f"{saved.id}/"): mask for key, mask in values[form.masks].items()}
        cleared = {form.images: None, form.name: "", form.new: hidden, form.masks: masks, form.saved: self._choices()}
        said = {form.message: note(f"{name} is saved, and is in this video.")}
        return {**said, **cleared, **form.direction.filled({}), **slot.filled(self.store, saved.id, table)}

    def _add(self, values: dict[Component, Any]) -> dict[Any, Any]:
        """Add a saved subject to the video."""
        form, character = self.form, values[self.form.saved]
        if not character:
            return {form.message: ""}
        try:
            if any(values[slot.character] == character for slot in form.slots):
                raise UserError("this subject is in the video already")
            filled = self._free(values).filled(self.store, character)
        except UserError as error:
            return {form.message: alert(str(error)), form.saved: self._choices()}
        return {form.message: "", form.saved: self._choices(), **filled}

    def _free(self, values: Mapping[Component, Any]) -> Any:
        for slot in self.form.slots:
            if not values[slot.character]:
                return slot
        raise UserError(f"the form has places for {MOST} saved subjects; remove one from this video")

    def _choices(self) -> Any:
        return gr.update(choices=[("Add a saved subject", ""), *choices(self.store)], value="")

    def _drop(self, path: str | None) -> dict[Any, Any]:
        if not path:
            return {self.message: ""}
        try:
            filled, said = self.reuse.of_video(Path(path))
        except UserError as error:
            return {self.message: alert(str(error))}
        return {self.message: note(said), **filled}


def _examples(prompts: tuple[str, ...]) -> str:
    buttons = (
        f'<button class="example" data-action="example" data-key="{number}">{text(prompt)}</button>'
        for number, prompt in enumerate(prompts)
    )
    return f'<div class="examples" role="group" aria-label="Examples of prompts">{"".join(buttons)}</div>'


def _chosen_example(event: gr.EventData) -> str:
    return event.label
