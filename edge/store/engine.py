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
from pathlib import Path
from typing import TypeVar

from edge.store.base import SCHEMA_VERSION, StoreError, instant_of, instant_text, open_for_reading

T = TypeVar("T")
__all__ = ["SCHEMA_VERSION", "Store", "StoreError", "instant_of", "instant_text", "open_for_reading"]


class Store:
    """Runs functions inside write transactions, in order, one at a time.

    ``threaded=True`` is production: a slow disk must not stall the event loop. ``threaded=False`` runs the same
    functions inline. ``durable=False`` does not wait for the disk: for state that nobody would miss. Raises StoreError
    when another daemon has the database or its schema is not ours.
    """

    def __init__(self, path: Path, *, threaded: bool, durable: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._lock_file = _take_lock(path)
        self._thread = ThreadPoolExecutor(1, "store") if threaded else None
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
        self._database.executescript(
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous={'FULL' if durable else 'OFF'};"
            " PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON;"
            " PRAGMA busy_timeout=5000; PRAGMA cache_size=-16000; PRAGMA wal_autocheckpoint=2000;"
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
