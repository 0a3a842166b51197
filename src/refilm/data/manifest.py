"""The examples of a data set: a video, its caption and its reference pictures, listed in one canonical form.

Reads a user's folder or a JSON Lines manifest. Nothing is skipped silently: what is missing, empty or
left over is an error that names the file. Knows nothing of encoders; opens files only in `load_example`.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, ImageOps
from pydantic import Field, ValidationError, model_validator

from refilm.media import open_picture, open_video
from refilm.media.writing import replacing
from refilm.settings import Settings, explain

LAYOUT = "videos/1.mp4, labels/1.txt, ref_images/1/*.png"
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Reference:
    """A picture of the subject."""

    picture: Path
    mask: Path | None = None
    """A picture, white where the subject is in the other."""


@dataclass(frozen=True)
class Example:
    """One clip to learn from."""

    video: Path
    caption: str
    references: tuple[Reference, ...]
    """Of the subject; none where they are still to be made."""
    start: float | None = None
    """Where the clip begins in the video, in seconds; None: where the video does."""
    end: float | None = None
    """Where the clip ends, in seconds; None: where the video does."""
    subject: str | None = None
    """A name that all clips of one subject share."""
    mask: Path | None = None
    """A video or picture, white where the subject is in the clip."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of this example, the video first."""
        pictures = (path for reference in self.references for path in (reference.picture, reference.mask))
        return (self.video, *(path for path in (*pictures, self.mask) if path is not None))


class _Reference(Settings):
    picture: str
    mask: str | None = None


class _Line(Settings):
    """A line of a manifest. Paths are relative to the manifest."""

    video: str
    caption: str
    references: list[str | _Reference]
    start: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    end: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    subject: str | None = Field(default=None, min_length=1)
    mask: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"end must come after start, {self.start or 0:g} s, but is {self.end:g} s")
        return self


def read_examples(path: Path | str, *, allow_outside: bool = False) -> list[Example]:
    """The examples of a folder (`read_folder`) or of a manifest (`read_manifest`, which `allow_outside` is for).

    Raises:
        ValueError: `path` is neither, or as these two do.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if path.is_file():
        return read_manifest(path, allow_outside=allow_outside)
    raise ValueError(f"{path}: no such file or folder; give a manifest, or a folder with {LAYOUT}")


def read_folder(folder: Path | str) -> list[Example]:
    """The examples of a folder with `videos/1.mp4`, `labels/1.txt` and `ref_images/1/*.png`, matched by name.

    Every picture in `ref_images/1/` is a reference for `videos/1.mp4`. Files whose names begin with a dot are
    left alone, as everywhere; so is all that lies beside these three folders.

    Raises:
        ValueError: a folder is missing, there are no videos, one has no caption or no reference, or a caption,
            a picture or another file belongs to no video. Names the first such file and counts the rest.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give a folder with {LAYOUT}")
    for part in ("videos", "labels", "ref_images"):
        if not (folder / part).is_dir():
            raise ValueError(f"{folder}: has no folder {part}; lay it out as {LAYOUT}")
    videos = _by_name(folder / "videos", VIDEOS)
    labels = _by_name(folder / "labels", (".txt",))
    pictures = {entry.name: entry for entry in _visible(folder / "ref_images")}
    names = sorted({*videos, *labels, *pictures})
    if not names:
        raise ValueError(f"{folder}: holds no videos; lay it out as {LAYOUT}")
    return _all(
        partial(_example, folder, name, videos.get(name), labels.get(name), pictures.get(name)) for name in names
    )


def read_manifest(path: Path | str, *, allow_outside: bool = False) -> list[Example]:
    """The examples of a JSON Lines file, one a line.

    `{"video": "1.mp4", "caption": "...", "references": ["1.png", {"picture": "2.png", "mask": "2m.png"}]}`, and where
    known `"start": 0.5, "end": 3.0, "subject": "fox", "mask": "1m.mp4"`.

    Paths are relative to the manifest and may not leave its folder, by `..` or by links either, unless
    `allow_outside`. Empty lines are allowed, and so is an empty list of references.

    Raises:
        ValueError: the file is missing or holds no examples; a line is no such object, its caption is empty, or
            one of its files is missing or outside. Names the first such line and counts the rest.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a manifest, a file of JSON lines")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8 ({error}); save it as such") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise ValueError(f"{path}: holds no examples; write one a line, or give a folder with {LAYOUT}")
    inside = partial(_inside, folder=path.parent, allow_outside=allow_outside)
    return _all(partial(_from_line, line, inside, f"{path}:{number}") for number, line in numbered)


def write_manifest(path: Path | str, examples: Iterable[Example], *, allow_outside: bool = False) -> None:
    """Write a manifest that `read_manifest` reads back as equal. It appears whole or not at all.

    Raises:
        ValueError: there is no such folder, or a file of an example lies outside of it and may not.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}; make it first")
    relative = partial(_relative, folder=path.parent.resolve(), allow_outside=allow_outside)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            line = _as_line(example, relative).model_dump(exclude_none=True)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def load_example(example: Example, *, frames: int, height: int, width: int) -> tuple[np.ndarray, list[Image.Image]]:
    """The first frames of an example's clip, at its own rate, and its references.

    Frames of another size are scaled until they cover height x width, and what overhangs is cut off evenly.

    Returns:
        The video (F, H, W, 3) uint8, and RGB pictures, each at its own size.

    Raises:
        ValueError: the video has fewer frames, or a file cannot be read as what it should be.
    """
    video = open_video(example.video, start=example.start, end=example.end).frames
    if len(video) < frames:
        raise ValueError(
            f"{example.video}: has {len(video)} frames where {frames} are needed; give a longer clip, or ask for fewer"
        )
    return _cover(video[:frames], height, width), [open_picture(reference.picture) for reference in example.references]


def _all(makers: Iterable[Callable[[], Example]]) -> list[Example]:
    """Every example, or one error: the first, with the number of the others."""
    examples: list[Example] = []
    faults: list[ValueError] = []
    for make in makers:
        try:
            examples.append(make())
        except ValueError as fault:
            faults.append(fault)
    if faults:
        more = f" ({len(faults) - 1} more of the examples have faults)" if len(faults) > 1 else ""
        raise ValueError(f"{faults[0]}{more}") from faults[0]
    return examples


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    files = _visible(folder)
    for file in files:
        if file.suffix.lower() not in suffixes or not file.is_file():
            raise ValueError(f"{file}: not a file of these kinds: {', '.join(suffixes)}; convert it, or move it away")
    return files


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by their names without suffix."""
    files: dict[str, Path] = {}
    for file in _files(folder, suffixes):
        if file.stem in files:
            raise ValueError(f"{file}: {files[file.stem].name} has the same name; rename one, and what belongs to it")
        files[file.stem] = file
    return files


def _example(folder: Path, name: str, video: Path | None, label: Path | None, pictures: Path | None) -> Example:
    if video is None:
        raise ValueError(f"{label or pictures}: belongs to no video; add videos/{name}.mp4, or move this away")
    if label is None:
        raise ValueError(f"{video}: has no caption; write one into {folder / 'labels' / name}.txt")
    if pictures is None or not pictures.is_dir():
        raise ValueError(f"{video}: has no reference; put a picture into the folder {folder / 'ref_images' / name}")
    references = tuple(Reference(picture) for picture in _files(pictures, PICTURES))
    if not references:
        raise ValueError(f"{video}: has no reference; put a picture into the folder {pictures}")
    try:
        text = label.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{label}: not text in UTF-8 ({error}); save it as such") from error
    return Example(video, _caption(text, str(label)), references)


def _caption(text: str, place: str) -> str:
    """One line, as the text encoders read it anyway."""
    caption = " ".join(text.split())
    if not caption:
        raise ValueError(f"{place}: the caption is empty; say what happens in the video")
    return caption


def _from_line(text: str, inside: Callable[[str, str], Path], place: str) -> Example:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        complaint = explain(error).removeprefix("settings: ")
        raise ValueError(
            f'{place}: {complaint}; write {{"video": "1.mp4", "caption": "...", "references": ["1.png"]}}'
        ) from error
    masked = [_Reference(picture=item) if isinstance(item, str) else item for item in line.references]
    references = tuple(
        Reference(inside(item.picture, place), inside(item.mask, place) if item.mask is not None else None)
        for item in masked
    )
    video, caption = inside(line.video, place), _caption(line.caption, place)
    mask = inside(line.mask, place) if line.mask is not None else None
    return Example(video, caption, references, line.start, line.end, line.subject, mask)


def _as_line(example: Example, relative: Callable[[Path], str]) -> _Line:
    video = relative(example.video)
    references = [
        _Reference(picture=relative(item.picture), mask=relative(item.mask)) if item.mask else relative(item.picture)
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
    )


def _inside(name: str, place: str, *, folder: Path, allow_outside: bool) -> Path:
    """The file `name` of `folder`. Where it really lies counts, so links may not lead out either."""
    path = folder / name
    try:
        outside = Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve())
        missing = not path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL byte, a loop of links
        raise ValueError(f"{place}: {name!r} cannot be a path ({error}); give one relative to the manifest") from error
    if outside and not allow_outside:
        raise ValueError(
            f"{place}: {name!r} leads out of the manifest's folder; copy the file into it, or give --allow-outside"
        )
    if missing:
        raise ValueError(f"{place}: {name!r} is no file in {folder}; mend the path, or add the file")
    return path


def _relative(path: Path, *, folder: Path, allow_outside: bool) -> str:
    path = path.resolve()
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    if allow_outside:
        return str(path)
    raise ValueError(f"{path}: lies outside {folder}, the manifest's folder; write the manifest above all files")


def _cover(video: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels enlarged by a whole factor come back as they were: then each is the mean of its square."""
    if video.shape[1:3] == (height, width):
        return video
    shrink = min(video.shape[1] / height, video.shape[2] / width)
    method = Image.Resampling.BOX if shrink.is_integer() else Image.Resampling.LANCZOS
    return np.stack([np.asarray(ImageOps.fit(Image.fromarray(frame), (width, height), method)) for frame in video])
