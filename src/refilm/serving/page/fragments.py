"""Pieces of HTML. Everything that a user wrote is escaped here."""

import html
from collections.abc import Iterable

from refilm.serving.job import VideoJob


def text(value: object) -> str:
    """A value as text in HTML, in which nothing is markup."""
    return html.escape(str(value), quote=True)


def button(label: str, action: str, key: str, *, title: str = "") -> str:
    """A button; the page's handler of actions gets its action and key."""
    named = f' aria-label="{text(title)}"' if title else ""
    return f'<button class="quiet" data-action="{action}" data-key="{text(key)}"{named}>{text(label)}</button>'


def alert(message: str) -> str:
    """A message about what the user has to fix; nothing if it is empty."""
    return f'<p class="alert" role="alert">{text(message)}</p>' if message else ""


def note(message: str) -> str:
    """A message that all went well; nothing if it is empty."""
    return f'<p class="note" role="status">{text(message)}</p>' if message else ""


def empty(message: str) -> str:
    """What is shown where there is nothing to show yet."""
    return f'<p class="empty">{text(message)}</p>'


def table(rows: Iterable[tuple[str, object]]) -> str:
    """Names and values."""
    cells = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return f'<dl class="facts">{cells}</dl>'


def video(job: VideoJob, *, label: str = "") -> str:
    """A player of a finished video."""
    return (
        f'<video controls loop muted playsinline preload="metadata" aria-label="{text(label or job.prompt)}" '
        f'src="{content(job)}" poster="{content(job, "thumbnail")}"></video>'
    )


def content(job: VideoJob, variant: str = "video") -> str:
    """The address of a result."""
    return f"v1/videos/{job.id}/content?variant={variant}"


def duration(seconds: float) -> str:
    """A duration in words."""
    seconds = max(1, round(seconds))
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
