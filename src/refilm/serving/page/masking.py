"""The editor in which masks are drawn, for all subjects of the form."""

from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from refilm.errors import UserError
from refilm.media import open_video
from refilm.serving.errors import NotFoundError
from refilm.serving.page.form import Form
from refilm.serving.page.fragments import alert, empty, note
from refilm.serving.page.masks import background, blank, drawn, rectangle, targets

SIDES = ("Left", "Top", "Right", "Bottom")
NONE = "No mask is set: all of each image is read, and subjects may appear anywhere."


class MaskEditor:
    """An image editor, and a rectangle for those who do not draw.

    Args:
        form: has the subjects and the masks.
    """

    def __init__(self, form: Form):
        self.form = form
        self.summary = gr.HTML(empty(NONE), elem_id="mask-summary")
        self.target = gr.Dropdown([], label="Mask", filterable=False, elem_id="mask-target")
        self.load = gr.Button("Draw a mask", size="sm", elem_id="mask-load")
        with gr.Column(visible=False) as self.drawing:
            self.editor = gr.ImageEditor(
                label="Paint over the subject",
                type="numpy",
                sources=[],
                transforms=[],
                layers=False,
                brush=gr.Brush(colors=["#e8590c"], color_mode="fixed", default_size=40),
                height=420,
                buttons=[],
                elem_id="mask-editor",
            )
            self.use = gr.Button("Use what is painted", size="sm", elem_id="mask-use")
            with gr.Row(elem_classes="fields two"):
                self.sides = [
                    gr.Number(value, label=f"{side} (%)", precision=0, min_width=80, elem_id=f"mask-{side.lower()}")
                    for side, value in zip(SIDES, (25, 25, 75, 75), strict=True)
                ]
            self.use_rectangle = gr.Button("Use this rectangle", size="sm", elem_id="mask-use-rectangle")
        self.message = gr.HTML(elem_id="mask-message")
        self.remove = gr.Button("Remove all masks", size="sm", elem_id="mask-remove")

    def connect(self) -> None:
        """Connect the events."""
        form, message = self.form, self.message
        self.target.focus(self._targets, form.inputs, self.target, show_progress="hidden")
        shown = [message, self.target, self.drawing, self.editor]
        self.load.click(self._load, {*form.inputs, self.target}, shown)
        results = [message, form.masks, self.summary, self.drawing]
        self.use.click(self._use, {*form.inputs, self.target, self.editor}, results)
        self.use_rectangle.click(self._use_rectangle, {*form.inputs, self.target, *self.sides}, results)
        self.remove.click(self._remove, None, results)
        form.masks.change(self._summary, form.inputs, self.summary, show_progress="hidden")

    def _targets(self, values: dict[Component, Any]) -> dict[Any, Any]:
        try:
            return {self.target: gr.update(choices=targets(self.form.members(values)))}
        except UserError:  # shown when a button is used
            return {self.target: gr.update(choices=[])}

    def _load(self, values: dict[Component, Any]) -> dict[Any, Any]:
        """Show what the mask is drawn on."""
        try:
            members = self.form.members(values)
            known = targets(members)
            if not known:
                raise UserError("there is no subject to draw a mask for; add images, or a saved subject")
            keys = [key for _, key in known]
            key = values[self.target] if values[self.target] in keys else keys[0]
            image = background(key, members, self._frame(values))
        except UserError as error:
            return {self.message: alert(str(error))}
        return {
            self.message: "",
            self.target: gr.update(choices=known, value=key),
            self.drawing: gr.update(visible=True),
            self.editor: {"background": image, "layers": [], "composite": None},
        }

    def _use(self, values: dict[Component, Any]) -> dict[Any, Any]:
        return self._set(values, lambda _: drawn(values[self.editor]))

    def _use_rectangle(self, values: dict[Component, Any]) -> dict[Any, Any]:
        return self._set(values, lambda size: rectangle(size, [values[side] for side in self.sides]))

    def _set(self, values: dict[Component, Any], make: Any) -> dict[Any, Any]:
        key, form = values[self.target], self.form
        try:
            members = form.members(values)
            labels = {own: label for label, own in targets(members)}
            if key not in labels:
                raise UserError("choose what the mask is for, and select Draw a mask")
            masks = {**values[form.masks], key: (".png", make(background(key, members, self._frame(values)).size))}
        except UserError as error:
            return {self.message: alert(str(error))}
        said = note(f"The mask is set. {labels[key]}.")
        return {self.message: said, form.masks: masks, self.drawing: gr.update(visible=False)}

    def _remove(self) -> dict[Any, Any]:
        return {self.message: "", self.form.masks: {}, self.drawing: gr.update(visible=False)}

    def _summary(self, values: dict[Component, Any]) -> str:
        try:
            labels = {key: label for label, key in targets(self.form.members(values))}
        except UserError:
            labels = {}
        chosen = [labels[key] for key in values[self.form.masks] if key in labels]
        return "".join(map(note, chosen)) or empty(NONE)

    def _frame(self, values: dict[Component, Any]) -> Image.Image:
        """The middle frame of the newest video if it has the same shape, otherwise an empty one."""
        form = self.form
        width, height = (int(values[form.settings[name]] or form.defaults[name]) for name in ("width", "height"))
        for job in form.store.list(status="completed", limit=1).jobs:
            try:
                frames = open_video(form.store.content(job)).frames
            except (NotFoundError, UserError):
                break
            image = Image.fromarray(frames[len(frames) // 2])
            if image.width * height == image.height * width:
                return image
        return blank(width, height)
