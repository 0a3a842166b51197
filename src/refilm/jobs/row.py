"""The settings of one row of a list: those of `refilm generate`, by name."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from refilm.control.subject import MOST_VIEWS, Subject
from refilm.errors import UserError
from refilm.generation.request import Prompt, Request
from refilm.settings import Seed, Settings, meant, optional

OF_SIZE = ("height", "width")  # one column, size
OF_COMMAND = ("base", "adapter", "image_encoder", "device", "dtype", "memory")


def _several(value: Any) -> Any:
    """One path as a list of one, so that a single image needs no brackets."""
    return tuple(value) if isinstance(value, list) else (value,)


def _named(tables: Any) -> Any:
    """Each table with its name as a value; settings refuse what is no table."""
    if not isinstance(tables, Mapping):
        return tables
    return {name: {"name": name, **table} if isinstance(table, Mapping) else table for name, table in tables.items()}


def _is_file_name(name: str) -> str:
    from refilm.media.writing import SUFFIXES  # options of commands are made from rows, and should not wait for imports

    if not name.lower().endswith(SUFFIXES):
        raise UserError(f"must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if name.startswith(".") or any(part in name for part in "/\\\0") or len(name.encode()) > 200:
        raise UserError("must be the name of a file, without folders and not hidden, of at most 200 bytes")
    return name


Images = Annotated[tuple[str, ...], BeforeValidator(_several), Field(max_length=MOST_VIEWS)]


class _Video(Settings):
    """What a row's video shows, and how its file is named."""

    prompt: Prompt
    """What happens, and where."""
    seed: Seed | None = None
    """Random seed of the video. Default: derived from the row's other settings."""
    output: Annotated[str, AfterValidator(_is_file_name)] | None = None
    """Name of the video's file: .mp4, .webm, .gif, .webp, or .png for one image per frame. Default: an MP4 named after
    the row's number and prompt."""
    reference: Images = ()
    """Images of the subject: several are views of it, not several subjects."""
    subjects: Annotated[dict[str, Subject], BeforeValidator(_named)] = Field(default_factory=dict)
    """Subjects by name, each with its images or file and its controls."""
    negative_reference: Images = ()
    """Images that the video should not resemble; guidance moves away from them."""
    size: Annotated[str, Field(pattern=r"^[1-9]\d{0,5}x[1-9]\d{0,5}$")] | None = None
    """Width x height in pixels, for instance 720x480. Default: the base model's."""
    scale: int | None = Field(default=None, ge=1, le=64)
    """Integer factor by which the saved video is enlarged. Default: enough for 256 pixels; 1 for .png."""

    def content(self) -> dict[str, Any]:
        """All given values except for the name of the file, in their plain form."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"output"})

    def request(self) -> dict[str, Any]:
        """The given settings of the generation."""
        given = {name: getattr(self, name) for name in Request.model_fields if name not in OF_SIZE}
        if self.size is not None:
            given["width"], given["height"] = map(int, self.size.split("x"))
        return {name: value for name, value in given.items() if value is not None}


if TYPE_CHECKING:
    Row = _Video
else:
    Row = create_model(
        "Row",
        __base__=_Video,
        **{
            name: (optional(field), Field(default=None, description=field.description))
            for name, field in Request.model_fields.items()
            if name not in OF_SIZE
        },
    )


def unknown(values: Mapping[str, Any]) -> Iterator[str]:
    """Messages about the names in a row, and in its subjects, that are no settings."""
    for name in values:
        if name not in Row.model_fields:
            yield f"{name}: {_hint(name)}"
    tables = values.get("subjects")
    for subject, table in tables.items() if isinstance(tables, Mapping) else ():
        known = [name for name in Subject.model_fields if name != "name"]
        for name in table if isinstance(table, Mapping) else ():
            if name not in known:
                similar = meant(name, known)
                yield f"subjects.{subject}.{name}: unknown" + (f"; did you mean {similar}?" if similar else "")


def _hint(name: str) -> str:
    if name in OF_COMMAND:
        return f"is the same for all rows; give the command --{name.replace('_', '-')}"
    if name in OF_SIZE:
        return 'give size, for instance "720x480"'
    similar = meant(name, list(Row.model_fields))
    return f"unknown; did you mean {similar}?" if similar else "unknown"
