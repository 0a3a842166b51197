"""Videos that were made elsewhere: in a folder, named after their cases, or in a list that names file and case."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, get_args

from pydantic import Field

from refilm.data.text import lines, parsed
from refilm.errors import UserError
from refilm.evaluation.answer import Answer
from refilm.evaluation.case import Case, Control
from refilm.evaluation.masks import is_mask, mask_file
from refilm.evaluation.result import Source
from refilm.settings import Settings

SUFFIXES = (".mp4", ".m4v", ".webm", ".gif", ".mov", ".mkv", ".avi")


class _Line(Settings):
    """A line of a list."""

    case: Annotated[str, Field(max_length=200)]
    file: Annotated[str, Field(max_length=4096)]


class Videos:
    """A source of videos: files that exist.

    Args:
        path: a folder with `CASE.mp4` (or .m4v, .webm, .gif, .mov, .mkv, .avi), or a list, .jsonl, with lines
            `{"case": "...", "file": "..."}`, whose paths count from its folder. Masks of the subject are optional, see
            `masks`.

    Raises:
        UserError: there is no such folder or list.
    """

    controls: ClassVar[Sequence[Control]] = get_args(Control)

    def __init__(self, path: Path):
        if not path.is_dir() and not (path.is_file() and path.suffix == ".jsonl"):
            raise UserError(f"{path}: neither a folder nor a list; give a folder of videos, or a .jsonl")
        self._path = path
        self._folder = path if path.is_dir() else path.parent

    @property
    def masks(self) -> bool:
        """Whether any video has a mask beside it."""
        if self._path.is_dir():
            return any(is_mask(path) for path in self._path.iterdir())
        return any(self._has_mask(row.file) for row in self._rows())

    def record(self) -> Source:
        """The path."""
        return Source(kind="folder", details={"path": str(self._path)})

    def answers(self, cases: Sequence[Case], out: Path) -> Iterator[Answer]:
        """The file of each case, in order. A file that is missing, or outside of the folder, is the case's error.

        Raises:
            UserError: no case has a file, or the list has an invalid line; names file and line.
        """
        found = self._found(cases)
        if not any(found.values()):
            raise UserError(
                f"{self._path}: has no video of any case; name the videos {cases[0].name}.mp4 and so on (--list prints "
                "all names), or list them"
            )
        yield from (self._answer(case, found[case.name]) for case in cases)

    def _found(self, cases: Sequence[Case]) -> dict[str, list[str]]:
        """The names of each case's files; there should be one."""
        found: dict[str, list[str]] = {case.name: [] for case in cases}
        if self._path.is_dir():
            for path in sorted(self._path.iterdir()):
                if path.suffix.lower() in SUFFIXES and path.stem in found:
                    found[path.stem].append(path.name)
            return found
        for row in self._rows():
            if row.case in found:  # the list may answer more cases than are asked for
                found[row.case].append(row.file)
        return found

    def _rows(self) -> Iterator[_Line]:
        """The lines of a list."""
        for number, line in lines(self._path):
            if line.strip():
                yield _row(line, f"{self._path}:{number}")

    def _has_mask(self, name: str) -> bool:
        try:
            return mask_file(self._located(name)) is not None
        except UserError:  # the error of its case
            return False

    def _answer(self, case: Case, files: Sequence[str]) -> Answer:
        if not files:
            return Answer(case, error=f"missing: there is no {case.name}.mp4 in {self._path}")
        if len(files) > 1:
            return Answer(case, error=f"several files: {', '.join(files)}; keep one")
        try:
            return Answer(case, self._located(files[0]))
        except UserError as error:
            return Answer(case, error=str(error))

    def _located(self, name: str) -> Path:
        """The path of a file by its name in the folder.

        Raises:
            UserError: there is no such file, or it is outside of the folder.
        """
        file = self._folder / name
        try:
            inside = file.resolve().is_relative_to(self._folder.resolve())
            there = file.is_file()
        except (OSError, ValueError, RuntimeError):  # a name that is too long, a NUL, a loop of links
            raise UserError(f"{name!r:.200}: not the path of a file") from None
        if not inside:
            raise UserError(f"{name!r:.200}: outside of {self._folder}; copy the video into the folder")
        if not there:
            raise UserError(f"missing: there is no {name!r:.200} in {self._folder}")
        return file


def _row(line: str, place: str) -> _Line:
    values = parsed(line, place)
    try:
        return _Line.from_values(values)
    except UserError as error:
        raise UserError(f'{place}: {error}; give {{"case": "...", "file": "..."}}') from error
