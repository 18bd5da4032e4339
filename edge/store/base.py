"""What reading and writing the database share: how instants are kept, the schema's version, errors, a reader."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge.core.ledger import seal

SCHEMA_VERSION = 2


class StoreError(Exception):
    """The database cannot be used; the sentence says why and what to do."""


class StoreFull(StoreError):
    """Nothing can be written now: the disk is full or fails. What was asked for has not happened; try again later."""


class StoreCorrupt(StoreError):
    """SQLite found the database malformed. Nothing more is written to it; it has to be put back from a backup."""


_MALFORMED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def is_malformed(problem: sqlite3.Error) -> bool:
    """Whether SQLite says that the file is not a sound database, or that the disk cannot read it back."""
    code = getattr(problem, "sqlite_errorcode", 0)
    return code & 0xFF in _MALFORMED or code == sqlite3.SQLITE_IOERR_READ


def is_without_room(problem: sqlite3.Error) -> bool:
    """Whether SQLite could not write: the disk is full, or an input or output failed."""
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF in _NO_ROOM and not is_malformed(problem)


def instant_text(instant: datetime) -> str:
    """An instant as the store keeps it: UTC, microseconds, so that text order is time order."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def instant_of(text: str) -> datetime:
    """The instant of a stored text."""
    return datetime.fromisoformat(text)


def insert_sealed(database: sqlite3.Connection, table: str, *rows: Sequence[str | int | None]) -> None:
    """Insert rows of money, each with the seal over its fields. Raises sqlite3.IntegrityError as the schema says."""
    if rows:
        marks = ", ".join(["?"] * (len(rows[0]) + 1))
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", [(*row, seal(table, row)) for row in rows])


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection, with the daemon running, crashed or stopped. Raises StoreError.

    After a clean stop the ``-shm`` file is gone and may not be made by a reader without the right to write there;
    only then, and only if there is no ``-wal`` file, the file cannot change and is opened as immutable.
    """
    if not path.exists():
        raise StoreError(f"there is no database at {path}: start 'ami-edge run' first, or name its --state-dir")
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.OperationalError as problem:
        if Path(f"{path}-wal").exists():
            raise StoreError(f"the database {path} cannot be read: {problem}") from None
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as problem:
        raise StoreError(f"the database {path} cannot be read: {problem}") from None
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the database {path} has schema {version}, this ami-edge reads schema {SCHEMA_VERSION}:"
            " use the version that wrote it, or name another --state-dir"
        )
    return database
