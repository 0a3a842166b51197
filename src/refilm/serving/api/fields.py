"""The fields of a request for a video, and the row that they stand for. Files are still names and URLs here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from refilm.errors import UserError
from refilm.jobs.row import Row
from refilm.serving import ServedModel
from refilm.settings import Seed, Settings
from refilm.settings.names import meant

RENAMED = {
    "num_frames": "frames",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "input_reference": "reference",
}
"""Names that vLLM-Omni, SGLang and OpenAI have for settings of a row."""
UNKNOWN = "unknown field"
LONGEST = 24 * 3600  # seconds of a video


class ImageUrl(Settings):
    """An image that is not uploaded as a file of a form."""

    image_url: str
    """A data: URL; or an http(s) URL of a host that the server was started with."""


class CharacterId(Settings):
    """A character that appears in the video."""

    id: str
    """The id of the character."""


Image = str | ImageUrl

if TYPE_CHECKING:
    _Row = Settings
else:
    _Row = Row


class VideoCreate(_Row):
    """A request for a video. Only prompt is required; all other fields have the model's defaults."""

    seed: Seed | None = None
    """Random seed; the same seed gives the same video. Default: random."""
    output: str | None = None
    """Name of the file, whose ending selects the format: .mp4, .webm, .gif or .webp. Default: video.mp4."""
    model: str | None = None
    """The model that the server has. Default: that model."""
    seconds: (
        Annotated[float, Field(gt=0, le=LONGEST)] | Annotated[str, Field(pattern=r"^\d{1,5}(\.\d{1,3})?$")] | None
    ) = None
    """Duration; the nearest number of frames that the model supports is used. Default: the model's number of frames."""
    input_reference: Image | Annotated[tuple[Image, ...], Field(max_length=64)] | None = None
    """Image of the subject: a file of a form, or a URL. Several are views of one subject."""
    width: int | None = Field(default=None, ge=1, le=999_999)
    """Video width in pixels, with height in place of size."""
    height: int | None = Field(default=None, ge=1, le=999_999)
    """Video height in pixels, with width in place of size."""
    num_frames: int | None = Field(default=None, ge=1)
    """The same as frames."""
    num_inference_steps: int | None = Field(default=None, ge=1, le=999)
    """The same as steps."""
    guidance_scale: float | None = Field(default=None, ge=0, le=50)
    """The same as guidance."""
    fps: float | None = Field(default=None, gt=0, le=1000)
    """Frame rate; only that of the model is possible."""
    character_ids: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    """Characters that appear in the video."""
    characters: Annotated[tuple[CharacterId, ...], Field(max_length=16)] = ()
    """The same as character_ids, in OpenAI's form."""


SCHEMA = VideoCreate.model_json_schema()
NAMES = frozenset(VideoCreate.model_fields) | {"files", "name", "words", "images"}
"""What an error can name: the fields of a request for a video, of a form, and of a character."""


def row_of(values: Mapping[str, Any], model: ServedModel) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The row that the fields of a request stand for, and the ids of its characters.

    Raises:
        UserError: a field is unknown or invalid, given twice under two names, or not what the model has.
    """
    values = {name: value for name, value in values.items() if value is not None}
    _require_known(values)
    fields = VideoCreate.from_values(values)
    given = {name: getattr(fields, name) for name in VideoCreate.model_fields if name in values}
    row = {name: value for name, value in values.items() if name in Row.model_fields}
    for name, own in RENAMED.items():
        if name in values:
            _require_once(row, own, name)
            row[own] = values[name]
    if isinstance(row.get("reference"), str | dict):
        row["reference"] = [row["reference"]]
    _set_size(row, given)
    _set_frames(row, given, model)
    characters = (*given.get("character_ids", ()), *(one.id for one in given.get("characters", ())))
    if len(set(characters)) < len(characters):
        raise UserError("character_ids: a character is named twice; name each once")
    return row, characters


def require_model(name: str | None, model: ServedModel) -> None:
    """Refuse a model that the server does not have.

    Raises:
        UserError: it is another one.
    """
    if name not in (None, model.name):
        raise UserError(f"model: the server has {model.name} and not {name!r:.100}; leave it out or give that name")


def _require_known(values: Mapping[str, Any]) -> None:
    known = [*VideoCreate.model_fields]
    for name in values:
        if name not in known:
            similar = meant(name, known)
            raise UserError(f"{name}: {UNKNOWN}" + (f"; did you mean {similar}?" if similar else ""))


def _require_once(row: Mapping[str, Any], own: str, name: str) -> None:
    if own in row:
        raise UserError(f"{name}: means {own}, which is also given; give one of them")


def _set_size(row: dict[str, Any], given: Mapping[str, Any]) -> None:
    if "width" not in given and "height" not in given:
        return
    if not ("width" in given and "height" in given):
        raise UserError("size: width and height must both be given; or give size")
    _require_once(row, "size", "width")
    row["size"] = f"{given['width']}x{given['height']}"


def _set_frames(row: dict[str, Any], given: Mapping[str, Any], model: ServedModel) -> None:
    fps = model.defaults.fps
    if given.get("fps", fps) != fps:
        raise UserError(f"fps: {model.name} makes videos of {fps:g} frames per second; leave it out or give {fps:g}")
    if "seconds" in given:
        _require_once(row, "frames", "seconds")
        each = model.compression.token_frames
        row["frames"] = max(0, round((float(given["seconds"]) * fps - 1) / each)) * each + 1
