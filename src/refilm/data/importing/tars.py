"""Clips from WebDataset tars: members of one name are one clip, `7.mp4`, `7.txt` or `7.json`, `7.png`, `7.2.png`.

Members are read one after another and never unpacked, so that no name in an archive becomes a path. Links, devices
and sparse members, which can claim to be larger than the archive, are refused.
"""

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from refilm.data.examples import PICTURES, VIDEOS
from refilm.data.importing.columns import Columns, Files, row_of
from refilm.data.importing.rows import Row

MASK = "mask."  # how the suffixes of a mask begin: 7.mask.png


def tar_rows(paths: list[Path], columns: Columns) -> Iterator[Row]:
    """The clips of tars. All pictures of a clip are references, `7.mask.png` or `7.mask.mp4` is its mask.

    A JSON file may hold caption, start, end and subject, under names that `columns` tells.

    Raises:
        ValueError: one is no plain tar or cut short, or a clip has no video, two of them, or values of no use.
    """
    for path in paths:
        files = Files(path.parent, allow_outside=False)
        try:
            with tarfile.open(path, "r:") as tar:
                for key, members in groupby(_members(tar, path), key=lambda member: _parts(member.name)[0]):
                    place = f"{path}, {key!r}"
                    yield row_of(_values(tar, list(members), columns, place), Columns({}), files, place)
        except (tarfile.TarError, EOFError, OSError, MemoryError, OverflowError) as error:
            raise ValueError(f"{path}: no plain tar, or damaged ({error}); unpack or download it again") from error


def _members(tar: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    size = path.stat().st_size
    for member in tar:
        if member.isdir() or PurePosixPath(member.name).name.startswith("."):
            continue
        if not member.isreg() or member.issparse():
            raise ValueError(f"{path}: {member.name!r} is no plain file but a link or the like; remove it")
        if member.offset_data + member.size > size:
            raise ValueError(f"{path}: cut short within {member.name!r}; download it again")
        yield member


def _parts(name: str) -> tuple[str, str]:
    """The key of a clip and the suffixes: "a/7.ref.png" is of "a/7" and has "ref.png"."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffixes = file.partition(".")
    return f"{folder}{slash}{stem}", suffixes.lower()


def _values(tar: tarfile.TarFile, members: list[tarfile.TarInfo], columns: Columns, place: str) -> dict[str, Any]:
    values: dict[str, Any] = {"video": None, "caption": "", "references": []}
    for member in members:
        suffixes = _parts(member.name)[1]
        suffix = f".{suffixes.rpartition('.')[2]}"
        content = _read(tar, member)
        if suffixes.startswith(MASK):
            values["mask"] = _file(content, member)
        elif suffix in VIDEOS and suffix not in PICTURES:
            if values["video"] is not None:
                raise ValueError(f"{place}: holds two videos; give each a name of its own")
            values["video"] = _file(content, member)
        elif suffix in PICTURES:
            values["references"].append(_file(content, member))
        elif suffix == ".txt":
            values["caption"] = _text(content, place)
        elif suffix == ".json":
            values |= _told(content, columns, place)
    return values


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, member
    return file.read()


def _file(content: bytes, member: tarfile.TarInfo) -> dict[str, Any]:
    return {"bytes": content, "path": member.name}


def _text(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: the caption is not text in UTF-8 ({error}); save it as such") from error


def _told(content: bytes, columns: Columns, place: str) -> dict[str, Any]:
    """What a clip's JSON file says of it, but for files: those are members."""
    try:
        told = json.loads(_text(content, place))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{place}: its JSON cannot be read ({error}); mend it") from error
    if not isinstance(told, dict):
        raise ValueError(f"{place}: its JSON must be an object, received {type(told).__name__}")
    names = {field: columns.names.get(field, field) for field in ("caption", "start", "end", "subject")}
    return {field: told[name] for field, name in names.items() if told.get(name) is not None}
