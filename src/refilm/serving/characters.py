"""Characters: subjects that requests name by an id, each stored as its images or its subject file."""

import json
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from refilm.control.subject import MOST_VIEWS, Subject
from refilm.errors import UserError
from refilm.serving.database import Database
from refilm.serving.errors import NotFoundError
from refilm.serving.folders import Folders
from refilm.serving.job import to_json
from refilm.serving.requests import File, require_file_name, write_files

SUFFIX = ".subject"


@dataclass(frozen=True)
class Character:
    """A subject that can be used in many videos."""

    id: str
    number: int
    """Place in the order of creation."""
    name: str
    """What a user calls it."""
    words: tuple[str, ...]
    """Words of a prompt that mean it."""
    files: tuple[str, ...]
    """Its images, or its subject file alone."""
    created: float


class Characters:
    """The characters of a store.

    A job has copies of its characters' files, so a character can be deleted at any time.
    """

    def __init__(self, database: Database, folders: Folders):
        self._database, self._folders = database, folders

    def create(self, name: str, files: Mapping[str, File], *, words: Sequence[str] = ()) -> Character:
        """Store a character: one or several images, or one subject file (`.subject`), which is read to check it.

        Args:
            name: what a user calls it.
            files: the images, which the caller has checked; or the subject file.
            words: words of a prompt that mean it, see `Subject.words`.

        Raises:
            UserError: the name, the words or the subject file are invalid.
            OSError: the disk is full; nothing is stored.
        """
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise UserError("name: must have 1 to 100 printable characters")
        for file in files:
            require_file_name(file)
        subject_files = [file for file in files if file.endswith(SUFFIX)]
        if not 1 <= len(files) <= MOST_VIEWS or (subject_files and len(files) > 1):
            raise UserError(
                f"a character is 1 to {MOST_VIEWS} images, or one subject file; received {len(files)} files"
            )
        Subject(images=tuple(files), words=tuple(words))
        for file in subject_files:
            require_subject_file(files[file])
        character = f"char_{uuid.uuid4().hex}"
        folder = self._folders.character(character)
        write_files(files, folder)
        try:
            with self._database.writing() as database:
                database.execute(
                    "INSERT INTO characters (id, name, words, files, created) VALUES (?, ?, ?, ?, ?)",
                    (character, name, to_json([*words]), to_json([*files]), time.time()),
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self.get(character)

    def get(self, character: str) -> Character:
        """A character.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.reading() as database:
            row = database.execute("SELECT * FROM characters WHERE id = ?", (character,)).fetchone()
        if row is None:
            raise NotFoundError(f"{character}: no such character")
        return _character_of(row)

    def list(
        self, *, after: str | None = None, limit: int = 20, order: Literal["asc", "desc"] = "desc"
    ) -> "tuple[tuple[Character, ...], bool]":
        """Characters in the order of creation, and whether there are more.

        Raises:
            NotFoundError: there is no character `after`.
        """
        wanted, values = "", []
        if after is not None:
            wanted, values = f"WHERE number {'<' if order == 'desc' else '>'} ?", [self.get(after).number]
        query = f"SELECT * FROM characters {wanted} ORDER BY number {order.upper()} LIMIT ?"
        with self._database.reading() as database:
            rows = database.execute(query, (*values, limit + 1)).fetchall()
        return tuple(map(_character_of, rows[:limit])), len(rows) > limit

    def delete(self, character: str) -> Character:
        """Delete a character and its files. Returns it as it was.

        Raises:
            NotFoundError: there is none.
        """
        found = self.get(character)
        with self._database.writing() as database:
            if not database.execute("DELETE FROM characters WHERE id = ?", (character,)).rowcount:
                raise NotFoundError(f"{character}: no such character")
        shutil.rmtree(self._folders.character(character), ignore_errors=True)
        return found

    def paths(self, character: Character) -> dict[str, Path]:
        """The paths of its files by their names."""
        return {name: self._folders.character(character.id) / name for name in character.files}

    def subject(self, character: Character) -> tuple[dict[str, Any], dict[str, Path]]:
        """A subject of a request, and the files that go with it to `Store.accept`. Their names begin with its id."""
        files = self.paths(character).values()
        paths = {f"{character.id}-{number}{path.suffix}": path for number, path in enumerate(files)}
        names = [*paths]
        values: dict[str, Any] = {"file": names[0]} if names[0].endswith(SUFFIX) else {"images": names}
        return values | ({"words": [*character.words]} if character.words else {}), paths


def require_subject_file(file: File) -> None:
    """Check that a file is a subject file.

    Raises:
        UserError: it is not.
    """
    from refilm.control.subject_files import load_subject  # imports torch

    if isinstance(file, Path):
        load_subject(file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"character{SUFFIX}"
        path.write_bytes(file)
        try:
            load_subject(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "the subject file")) from error


def _character_of(row: sqlite3.Row) -> Character:
    values = dict(row)
    return Character(**{**values, "words": tuple(json.loads(row["words"])), "files": tuple(json.loads(row["files"]))})
