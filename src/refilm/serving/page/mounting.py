"""Mounts the page on the server's application."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from refilm.serving.options import ServerOptions
from refilm.serving.store import Store

if TYPE_CHECKING:
    from fastapi import FastAPI


def mount_page(app: "FastAPI", store: Store, options: ServerOptions, *, train: Path | None = None) -> None:
    """Serve the page at /, on an application that has the API.

    Args:
        app: the application.
        store: the jobs.
        options: the model and the limits.
        train: folder with recipes that may be trained. None: the page does not train.

    Raises:
        UserError: the folder does not exist.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read by Gradio whenever it would ask another server
    os.environ["GRADIO_TEMP_DIR"] = str(store.folder / "uploads")
    import gradio as gr

    from refilm.serving.page.layout import page
    from refilm.serving.page.routes import router
    from refilm.serving.page.runs import Runs
    from refilm.serving.page.theme import CSS, FAVICON, head, theme

    runs = None if train is None else Runs(train, store.folder / "training")
    app.include_router(router(store, None if runs is None else runs.sample))
    gr.mount_gradio_app(
        app,
        page(store, options, runs),
        "/",
        footer_links=[],
        run_history=False,
        max_file_size=options.max_upload,
        favicon_path=str(FAVICON),
        theme=theme(),
        css_paths=CSS,
        head=head(),
        mcp_server=True,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
    )
