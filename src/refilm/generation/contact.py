"""Contact pages and contact sheets of a series of videos."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np

from refilm.files import read_text
from refilm.generation.drawing import GROUND, Panels, sheet_frames, stacked
from refilm.media import Video

PAGE = Path(__file__).with_name("sweep.html")
MOVING = (".mp4", ".webm")


def page(
    title: str, text: str, rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[str | None]]
) -> str:
    """An HTML page with a table of videos.

    Args:
        title: the title.
        text: a sentence below it.
        rows: the heads of the rows.
        columns: the heads of the columns.
        cells: file names, relative to the page, of each row's videos; None: not made.
    """
    lines = ["<tr><th></th>" + "".join(f"<th>{escape(column)}</th>" for column in columns) + "</tr>"]
    for row, files in zip(rows, cells, strict=True):
        lines.append(f"<tr><th>{escape(row)}</th>" + "".join(f"<td>{_cell(file)}</td>" for file in files) + "</tr>")
    return Template(read_text(PAGE)).substitute(title=escape(title), text=escape(text), rows="\n".join(lines))


def _cell(file: str | None) -> str:
    if file is None:
        return "not made"
    source = escape(quote(file))
    moving = f'<video src="{source}" autoplay loop muted playsinline></video>'
    shown = moving if Path(file).suffix in MOVING else f'<img src="{source}" alt="">'
    return f'<figure>{shown}<figcaption><a href="{source}">{escape(file)}</a></figcaption></figure>'


def grid(rows: Sequence[Sequence[Video]], captions: Sequence[str]) -> Video:
    """Videos in rows with a caption above each row, as one video; shorter ones stay at their last frame."""
    panels = [[Panels(video, 1) for video in row] for row in rows]
    videos = [video for row in rows for video in row]
    frames = max(len(video.frames) for video in videos)
    height, width = (max(one.pixels(0).shape[axis] for row in panels for one in row) for axis in (0, 1))

    def shown(one: Panels, frame: int) -> np.ndarray:
        pixels = one.pixels(min(frame, len(one.video.frames) - 1))
        whole = np.full((height, width, 3), GROUND, np.uint8)
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        return whole

    sheets = [stacked([[shown(one, frame) for one in row] for row in panels], captions) for frame in range(frames)]
    return Video(np.stack([np.asarray(sheet) for sheet in sheets]), videos[0].fps)


def sheet(videos: Sequence[Video], captions: Sequence[str]) -> np.ndarray:
    """A few frames of each video in a row with a caption, (H, W, 3) uint8."""
    rows = [[Panels(video, 1).pixels(frame) for frame in sheet_frames(video)] for video in videos]
    return np.asarray(stacked(rows, captions))
