"""The tab that plays two videos side by side in step, and lists what differs in their recipes."""

from typing import Any

import gradio as gr

from refilm.generation.recipe import read_video_recipe, recipe_path
from refilm.serving.errors import NotFoundError
from refilm.serving.job import VideoJob
from refilm.serving.page.fragments import content, empty, text
from refilm.serving.page.gallery import facts
from refilm.serving.store import Store

MOST = 200
CHOOSE = "Choose two finished videos."


class CompareTab:
    """Two videos.

    Args:
        store: has the videos.
    """

    def __init__(self, store: Store):
        self.store = store
        with gr.Row(elem_classes="fields two"):
            self.left = gr.Dropdown(_choices(store), label="Left video", filterable=False, elem_id="left")
            self.right = gr.Dropdown(_choices(store), label="Right video", filterable=False, elem_id="right")
        self.players = gr.HTML(empty(CHOOSE), elem_id="players")
        for side in (self.left, self.right):
            side.focus(self._refresh, None, [self.left, self.right], show_progress="hidden")
            side.change(self.pair, [self.left, self.right], self.players, show_progress="hidden")

    def with_left(self, job: str, right: str | None) -> dict[Any, Any]:
        """Compare a video with the chosen right one, or with the newest other one."""
        choices = _choices(self.store)
        others = [key for _, key in choices if key != job]
        right = right if right in others else next(iter(others), None)
        return {self.left: gr.update(choices=choices, value=job), self.right: gr.update(choices=choices, value=right)}

    def _refresh(self) -> tuple[Any, Any]:
        choices = _choices(self.store)
        return gr.update(choices=choices), gr.update(choices=choices)

    def pair(self, left: str | None, right: str | None) -> str:
        """Both videos with one set of controls, and what differs."""
        if not left or not right:
            return empty(CHOOSE)
        try:
            jobs = [self.store.get(left), self.store.get(right)]
            recipes = [dict(facts(read_video_recipe(recipe_path(self.store.content(job))), job)) for job in jobs]
        except NotFoundError:
            return empty("One of the videos was deleted. Choose another.")
        recipes = [{"Prompt": job.prompt, **recipe} for job, recipe in zip(jobs, recipes, strict=True)]
        names = list(dict.fromkeys([*recipes[0], *recipes[1]]))
        different = [name for name in names if recipes[0].get(name) != recipes[1].get(name)]
        rows = "".join(
            f'<tr><th scope="row">{text(name)}</th>'
            + "".join(f"<td>{text(recipe.get(name, 'default'))}</td>" for recipe in recipes)
            + "</tr>"
            for name in different
        )
        head = '<tr><th scope="col">Differs</th><th scope="col">Left</th><th scope="col">Right</th></tr>'
        players = _player(jobs[0], "Left video") + _player(jobs[1], "Right video")
        return (
            f'<div class="pair" data-sync><div class="videos">{players}</div><div class="transport">'
            '<button class="quiet" data-play>Play both</button>'
            '<input type="range" min="0" max="1000" value="0" step="1" aria-label="Position in both videos" data-seek>'
            f'</div><table class="differences">{head}{rows}</table></div>'
        )


def _player(job: VideoJob, label: str) -> str:
    return (
        f'<video muted loop playsinline preload="auto" aria-label="{label}: {text(job.prompt)}" src="{content(job)}" '
        f'poster="{content(job, "thumbnail")}"></video>'
    )


def _choices(store: Store) -> list[tuple[str, str]]:
    jobs = store.list(status="completed", limit=MOST).jobs
    return [(f"{job.number}: {job.prompt[:60]}, seed {job.seed}", job.id) for job in jobs]
