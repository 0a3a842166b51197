"""A result as an HTML page in one file, which requests nothing: its videos, images and plots are in it."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.result import ColumnRecord, Result, ScoredVideo
from refilm.evaluation.table import (
    HEADS,
    controls_of,
    notes_on,
    present_columns,
    table_of,
    videos_of,
)
from refilm.media import open_image, open_video
from refilm.media.containers import recognize

MP4 = "video/mp4"
PLAYED = {("mov", ".mp4"): MP4, ("mov", ".m4v"): MP4, ("matroska", ".webm"): "video/webm", ("gif", ".gif"): "image/gif"}
"""Media types of the formats that browsers play, by content and suffix."""
LARGEST = 4 << 20
"""Bytes of a video that is embedded as it is. Larger ones, and formats that browsers do not play, are converted."""
SIDE = 256  # pixels of a reference at most
VIDEO_SIDE, VIDEO_FRAMES = 480, 240  # pixels of a converted video's longer side and number of its frames, at most
REFERENCES = 4  # images of a subject at most


@dataclass(frozen=True)
class Shown:
    """A video on the page."""

    caption: str
    source: str | None
    """Its content as a data URL; None: there is no video."""
    moving: bool
    """Whether it is a video file, not an animated image."""
    error: str


@dataclass(frozen=True)
class Example:
    """A case with its subject, and its videos in all controls."""

    title: str
    prompt: str
    references: tuple[str, ...]
    """Images of the subject as data URLs."""
    videos: tuple[Shown, ...]


def page(result: Result, folder: Path, plots: Mapping[str, bytes], *, no_plots: str = "") -> str:
    """The page as HTML. All texts are escaped.

    Args:
        result: the result.
        folder: its paths are relative to this folder.
        plots: SVG files by name.
        no_plots: why there are none.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    columns, controls = present_columns(result), controls_of(result)
    main = next((column for column in columns if column.higher is not None), columns[0])
    videos = videos_of(result, controls[0])
    return environment.get_template("page.html").render(
        result=result,
        cases=len(videos),
        groups=len({video.group for video in videos}),
        table=table_of(result),
        notes=list(notes_on(result)),
        main=main,
        examples=list(_examples(result, main, folder)),
        plots=[(name, _url("image/svg+xml", plot)) for name, plot in plots.items()],
        no_plots=no_plots,
        columns=columns,
    )


def ranked(videos: list[ScoredVideo], column: ColumnRecord) -> list[ScoredVideo]:
    """Videos from best to worst by a column; failed ones are last, equal ones in the order of the cases."""
    sign = 1 if column.higher is False else -1
    return sorted(videos, key=lambda video: (video.error is not None, sign * video.scores[column.name]))


def _examples(result: Result, column: ColumnRecord, folder: Path) -> Iterator[Example]:
    order = ranked(videos_of(result, "right"), column)
    if not order:
        return
    places = {len(order) - 1: "Worst", len(order) // 2: "Median", 0: "Best"}  # of one video, only the best
    for place, what in sorted(places.items()):
        video = order[place]
        others = [one for one in result.videos if _question(one) == _question(video)]
        yield Example(
            f"{what}: {video.case}",
            video.prompt,
            tuple(_thumbnail(folder / path) for path in video.subject[:REFERENCES]),
            tuple(_shown(one, column, folder) for one in others),
        )


def _question(video: ScoredVideo) -> tuple[object, ...]:
    """What the controls of a case have in common."""
    return video.group, video.prompt, video.subject, video.seed


def _shown(video: ScoredVideo, column: ColumnRecord, folder: Path) -> Shown:
    caption = f"{HEADS[video.control]}: {column.name} {video.scores[column.name]:.3g}"
    if video.file is None or video.error is not None:
        return Shown(caption, None, moving=False, error=video.error or "no video")
    path = folder / video.file
    try:
        kind, content = _playable(path)
    except (OSError, UserError) as error:  # it was there when it was scored
        return Shown(caption, None, moving=False, error=str(error))
    return Shown(caption, _url(kind, content), moving=kind.startswith("video/"), error="")


def _playable(path: Path) -> tuple[str, bytes]:
    """The media type and the content of a video as a browser plays it. The name does not say what a file is."""
    kind = PLAYED.get((recognize(path), path.suffix.lower()))
    if kind is not None and path.stat().st_size <= LARGEST:
        return kind, path.read_bytes()
    video = open_video(path, frames=VIDEO_FRAMES)
    with TemporaryDirectory() as folder:
        (file,) = replace(video, frames=_shrunk(video.frames)).save(Path(folder) / "video.mp4")
        return MP4, file.read_bytes()


def _shrunk(frames: np.ndarray) -> np.ndarray:
    """Frames whose longer side is at most `VIDEO_SIDE`, (F, H, W, 3) uint8."""
    images = [Image.fromarray(frame) for frame in frames]
    for image in images:
        image.thumbnail((VIDEO_SIDE, VIDEO_SIDE), Image.Resampling.BOX)
    return np.stack([np.asarray(image) for image in images])


def _thumbnail(path: Path) -> str:
    image, file = open_image(path), BytesIO()
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    image.save(file, "PNG")
    return _url("image/png", file.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
