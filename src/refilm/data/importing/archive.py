"""List the members of a tar: their names and the positions of their contents. Nothing is unpacked.

Headers are parsed here because Python's reader loads headers of any size into memory and treats damage as the end of
the archive. Links, devices and sparse members, which can declare sizes larger than the archive, are refused.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from refilm.data.importing.rows import Slice
from refilm.errors import UserError

BLOCK = tarfile.BLOCKSIZE
LONGEST = 2**16  # bytes of a header extension; paths have at most 4096
PLAIN = tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE
RECORDS = tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE  # POSIX records such as "22 path=a/b.mp4\n"
SKIPPED = tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK, tarfile.DIRTYPE
DAMAGED = "not an uncompressed tar, or damaged"


def members_of(path: Path) -> Iterator[Slice]:
    """The regular files in a tar, in order.

    Raises:
        UserError: the file is not an uncompressed tar, is damaged or truncated, or a member is not a regular file. The
            error names it.
        OSError: the file cannot be read.
    """
    size, extended = path.stat().st_size, {}
    with path.open("rb") as file:
        while (member := _header(file, path)) is not None:
            name, start = extended.get("path", member.name), file.tell()
            length = _length(member, extended, f"{path}: {name!r}")
            if start + length > size:
                raise UserError(f"{path}: truncated within {name!r}; download it again")
            if member.type in RECORDS:
                extended |= _records(_extension(file, length, path), path)
            elif member.type == tarfile.GNUTYPE_LONGNAME:
                extended["path"] = _text(_extension(file, length, path).split(b"\0")[0])
            elif member.type not in SKIPPED:
                if member.type not in PLAIN or any(key.startswith("GNU.sparse") for key in extended):
                    raise UserError(f"{path}: {name!r} is not a regular file (for example a link); remove it")
                yield Slice(path, start, length, name)
            if member.type in PLAIN or member.type == tarfile.DIRTYPE:
                extended = {}
            file.seek(start + -(-length // BLOCK) * BLOCK)


def _header(file: BinaryIO, path: Path) -> tarfile.TarInfo | None:
    """The next header; None at the end-of-archive marker."""
    block = file.read(BLOCK)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        if any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(2**20), b"")):
            raise UserError(
                f"{path}: contains data after its end marker, like concatenated tars; import each tar separately"
            ) from None
        return None
    except tarfile.HeaderError as error:
        if not block and file.tell():
            raise UserError(f"{path}: truncated, its end marker is missing; download it again") from error
        raise UserError(f"{path}: {DAMAGED} ({error}); unpack or download it again") from error


def _length(member: tarfile.TarInfo, extended: dict[str, str], place: str) -> int:
    text = extended.get("size", str(member.size))
    if not text.isdecimal() or len(text) > 20:
        raise UserError(f"{place} declares an invalid size of {text[:20]} bytes; download it again")
    return int(text)


def _extension(file: BinaryIO, length: int, path: Path) -> bytes:
    if length > LONGEST:
        raise UserError(f"{path}: {DAMAGED} (a header of {length:,} bytes); unpack or download it again")
    return file.read(length)


def _records(content: bytes, path: Path) -> dict[str, str]:
    """The records of a POSIX pax header, each preceded by its length."""
    records = {}
    while content := content.lstrip(b"\0"):
        digits, space, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) <= 5 else 0
        key, equals, value = content[len(digits) + 1 : length].partition(b"=")
        if not space or not equals or length > len(content) or not value.endswith(b"\n"):
            raise UserError(f"{path}: {DAMAGED} (an invalid header); unpack or download it again")
        records[_text(key)] = _text(value[:-1])
        content = content[length:]
    return records


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
