"""Read and write manifests (JSON Lines), the canonical list of a data set; folders are read in the same form.

Nothing is skipped silently: missing and empty values are reported with their line. Does not depend on encoders, and
opens no video or image.
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
    require_valid,
)
from refilm.data.folders import list_folder
from refilm.data.text import lines
from refilm.errors import UserError
from refilm.files import write_text
from refilm.printable import printable
from refilm.settings import Settings, explain


class _Reference(Settings):
    image: str = Field(validation_alias=AliasChoices("image", "picture"))  # `picture` in version 0.1
    mask: str | None = None


class _Line(Settings):
    """A line of a manifest. Paths are relative to the manifest; `video` can be an image."""

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
            raise UserError(f"end must come after start, {self.start or 0:g} s, but is {self.end:g} s")
        return self


@checked
def list_examples(path: Path | str, *, allow_outside: bool = False) -> list[Listed]:
    """All entries of a manifest or of a folder (`list_folder`), valid or not. Does not open the files.

    A manifest has one JSON object per line:
    `{"video": "1.mp4", "caption": "...", "references": ["1.png", {"image": "2.png", "mask": "2m.png"}]}`, with the
    optional fields `"start": 0.5, "end": 3.0, "subject": "fox", "mask": "1m.mp4"`, and `"source"`, a name that is
    used in messages only.

    Paths are relative to the manifest and must stay in its folder, also after links and `..` are resolved, unless
    `allow_outside` is set. Empty lines are allowed, and so are examples without references.

    Raises:
        UserError: `path` is neither a manifest nor a folder, or lists no examples.
    """
    path = Path(path)
    if path.is_dir():
        return list_folder(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; choose a manifest, or a folder with {LAYOUT}")
    numbered = [(number, line) for number, line in lines(path) if line.strip()]
    if not numbered:
        raise UserError(f"{path}: contains no examples; write one per line, or choose a folder with {LAYOUT}")
    return [_listed(line, f"{path}:{number}", path.parent, allow_outside) for number, line in numbered]


@checked
def read_examples(path: Path | str, *, allow_outside: bool = False) -> list[Example]:
    """The examples of a manifest or of a folder; see `list_examples`.

    Raises:
        UserError: as `list_examples`; or an entry is invalid, has no caption, or names a file that is missing or
            outside the folder; or a file in a folder does not belong to any video. The error names the first fault and
            counts the others.
    """
    return require_valid(list_examples(path, allow_outside=allow_outside))


def write_manifest(path: Path | str, examples: Iterable[Example], *, allow_outside: bool = False) -> None:
    """Write a manifest atomically; `read_examples` returns equal examples.

    An identical existing manifest is not rewritten, so its check stays valid.

    Raises:
        UserError: the folder does not exist, or a file of an example is outside it and `allow_outside` is not set.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
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
    if example.still and not line.start is line.end is None:
        faults.append(Fault("line", f"{place}: {line.video!r} is an image, which has no start and no end; remove both"))
    return Listed(place, example, tuple(faults))


def _fault(
    name: str, path: Path, folder: Path, allow_outside: bool
) -> tuple[Literal["missing", "outside"], str] | None:
    """Why the file `name` of `folder` cannot be used. Links are resolved first, so they cannot lead outside either."""
    try:
        outside = Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve())
        missing = not path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a link cycle
        return "missing", f"{name!r} is not a valid path ({error}); use one relative to the manifest"
    if outside and not allow_outside:
        return "outside", f"{name!r} is outside the manifest's folder; copy the file into it, or use --allow-outside"
    return ("missing", f"{name!r} is not a file in {folder}; fix the path, or add the file") if missing else None


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
        raise UserError(f"{path}: the file name is not UTF-8; rename the file, or import it with refilm data import")
    if inside or allow_outside:
        return name
    raise UserError(
        f"{path}: is outside {folder}, the manifest's folder; write the manifest to a parent folder of all files"
    )


def is_utf8(name: str) -> bool:
    """Whether a file name can be encoded as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
