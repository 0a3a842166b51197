"""A folder of clips in the layout of the SAT fork with reference cross-attention; files are matched by name.

Nothing is skipped silently: missing, empty and unmatched files are reported by name. Opens no videos.
"""

from collections.abc import Mapping
from pathlib import Path

from refilm.data.examples import (
    IMAGES,
    LAYOUT,
    STILLS,
    VIDEOS,
    Example,
    Fault,
    Listed,
    Reference,
    caption_faults,
    one_line,
)
from refilm.data.text import read_short
from refilm.errors import UserError

CLIPS = {"videos": VIDEOS, "images": STILLS}  # folders of clips


def list_folder(folder: Path | str) -> list[Listed]:
    """The entries of a folder with `videos/1.mp4`, `labels/1.txt` and `ref_images/1/*.png`, valid or not, by name.

    Every image in `ref_images/1/` is a reference for `videos/1.mp4`; there may be none. Stills are in `images/`, as
    `images/2.png`. Hidden files (names that start with a dot) are ignored, and so is everything outside these folders.

    Raises:
        UserError: the folder or its `labels` are missing, or it has neither `videos` nor `images`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; choose a folder with {LAYOUT}")
    clips = {folder / part: suffixes for part, suffixes in CLIPS.items() if (folder / part).is_dir()}
    for part, there in {"videos": bool(clips), "labels": (folder / "labels").is_dir()}.items():
        if not there:
            remedy = "or convert other layouts to a manifest with refilm data import"
            raise UserError(f"{folder}: has no folder {part}; arrange the files as {LAYOUT}, {remedy}")
    videos, odd_videos = _by_name(clips)
    labels, odd_labels = _by_name({folder / "labels": (".txt",)})
    shown = folder / "ref_images"
    images = {entry.name: entry for entry in _visible(shown)} if shown.is_dir() else {}
    names = sorted({*videos, *labels, *images})
    odd = [*odd_videos, *odd_labels]
    if not names and not odd:
        raise UserError(f"{folder}: contains no videos; arrange the files as {LAYOUT}")
    return odd + [_listed(folder, name, videos.get(name), labels.get(name), images.get(name)) for name in names]


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _files(folder: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], list[Fault]]:
    """The files with these suffixes, and faults for all other entries."""
    kinds = f"not one of these file types: {', '.join(suffixes)}; convert it, or move it elsewhere"
    files, faults = [], []
    for file in _visible(folder):
        if file.suffix.lower() in suffixes and file.is_file():
            files.append(file)
        else:
            faults.append(Fault("line", f"{file}: {kinds}", file))
    return files, faults


def _by_name(folders: Mapping[Path, tuple[str, ...]]) -> tuple[dict[str, Path], list[Listed]]:
    """The files of folders by their names without suffix, and the entries that do not belong there."""
    found = [_files(folder, suffixes) for folder, suffixes in folders.items()]
    faults = [fault for _, faults in found for fault in faults]
    named: dict[str, Path] = {}
    for file in (file for files, _ in found for file in files):
        if file.stem in named:
            complaint = f"{named[file.stem].name} has the same name; rename one of them, with its caption and images"
            faults.append(Fault("line", f"{file}: {complaint}", file))
        else:
            named[file.stem] = file
    return named, [Listed(str(fault.file), None, (fault,)) for fault in faults]


def _listed(folder: Path, name: str, video: Path | None, label: Path | None, images: Path | None) -> Listed:
    if video is None:
        place = str(label or images)
        fault = Fault(
            "line", f"{place}: does not belong to any video; add videos/{name}.mp4, or move this file elsewhere"
        )
        return Listed(place, None, (fault,))
    caption, faults = _caption(video, label, folder / "labels" / f"{name}.txt")
    found, odd = _files(images, IMAGES) if images is not None and images.is_dir() else ([], [])
    references = tuple(Reference(image) for image in found)
    return Listed(str(video), Example(video, caption, references), (*faults, *odd))


def _caption(video: Path, label: Path | None, place: Path) -> tuple[str, list[Fault]]:
    if label is None:
        return "", [Fault("caption", f"{video}: has no caption; write one to {place}")]
    try:
        caption = one_line(read_short(label))
    except UserError as error:
        return "", [Fault("caption", str(error))]
    return caption, caption_faults(caption, str(label))
