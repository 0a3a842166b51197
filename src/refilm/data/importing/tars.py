"""Clips from WebDataset tars: members of one name are one clip, wherever in the archive they lie."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from refilm.data.importing.archive import members_of
from refilm.data.importing.columns import Columns, Files
from refilm.data.importing.members import member_rows
from refilm.data.importing.rows import Row, Slice


def tar_rows(paths: Sequence[Path], columns: Columns) -> Iterator[Row]:
    """The clips of tars. First all names of a tar are read, then clip by clip what it needs.

    Raises:
        ValueError: one is no plain tar or cut short, holds a name twice, or a clip is at fault; names it.
    """
    for path in paths:
        members: dict[str, Slice] = {}
        for member in members_of(path):
            if member.name in members:
                raise ValueError(f"{path}: holds {member.name!r} twice; pack it anew, with one of them")
            members[member.name] = member
        yield from member_rows(members, columns, Files(path.parent, allow_outside=False), str(path))
