"""A result as an HTML page in one file, which requests nothing: its videos, images and plots are in it."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

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

TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
"""Formats that browsers play; others are converted."""
SIDE = 256  # pixels of a reference at most
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
    videos = videos_of(result, controls[0])
    return environment.get_template("page.html").render(
        result=result,
        cases=len(videos),
        groups=len({video.group for video in videos}),
        table=table_of(result),
        notes=list(notes_on(result)),
        main=columns[0],
        examples=list(_examples(result, columns[0], folder)),
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
    for what, place in (("Best", 0), ("Median", len(order) // 2), ("Worst", len(order) - 1)):
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
    kind = TYPES.get(path.suffix.lower(), "video/mp4")
    try:
        content = path.read_bytes() if path.suffix.lower() in TYPES else _converted(path)
    except (OSError, UserError) as error:  # it was there when it was scored
        return Shown(caption, None, moving=False, error=str(error))
    return Shown(caption, _url(kind, content), moving=kind.startswith("video/"), error="")


def _converted(path: Path) -> bytes:
    with TemporaryDirectory() as folder:
        (file,) = open_video(path).save(Path(folder) / "video.mp4")
        return file.read_bytes()


def _thumbnail(path: Path) -> str:
    image, file = open_image(path), BytesIO()
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    image.save(file, "PNG")
    return _url("image/png", file.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
