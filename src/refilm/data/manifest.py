"""The examples of a data set in one canonical form: a manifest, JSON Lines, or a user's folder read as one.

Nothing is skipped silently: what is missing or empty is told with its line. Knows nothing of
encoders, and opens no video or image.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, ValidationError, model_validator

from refilm.arguments import checked
from refilm.data.examples import (
    LAYOUT,
    LONGEST_SOURCE,
    LONGEST_VIDEO,
    Example,
    Fault,
    Listed,
    Reference,
    caption_faults,
    one_line,
    sound,
)
from refilm.data.folders import list_folder
from refilm.data.text import lines
from refilm.files import write_text
from refilm.printable import printable
from refilm.settings import Settings, explain


class _Reference(Settings):
    image: str = Field(validation_alias=AliasChoices("image", "picture"))  # as 0.1 called it
    mask: str | None = None


class _Line(Settings):
    """A line of a manifest. Paths are relative to the manifest."""

    video: str
    caption: str
    references: list[str | _Reference]
    start: float | None = Field(default=None, ge=0, le=LONGEST_VIDEO, strict=True, allow_inf_nan=False)
    end: float | None = Field(default=None, gt=0, le=LONGEST_VIDEO, strict=True, allow_inf_nan=False)
    subject: str | None = Field(default=None, min_length=1)
    mask: str | None = None
    source: str | None = Field(default=None, max_length=LONGEST_SOURCE)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"end must come after start, {self.start or 0:g} s, but is {self.end:g} s")
        return self


@checked
def list_examples(path: Path | str, *, allow_outside: bool = False) -> list[Listed]:
    """All examples of a manifest or of a folder (`list_folder`), right or wrong. Opens none of their files.

    A manifest is a file of JSON lines, an example a line:
    `{"video": "1.mp4", "caption": "...", "references": ["1.png", {"image": "2.png", "mask": "2m.png"}]}`, and where
    known `"start": 0.5, "end": 3.0, "subject": "fox", "mask": "1m.mp4"`, and `"source"`, a name for messages alone.

    Its paths are relative to the manifest and may not leave its folder, by `..` or by links either, unless
    `allow_outside`. Empty lines are allowed.
    Either may hold examples without references.

    Raises:
        ValueError: `path` is neither, or holds no examples at all.
    """
    path = Path(path)
    if path.is_dir():
        return list_folder(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder; give a manifest, or a folder with {LAYOUT}")
    numbered = [(number, line) for number, line in lines(path) if line.strip()]
    if not numbered:
        raise ValueError(f"{path}: holds no examples; write one a line, or give a folder with {LAYOUT}")
    return [_listed(line, f"{path}:{number}", path.parent, allow_outside) for number, line in numbered]


@checked
def read_examples(path: Path | str, *, allow_outside: bool = False) -> list[Example]:
    """The examples of a manifest or of a folder; see `list_examples`.

    Raises:
        ValueError: as `list_examples`; or one is no such line, has no caption, or one of its files is missing or
            outside; or in a folder a file belongs to no video. Names the first and counts the rest.
    """
    return sound(list_examples(path, allow_outside=allow_outside))


def write_manifest(path: Path | str, examples: Iterable[Example], *, allow_outside: bool = False) -> None:
    """Write a manifest that `read_examples` reads back as equal. It appears whole or not at all.

    One that is there already and says the same keeps its time, so that its check stays good.

    Raises:
        ValueError: there is no such folder, or a file of an example lies outside of it and may not.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it first")
    relative = partial(_relative, folder=path.parent.resolve(), allow_outside=allow_outside)
    rows = (_as_line(example, relative).model_dump(exclude_none=True) for example in examples)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not path.is_file() or path.read_bytes() != text.encode(errors="surrogatepass"):
        write_text(path, text)


def _listed(text: str, place: str, folder: Path, allow_outside: bool) -> Listed:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        complaint = f"{explain(error).removeprefix('settings: '):.300}"
        form = '{"video": "1.mp4", "caption": "...", "references": ["1.png"]}'
        return Listed(place, None, (Fault("line", f"{place}: {complaint}; write {form}"),))
    if line.source:
        place = f"{place} ({printable(line.source)})"
    faults: list[Fault] = []

    def located(name: str) -> Path:
        path = folder / name
        fault = _fault(name, path, folder, allow_outside)
        if fault is not None:
            faults.append(Fault(fault[0], f"{place}: {fault[1]}", path))
        return path

    masked = [_Reference(image=item) if isinstance(item, str) else item for item in line.references]
    video = located(line.video)
    references = tuple(
        Reference(located(item.image), None if item.mask is None else located(item.mask)) for item in masked
    )
    mask = None if line.mask is None else located(line.mask)
    caption = one_line(line.caption)
    faults += caption_faults(caption, place)
    example = Example(video, caption, references, line.start, line.end, line.subject, mask, line.source)
    return Listed(place, example, tuple(faults))


def _fault(
    name: str, path: Path, folder: Path, allow_outside: bool
) -> tuple[Literal["missing", "outside"], str] | None:
    """Why the file `name` of `folder` cannot be used. Where it really lies counts, so links may not lead out either."""
    try:
        outside = Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve())
        missing = not path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a loop of links
        return "missing", f"{name!r} cannot be a path ({error}); give one relative to the manifest"
    if outside and not allow_outside:
        return "outside", f"{name!r} leads out of the manifest's folder; copy the file into it, or give --allow-outside"
    return ("missing", f"{name!r} is no file in {folder}; mend the path, or add the file") if missing else None


def _as_line(example: Example, relative: Callable[[Path], str]) -> _Line:
    video = relative(example.video)
    references = [
        _Reference(image=relative(item.image), mask=relative(item.mask)) if item.mask else relative(item.image)
        for item in example.references
    ]
    return _Line(
        video=video,
        caption=example.caption,
        references=references,
        start=example.start,
        end=example.end,
        subject=example.subject,
        mask=relative(example.mask) if example.mask else None,
        source=example.source,
    )


def _relative(path: Path, *, folder: Path, allow_outside: bool) -> str:
    path = path.resolve()
    inside = path.is_relative_to(folder)
    name = path.relative_to(folder).as_posix() if inside else str(path)
    if not is_utf8(name):
        raise ValueError(f"{path}: its name is not UTF-8; rename it, or give it a new name by refilm data import")
    if inside or allow_outside:
        return name
    raise ValueError(f"{path}: lies outside {folder}, the manifest's folder; write the manifest above all files")


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
