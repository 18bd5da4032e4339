"""The engine of the store: one connection that writes, one transaction a call, and read-only connections for readers.

Only this package contains SQL. The connection that writes also checkpoints, and no second process ever writes: SQLite
before 3.51.3 can lose committed data when two connections write or checkpoint at the same instant.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SCHEMA_VERSION = 1


class StoreError(Exception):
    """The database cannot be used; the sentence says why and what to do."""


def instant_text(instant: datetime) -> str:
    """An instant as the store keeps it: UTC, microseconds, so that text order is time order."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def instant_of(text: str) -> datetime:
    """The instant of a stored text."""
    return datetime.fromisoformat(text)


class Store:
    """Runs functions inside write transactions, in order, one at a time.

    ``threaded=True`` is production: a slow disk must not stall the event loop. ``threaded=False`` runs the same
    functions inline. Raises StoreError when another daemon has the database or its schema is not ours.
    """

    def __init__(self, path: Path, *, threaded: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._lock_file = _take_lock(path)
        self._thread = ThreadPoolExecutor(1, "store") if threaded else None
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=5000;"
            " PRAGMA cache_size=-16000; PRAGMA wal_autocheckpoint=2000;"
        )
        _create_or_check_schema(self._database, path)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Commit what ``work`` does, durably, or nothing of it. A cancelled caller may still have committed."""
        if self._thread is None:
            return self._transact(work)
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)
        return await asyncio.shield(future)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the writer's connection, between two transactions."""
        if self._thread is None:
            return work(self._database)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._database)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._database)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        return result

    def close(self) -> None:
        """Wait for the last transaction and close."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._database.close()
        os.close(self._lock_file)


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
        raise StoreError(f"the database {path} has schema {version}, this ami-edge reads schema {SCHEMA_VERSION}")
    return database


def _take_lock(path: Path) -> int:
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError(f"another daemon has the database {path}: only one may run on a state directory") from None
    return lock


def _create_or_check_schema(database: sqlite3.Connection, path: Path) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        schema = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
        database.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version={SCHEMA_VERSION};\nCOMMIT;")
    elif version != SCHEMA_VERSION:
        raise StoreError(f"the database {path} has schema {version}, this ami-edge needs schema {SCHEMA_VERSION}")
