"""The tab with the finished videos: thumbnails, and the chosen one with its recipe and what can be done with it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr

from refilm.errors import UserError
from refilm.generation.recipe import VideoRecipe, read_video_recipe, recipe_path
from refilm.serving.errors import NotFoundError
from refilm.serving.job import VideoJob
from refilm.serving.page.actions import actions
from refilm.serving.page.asking import Desk, steps_of_draft
from refilm.serving.page.controls import label_of
from refilm.serving.page.fragments import alert, content, empty, note, table, text, video
from refilm.serving.page.heat_maps import maps_of
from refilm.serving.store import Store

PAGE = 24
NOTHING = "No video is finished yet."
CHOOSE = "Select a video to see its recipe."
SHOWN = ("steps", "guidance", "sampler", "reference_scale", "negative_prompt")


class GalleryTab:
    """The gallery.

    Args:
        desk: asks for videos.
    """

    def __init__(self, desk: Desk):
        self.desk, self.store = desk, desk.store
        self.chosen, self.limit = gr.State(""), gr.State(PAGE)
        with gr.Row(equal_height=False, elem_classes="columns gallery-columns"):
            with gr.Column(scale=3, min_width=320):
                self.grid = actions(grid(self.store, PAGE), elem_id="grid")
                self.more = gr.Button("Show more", visible=self._has_more(PAGE), elem_id="more")
            with gr.Column(scale=2, min_width=320, elem_id="details"):
                self.details = actions(empty(CHOOSE), elem_id="detail")
                self.message = gr.HTML(elem_id="gallery-message")
                with gr.Row(visible=False, elem_classes="buttons") as self.buttons:
                    self.finish = gr.Button(
                        "Finish this draft", size="md", variant="primary", visible=False, elem_id="finish"
                    )
                    self.again = gr.Button("Again with another seed", size="md", elem_id="again")
                    self.reuse = gr.Button("Reuse these settings", size="md", elem_id="reuse")
                    self.explain = gr.Button("Make heat maps", size="md", visible=False, elem_id="explain")
                    self.compare = gr.Button("Compare", size="md", elem_id="compare-this")
                    self.delete = gr.Button("Delete", size="md", variant="stop", elem_id="delete")
        self._connect()

    @property
    def shown(self) -> list[Any]:
        """What `open` changes."""
        return [self.chosen, self.details, self.message, self.buttons, self.finish, self.explain]

    def open(self, job: str) -> dict[Any, Any]:
        """Show a video."""
        try:
            found = self.store.get(job)
            shown = details(self.store, found)
        except NotFoundError:
            return self.close(alert("this video was deleted"))
        draft = steps_of_draft(found) is not None
        explained = bool(found.request.get("subjects") or found.request.get("reference"))
        return {
            self.chosen: job,
            self.details: shown,
            self.message: "",
            self.buttons: gr.update(visible=True),
            self.finish: gr.update(visible=draft),
            self.explain: gr.update(visible=explained and not maps_of(self.store, found)),
        }

    def close(self, message: str = "") -> dict[Any, Any]:
        """Show no video."""
        hidden = gr.update(visible=False)
        return {
            self.chosen: "",
            self.details: empty(CHOOSE),
            self.message: message,
            self.buttons: hidden,
            self.finish: hidden,
            self.explain: hidden,
        }

    def refreshed(self, limit: int) -> dict[Any, Any]:
        """The thumbnails as the store has them now."""
        return {self.grid: grid(self.store, limit), self.more: gr.update(visible=self._has_more(limit))}

    def _has_more(self, limit: int) -> bool:
        return self.store.list(status="completed", limit=limit).has_more

    def _connect(self) -> None:
        outputs = [self.limit, self.grid, self.more]
        self.more.click(self._more, self.limit, outputs, show_progress="hidden")
        for one, ask, said in (
            (self.again, self.desk.again, "The video is queued with another seed."),
            (self.finish, self.desk.finish, "The video is queued with all steps."),
            (self.explain, self.desk.explain, "The video is queued again, with heat maps."),
        ):
            one.click(self._asking(ask, said), self.chosen, self.message, show_progress="hidden")
        self.delete.click(self._delete, [self.chosen, self.limit], [*self.shown, self.grid, self.more])

    def _more(self, limit: int) -> dict[Any, Any]:
        return {self.limit: limit + PAGE, **self.refreshed(limit + PAGE)}

    def _asking(self, ask: Callable[[VideoJob], VideoJob], said: str) -> Callable[[str], str]:
        def asked(chosen: str) -> str:
            try:
                ask(self.store.get(chosen))
            except UserError as error:
                return alert(str(error))
            return note(said)

        return asked

    def _delete(self, chosen: str, limit: int) -> dict[Any, Any]:
        with suppress(NotFoundError):  # somebody else deleted it
            self.store.delete(chosen)
        return {**self.close(note("The video is deleted.")), **self.refreshed(limit)}


def grid(store: Store, limit: int) -> str:
    """The thumbnails of the newest finished videos, each a button."""
    jobs = store.list(status="completed", limit=limit).jobs
    return f'<div class="grid">{"".join(map(_thumbnail, jobs))}</div>' if jobs else empty(NOTHING)


def details(store: Store, job: VideoJob) -> str:
    """A video with its recipe, its heat maps and its downloads.

    Raises:
        NotFoundError: it is not finished any more.
    """
    path = store.content(job)
    recipe = read_video_recipe(recipe_path(path))
    maps = "".join(
        f'<figure><video controls loop muted playsinline src="page/maps/{job.id}/{text(one.name)}" '
        f'aria-label="Heat map: {text(one.stem)}"></video><figcaption>{text(one.stem)}</figcaption></figure>'
        for one in maps_of(store, job)
    )
    heat = f'<h3 class="title">Heat maps</h3><div class="maps">{maps}</div>' if maps else ""
    name = f"{job.id}{path.suffix}"
    return (
        f'{video(job)}<p class="prompt">{text(job.prompt)}</p>{table(facts(recipe, job))}{heat}'
        f'<p class="links"><a href="{content(job)}" download="{name}">Download video</a> '
        f'<a href="page/recipes/{job.id}" download="{name}.json">Download recipe</a></p>'
        f"<details><summary>The whole recipe</summary><pre tabindex='0'>{text(recipe.to_json())}</pre></details>"
    )


def facts(recipe: VideoRecipe, job: VideoJob) -> list[tuple[str, object]]:
    """What a reader wants to know of a recipe; settings only if they are not the defaults, or matter always."""
    settings = recipe.settings
    rows: list[tuple[str, object]] = [("Seed", recipe.seed)]
    rows.append(("Size", f"{settings.width} x {settings.height}, {settings.frames} frames at {recipe.fps:g} fps"))
    fields = type(settings).model_fields
    for name in fields:
        value = getattr(settings, name)
        if value is not None and (name in SHOWN or (not fields[name].is_required() and value != fields[name].default)):
            rows.append((label_of(name), value))
    for subject in recipe.subjects:
        words = f", for {' or '.join(subject.words)}" if subject.words else ""
        rows.append(("Subject", f"{subject.name}{words}, strength {subject.scale:g}"))
    rows.append(("Base model", recipe.base.source))
    if steps := steps_of_draft(job):
        rows.append(("Draft", f"{settings.steps} of {steps} steps"))
    return rows


def _thumbnail(job: VideoJob) -> str:
    steps = steps_of_draft(job)
    mark = '<span class="mark">draft</span> ' if steps else ""
    return (
        f'<button class="thumbnail" data-action="open" data-key="{job.id}" title="seed '
        f'{job.seed}"><img src="{content(job, "thumbnail")}" alt="" loading="lazy">{mark}'
        f'<span class="caption">{text(job.prompt)}</span></button>'
    )
