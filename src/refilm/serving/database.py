"""The SQLite database of a store: connections, transactions and the schema. It knows nothing about what they store.

The database is in WAL mode: readers never wait, and writers take turns. Every transaction is short.
"""

import errno
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue

from refilm.errors import UserError

VERSION = 1  # of the schema
BUSY = 60.0  # seconds that a transaction waits for another
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('queued', 'in_progress', 'completed', 'failed', 'deleted')),
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    progress INTEGER NOT NULL DEFAULT 0,
    step INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    eta REAL,
    preview INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    worker TEXT,
    lease_until REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    files TEXT NOT NULL DEFAULT '{}',
    revision INTEGER NOT NULL DEFAULT 1,
    key TEXT UNIQUE,
    body TEXT NOT NULL
);
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE TABLE characters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    words TEXT NOT NULL,
    files TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE workers (
    process TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    state TEXT NOT NULL,
    seen REAL NOT NULL
);
"""


class Database:
    """The database in a file, which is created if it does not exist.

    Raises:
        UserError: the file is damaged, is no database, or was written by a later version of refilm; names it.
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        with self._errors():
            self._create()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with, for any thread; its statements see the latest committed state."""
        with self._errors(), self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction that is rolled back if an error is raised.

        Args:
            durable: whether it survives a power failure; otherwise only the end of every process.
        """
        with self._errors(), self._connection() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            with _transaction(connection):
                yield connection

    def close(self) -> None:
        """Close all idle connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._idle.put(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        return connection

    def _create(self) -> None:
        with self._connection() as connection:
            if _version(connection) == 0:
                _use_wal(connection)
                with _transaction(connection):
                    if _version(connection) == 0:  # and no other process has created it meanwhile
                        for statement in SCHEMA.split(";"):
                            connection.execute(statement)
                        connection.execute(f"PRAGMA user_version = {VERSION}")
            version = _version(connection)
        if version != VERSION:
            self.close()
            raise UserError(
                f"{self.path}: has version {version}, this refilm reads version {VERSION}; update refilm, or choose "
                "another folder with --store"
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of SQLite as those of the operating system, or of a damaged file."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise UserError(f"{self.path}: is damaged or no database of refilm; restore or move it") from error
            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise OSError(errno.ENOSPC, "the disk is full or broken", str(self.path)) from error
            if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                raise OSError(errno.EACCES, "cannot be written", str(self.path)) from error
            raise


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode, for which SQLite does not wait while another process does the same."""
    until = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.02)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it itself if the disk is full
            connection.execute("ROLLBACK")
        raise
