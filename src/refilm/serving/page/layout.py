"""The whole page: its tabs, the clock that keeps them up to date, and the buttons that lead from one to another."""

from contextlib import suppress
from typing import Any

import gradio as gr

from refilm.errors import UserError
from refilm.serving.errors import NotFoundError
from refilm.serving.options import ServerOptions
from refilm.serving.page import live, tools
from refilm.serving.page.asking import Desk
from refilm.serving.page.compare import CompareTab
from refilm.serving.page.create import CreateTab
from refilm.serving.page.fragments import alert, note, text
from refilm.serving.page.gallery import GalleryTab
from refilm.serving.page.runs import Runs
from refilm.serving.page.training import TrainingTab
from refilm.serving.store import Store

TICK = 1.0  # seconds
ELSEWHERE = "This video does not exist any more."


def page(store: Store, options: ServerOptions, runs: Runs | None) -> gr.Blocks:
    """The page as a Gradio app.

    Args:
        store: the jobs.
        options: the model and the limits.
        runs: training runs; None: there is no training tab.
    """
    with gr.Blocks(title="refilm", analytics_enabled=False, delete_cache=(3600, 24 * 3600)) as blocks:
        gr.HTML(f'<header class="top"><h1>refilm</h1><p>{text(options.model.name)}</p></header>', elem_id="header")
        Page(Desk(store, options), runs)
        tools.add_tools(Desk(store, options))
    return blocks


class Page:
    """The tabs and their connections.

    Args:
        desk: asks for videos.
        runs: training runs, or None.
    """

    def __init__(self, desk: Desk, runs: Runs | None):
        self.desk, self.store = desk, desk.store
        self.seen = gr.State({})
        with gr.Tabs(selected="create", elem_id="tabs") as self.tabs:
            with gr.Tab("Create", id="create"):
                self.create = CreateTab(desk)
            with gr.Tab("Gallery", id="gallery"):
                self.gallery = GalleryTab(desk)
            with gr.Tab("Compare", id="compare"):
                self.compare = CompareTab(self.store)
            if runs is not None:
                with gr.Tab("Training", id="training"):
                    TrainingTab(runs)
        self._connect()

    def _connect(self) -> None:
        gallery, create = self.gallery, self.create
        live_outputs = [self.seen, create.active, create.recent, gallery.grid, gallery.more]
        clock = gr.Timer(TICK)
        quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False}
        clock.tick(self._tick, [self.seen, gallery.limit], live_outputs, **quiet)
        opened = [self.tabs, *gallery.shown, create.message, *create.form.outputs, *live_outputs]
        for source in (create.active, create.recent, gallery.grid):
            source.click(self._act, gallery.limit, opened, show_progress="hidden")
        reused = [self.tabs, create.message, *create.form.outputs, gallery.message]
        gallery.reuse.click(self._reuse, gallery.chosen, reused, show_progress="hidden")
        both = [self.tabs, self.compare.left, self.compare.right]
        gallery.compare.click(self._compare, [gallery.chosen, self.compare.right], both, show_progress="hidden")

    def _tick(self, seen: dict[str, str], limit: int) -> dict[Any, Any]:
        """What has changed since the browser's last look."""
        create, gallery = self.create, self.gallery
        now = {"active": live.active(self.store), "recent": live.recent(self.store), "ended": self._ended()}
        changed: dict[Any, Any] = {}
        if now["active"] != seen.get("active"):
            changed[create.active] = now["active"]
        if now["recent"] != seen.get("recent"):
            changed[create.recent] = now["recent"]
        if now["ended"] != seen.get("ended"):
            changed |= gallery.refreshed(limit)
        return {self.seen: now, **changed} if changed else {self.seen: gr.skip()}

    def _ended(self) -> str:
        """Changes whenever a video ends or is deleted."""
        counts = self.store.counts()
        return f"{counts['completed']} {counts['deleted']}"

    def _act(self, limit: int, event: gr.EventData) -> dict[Any, Any]:
        """What a button in HTML does."""
        action, key = event.action, event.key
        if action == "open":
            return {self.tabs: gr.Tabs(selected="gallery"), **self.gallery.open(key)}
        if action == "reuse":
            return self._reuse(key)
        with suppress(NotFoundError):  # it is gone already
            self.store.delete(key)
        return {
            self.seen: {},  # so that the clock shows everything again, whatever it has shown before
            self.create.active: live.active(self.store),
            self.create.recent: live.recent(self.store),
            **self.gallery.refreshed(limit),
        }

    def _reuse(self, job: str) -> dict[Any, Any]:
        """Fill the form with the settings of a job."""
        create = self.create
        try:
            filled, said = create.reuse.of_job(self.store.get(job))
        except NotFoundError:
            return {self.gallery.message: alert(ELSEWHERE)}
        except (UserError, OSError) as error:
            return {self.gallery.message: alert(str(error))}
        shown = note(said or "The settings of the video are in the form.")
        return {self.tabs: gr.Tabs(selected="create"), create.message: shown, **filled}

    def _compare(self, chosen: str, right: str | None) -> dict[Any, Any]:
        return {self.tabs: gr.Tabs(selected="compare"), **self.compare.with_left(chosen, right)}
