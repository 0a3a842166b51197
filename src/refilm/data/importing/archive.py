"""The members of a tar: what they are called, and where in it their contents lie. Nothing is unpacked.

Headers are walked here, since Python's own reader holds in memory whatever an archive calls a header, and takes damage
for the end. Links, devices and sparse members, which can claim to be larger than the archive, are refused.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from refilm.data.importing.rows import Slice

BLOCK = tarfile.BLOCKSIZE
LONGEST = 2**16  # bytes of an extension of a header; paths have at most 4096
PLAIN = tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE
RECORDS = tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE  # of POSIX: "22 path=a/b.mp4\n"
SKIPPED = tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK, tarfile.DIRTYPE
DAMAGED = "no plain tar, or damaged"


def members_of(path: Path) -> Iterator[Slice]:
    """The plain files in a tar, in its order.

    Raises:
        ValueError: it is no plain tar, damaged or cut short, or a member is a link or the like; names it.
        OSError: it cannot be read.
    """
    size, extended = path.stat().st_size, {}
    with path.open("rb") as file:
        while (member := _header(file, path)) is not None:
            name, start = extended.get("path", member.name), file.tell()
            length = _length(member, extended, f"{path}: {name!r}")
            if start + length > size:
                raise ValueError(f"{path}: cut short within {name!r}; download it again")
            if member.type in RECORDS:
                extended |= _records(_extension(file, length, path), path)
            elif member.type == tarfile.GNUTYPE_LONGNAME:
                extended["path"] = _text(_extension(file, length, path).split(b"\0")[0])
            elif member.type not in SKIPPED:
                if member.type not in PLAIN or any(key.startswith("GNU.sparse") for key in extended):
                    raise ValueError(f"{path}: {name!r} is no plain file but a link or the like; remove it")
                yield Slice(path, start, length, name)
            if member.type in PLAIN or member.type == tarfile.DIRTYPE:
                extended = {}
            file.seek(start + -(-length // BLOCK) * BLOCK)


def _header(file: BinaryIO, path: Path) -> tarfile.TarInfo | None:
    """The next header; none at the mark of the end."""
    block = file.read(BLOCK)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        if any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(2**20), b"")):
            raise ValueError(
                f"{path}: goes on after its end, as tars do that were put one behind another; give each for itself"
            ) from None
        return None
    except tarfile.HeaderError as error:
        if not block and file.tell():
            raise ValueError(f"{path}: cut short, for the mark of its end is missing; download it again") from error
        raise ValueError(f"{path}: {DAMAGED} ({error}); unpack or download it again") from error


def _length(member: tarfile.TarInfo, extended: dict[str, str], place: str) -> int:
    text = extended.get("size", str(member.size))
    if not text.isdecimal() or len(text) > 20:
        raise ValueError(f"{place} claims a size of {text[:20]} bytes; download it again")
    return int(text)


def _extension(file: BinaryIO, length: int, path: Path) -> bytes:
    if length > LONGEST:
        raise ValueError(f"{path}: {DAMAGED} (a header of {length:,} bytes); unpack or download it again")
    return file.read(length)


def _records(content: bytes, path: Path) -> dict[str, str]:
    """What a header of POSIX's newer form says, each record with its length before it."""
    records = {}
    while content := content.lstrip(b"\0"):
        digits, space, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) <= 5 else 0
        key, equals, value = content[len(digits) + 1 : length].partition(b"=")
        if not space or not equals or length > len(content) or not value.endswith(b"\n"):
            raise ValueError(f"{path}: {DAMAGED} (a header that cannot be read); unpack or download it again")
        records[_text(key)] = _text(value[:-1])
        content = content[length:]
    return records


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
