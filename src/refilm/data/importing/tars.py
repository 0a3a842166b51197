"""Import WebDataset tars: members with the same name form a clip, in any order.

Not with the datasets library, which refuses tars whose members of one clip are not next to each other.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from refilm.data.importing.archive import members_of
from refilm.data.importing.columns import Columns, FileResolver
from refilm.data.importing.members import member_rows
from refilm.data.importing.rows import ImportedClip, Slice
from refilm.errors import UserError


def tar_rows(paths: Sequence[Path], columns: Columns) -> Iterator[ImportedClip]:
    """The clips of tars. All names of a tar are read first, then the contents of each clip.

    Raises:
        UserError: a file is not an uncompressed tar, is truncated or contains a name twice, or a clip is invalid. The
            error names it.
    """
    for path in paths:
        members: dict[str, Slice] = {}
        for member in members_of(path):
            if member.name in members:
                raise UserError(f"{path}: contains {member.name!r} twice; repack it with only one of them")
            members[member.name] = member
        yield from member_rows(members, columns, FileResolver(path.parent, allow_outside=False), str(path))
