"""The training tab: choose a recipe, start it, watch whether the reference is used, stop and resume."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from refilm.errors import UserError
from refilm.printable import printable
from refilm.serving.page.fragments import alert, empty, text
from refilm.serving.page.plots import gap_plot
from refilm.serving.page.runs import Run, Runs

TICK = 2.0  # seconds
STATES = {
    "none": "Nothing was trained yet.",
    "running": "Training",
    "stopping": "Stopping: the last step is being saved",
    "stopped": "Stopped",
    "finished": "Finished",
}
LOG_LINES = 15


class TrainingTab:
    """The tab.

    Args:
        runs: starts and stops the training.
    """

    def __init__(self, runs: Runs):
        self.runs, self.seen = runs, gr.State("")
        with gr.Row(equal_height=False, elem_classes="columns"):
            with gr.Column(scale=2, min_width=320):
                self.recipe = gr.Dropdown(
                    runs.list(), value=None, label="Recipe", info=f"TOML files in {runs.recipes}", elem_id="recipe"
                )
                self.start = gr.Button("Start training", variant="primary", elem_id="start")
                with gr.Row(elem_classes="fields"):
                    self.stop = gr.Button("Stop and save", elem_id="stop")
                    self.resume = gr.Button("Resume", elem_id="resume")
                self.message = gr.HTML(elem_id="training-message")
            with gr.Column(scale=3, min_width=320):
                self.state = gr.HTML(state_of(runs.current()), elem_id="run")
        for button, act, inputs in (
            (self.start, runs.start, self.recipe),
            (self.stop, runs.stop, None),
            (self.resume, runs.resume, None),
        ):
            button.click(self._acting(act), inputs, [self.message, self.state, self.seen], show_progress="hidden")
        self.recipe.focus(lambda: gr.update(choices=runs.list()), None, self.recipe, show_progress="hidden")
        quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False}
        gr.Timer(TICK).tick(self._tick, self.seen, [self.seen, self.state], **quiet)

    def _acting(self, act: Callable[..., None]) -> Callable[..., tuple[str, str, str]]:
        def acted(*values: str | None) -> tuple[str, str, str]:
            try:
                act(*(value or "" for value in values))
                message = ""
            except UserError as error:
                message = alert(str(error))
            now = state_of(self.runs.current())
            return message, now, now

        return acted

    def _tick(self, seen: str) -> tuple[Any, Any]:
        now = state_of(self.runs.current())
        return (gr.skip(), gr.skip()) if now == seen else (now, now)


def state_of(run: Run) -> str:
    """A run as HTML."""
    if run.state == "none":
        return empty(STATES["none"])
    saved = f", step {run.step} is saved" if run.step is not None else ""
    result = f'<p class="state">The adapter is in {text(run.result)}.</p>' if run.result else ""
    words = run.validations[-1]["words"] if run.validations else "No validation yet."
    samples = "".join(
        f'<video controls loop muted playsinline src="page/samples/{text(run.name)}/{text(name)}" '
        f'aria-label="Sample video {number}"></video>'
        for number, name in enumerate(run.samples, 1)
    )
    lines = [printable(line) for line in run.log.splitlines() if line.strip()][-LOG_LINES:]
    error = lines[-1].removeprefix("error: ") if run.state == "stopped" and lines[-1:] and "error:" in lines[-1] else ""
    shown = f'<h3 class="title">Sample videos</h3><div class="maps">{samples}</div>' if samples else ""
    log = text("\n".join(lines))
    return (
        f'<h2 class="title">{STATES[run.state]}: {text(run.recipe)}</h2>'
        f'<p class="state">Run {text(run.name)}{saved}</p>{result}{alert(error)}'
        f'<h3 class="title">Is the reference used?</h3>{gap_plot(run.validations)}<p class="state">{text(words)}</p>'
        f"{shown}<details><summary>Log</summary><pre tabindex='0'>{log}</pre></details>"
    )
