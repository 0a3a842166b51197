"""Group files into clips by name: `7.mp4`, `7.txt` or `7.json`, `7.png`, `7.2.png`, `7.mask.png`.

This is the layout of WebDataset tars and of folders of videos with captions beside them. Archives of `videos/7.mp4`,
`labels/7.txt` and `ref_images/7/a.png` are supported too. The order of the files does not matter.

Without any video, images are the clips: `7.png`, `7.txt`, with `7.2.png` as a reference unless it has a caption, too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from refilm.data.examples import IMAGES, STILLS, VIDEOS
from refilm.data.importing.columns import Columns, FileResolver, clip_of
from refilm.data.importing.rows import File, ImportedClip, content_of
from refilm.data.text import decoded, parsed
from refilm.errors import UserError
from refilm.printable import printable

MASK = "mask"  # prefix of a mask's suffixes: 7.mask.png
CLIPS = tuple(suffix for suffix in VIDEOS if suffix not in IMAGES)  # a GIF counts as an image here
TEXTS = ".txt", ".json"
JSON_FIELDS = "caption", "start", "end", "subject"  # the fields of a JSON file


def member_rows(
    members: Mapping[str, File], columns: Columns, files: FileResolver, source: str
) -> Iterator[ImportedClip]:
    """The clips of files, grouped by name. All other images of a clip are references except its mask, `7.mask.png`.

    Raises:
        UserError: a clip has no video (or image) or two of them, or invalid values. The error names the clip.
    """
    names = [name.lower() for name in members]
    stills = any(name.endswith(STILLS) for name in names) and not any(name.endswith(CLIPS) for name in names)
    groups = _groups(members, stills=stills)
    for key, group in groups.items():
        place = f"{source}, {key!r}"
        values = _values(group, members, columns, place, stills=stills)
        if "video" not in values:
            lone = next(iter(group.values()))
            fault = "has no image; add an image of that name" if stills else _no_video(key, groups)
            raise UserError(f"{place}: {fault}; or remove {lone!r}")
        yield clip_of(values, files, place)


def _groups(members: Mapping[str, File], *, stills: bool) -> dict[str, dict[str, str]]:
    """For each clip, its files: the part of the name after the clip's name, and the whole name."""
    folders = ["images" if stills else "videos", "labels"]
    called = [(_by_clip(name, folders), name) for name in members if not PurePosixPath(name).name.startswith(".")]
    clips = _stems((place for place, _ in called), STILLS if stills else CLIPS)
    if stills:
        captioned = _stems((place for place, _ in called), TEXTS)
        clips = {clip for clip in clips if clip in captioned or clips.isdisjoint(_prefixes(clip))}
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for place, name in called:
        key = _key(place, clips)
        suffixes = place[len(key) + 1 :].lower()
        groups[key][suffixes if suffixes not in groups[key] else name] = name
    return groups


def _stems(places: Iterable[str], suffixes: tuple[str, ...]) -> set[str]:
    """The names, without suffix, of files of some kinds that are not masks."""
    stems = {place.rpartition(".")[0] for place in places if place.lower().endswith(suffixes)}
    return {stem for stem in stems if not stem.lower().endswith(f".{MASK}")}


def _by_clip(name: str, flat: Sequence[str]) -> str:
    """Move the clip's name to the front: "a/labels/7.txt" is "a/7.txt", "ref_images/7/b.png" is "7.ref-b.png".

    Args:
        flat: names of folders that contain one file per clip.
    """
    *folders, file = name.split("/")
    if folders and folders[-1] in flat:
        return "/".join([*folders[:-1], file])
    if folders[-2:-1] == ["ref_images"]:
        return "/".join([*folders[:-2], f"{folders[-1]}.ref-{file}"])
    return name


def _key(place: str, clips: set[str]) -> str:
    """The longest clip name that is a prefix of the name up to a dot; otherwise the name up to its first dot."""
    folder, slash, file = place.rpartition("/")
    first = f"{folder}{slash}{file.partition('.')[0]}"
    return next((prefix for prefix in _prefixes(place) if prefix in clips), first)


def _prefixes(place: str) -> Iterator[str]:
    """The parts of a name before each of its dots, the longest first."""
    folder, slash, head = place.rpartition("/")
    while head:
        head = head.rpartition(".")[0]
        yield f"{folder}{slash}{head}"


def _no_video(key: str, groups: Mapping[str, Mapping[str, str]]) -> str:
    own = PurePosixPath(key).name
    for other, group in groups.items():
        video = next((name for name in group.values() if name.lower().endswith(CLIPS)), None)
        if video is not None and other != key and PurePosixPath(other).name == own:
            return f"has no video in its folder, but {video!r} is in another; put a clip's files in the same folder"
    return "has no video; add a video of that name"


def _values(
    group: Mapping[str, str], members: Mapping[str, File], columns: Columns, place: str, *, stills: bool
) -> dict[str, Any]:
    values: dict[str, Any] = {"caption": "", "references": []}
    for suffixes, name in group.items():
        file, suffix = members[name], f".{suffixes.rpartition('.')[2]}"
        if suffixes.startswith(f"{MASK}."):
            values["mask"] = file
        elif suffix in CLIPS or (stills and suffix == f".{suffixes}" and suffix in STILLS):
            if "video" in values:
                raise UserError(f"{place}: has two {'images' if stills else 'videos'}; rename one of them")
            values |= {"video": file, "source": printable(name)}
        elif suffix in IMAGES:
            values["references"].append(file)
        elif suffix == ".txt":
            values["caption"] = decoded(content_of(file), f"{place}, {name!r}")
        elif suffix == ".json":
            values |= _json_values(file, columns, f"{place}, {name!r}")
    return values


def _json_values(file: File, columns: Columns, place: str) -> dict[str, Any]:
    """The values in a clip's JSON file, without files, which are separate members."""
    return columns.values(parsed(decoded(content_of(file), place), place), place, fields=JSON_FIELDS, needed=())
