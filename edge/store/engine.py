"""The engine of the store: one connection that writes, one transaction a call, and read-only connections for readers.

Only this package contains SQL. The connection that writes also checkpoints, and no second process ever writes: SQLite
before 3.51.3 can lose committed data when two connections write or checkpoint at the same instant.

A disk that is full is no end: the transaction did not happen, whoever asked is told or tries again. A reserve of the
disk is given up first, so that payments and switch orders still go through. A malformed database is the end: from then
on nothing is written, the daemon stops, and puts a backup in its place (``edge/recovery.py``).
"""

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from edge.store import disk
from edge.store.base import (
    SCHEMA_VERSION,
    StoreCorrupt,
    StoreError,
    StoreFull,
    instant_of,
    instant_text,
    is_malformed,
    is_without_room,
    open_for_reading,
)

T = TypeVar("T")
Watch = Callable[[str, str], None]  # told of "commit" and "committed", and which work's
__all__ = ["SCHEMA_VERSION", "Store", "StoreError", "StoreFull", "instant_of", "instant_text", "open_for_reading"]

_SETTINGS = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous={}; PRAGMA foreign_keys=ON;"
    " PRAGMA recursive_triggers=ON; PRAGMA busy_timeout=5000;"
    " PRAGMA cache_size=-16000; PRAGMA wal_autocheckpoint=2000; PRAGMA journal_size_limit=16777216;"
    " PRAGMA cell_size_check=ON;"
)


class Store:
    """Runs functions inside write transactions, in order, one at a time.

    ``threaded=True`` is production: a slow disk must not stall the event loop. ``threaded=False`` runs the same
    functions inline. ``durable=False`` does not wait for the disk: for state that nobody would miss. ``lock``: what
    ``take_lock`` gave, where the caller has it already; it is closed with the store. ``reserve_bytes``: how much of the
    disk is set aside for when it is full. ``watch`` is told of each step towards a commit. Raises StoreError when
    another daemon has the database or its schema is not ours.
    """

    def __init__(
        self,
        path: Path,
        *,
        threaded: bool,
        durable: bool = True,
        lock: int | None = None,
        reserve_bytes: int = 0,
        watch: Watch | None = None,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._lock_file = take_lock(path) if lock is None else lock
        self._thread = ThreadPoolExecutor(1, "store") if threaded else None
        self._watch = watch
        self._reserve = Path(f"{path}.reserve")
        self._reserve_bytes = reserve_bytes
        self._path = path
        self.out_of_room: str | None = None  # why the last transaction could not be written; None: it could
        self.malformed: str | None = None
        try:
            self._database = _open(path, "FULL" if durable else "OFF")
        except sqlite3.Error as problem:
            os.close(self._lock_file)
            raise StoreError(f"the database {path} cannot be opened: {problem}") from None
        except BaseException:
            os.close(self._lock_file)
            raise
        if durable:
            _note_beginning(self._lock_file)
        self.take_reserve()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Commit what ``work`` does, durably, or nothing of it. A cancelled caller may still have committed.

        Raises StoreFull when it could not be written: then nothing of it has happened. Raises StoreCorrupt.
        """
        if self._thread is None:
            return self._transact(work)
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)
        return await asyncio.shield(future)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the writer's connection, between two transactions. Raises StoreCorrupt."""
        if self._thread is None:
            return self._look(work)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, work)

    @property
    def on_reserve(self) -> bool:
        """Whether the disk's reserve is in use: what can be done without is not written now."""
        return self._reserve_bytes > 0 and not self._reserve.exists()

    def take_reserve(self) -> None:
        """Set a part of the disk aside again, where there is room for twice as much."""
        if not self.on_reserve:
            return
        with contextlib.suppress(OSError):
            room = os.statvfs(self._path.parent)
            if room.f_bavail * room.f_frsize > 2 * self._reserve_bytes:
                disk.allocate(self._reserve, self._reserve_bytes)

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._database)
        except sqlite3.DatabaseError as problem:
            self._give_up_if_malformed(problem)
            raise

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            try:
                result = self._attempt(work)
            except sqlite3.OperationalError as problem:
                if not is_without_room(problem) or not self._reserve.exists():
                    raise
                self._reserve.unlink()
                result = self._attempt(work)
        except sqlite3.DatabaseError as problem:
            self._give_up_if_malformed(problem)
            if is_without_room(problem):
                self.out_of_room = f"the disk of {self._path.parent} takes no more: {problem}"
                raise StoreFull(f"{self.out_of_room}; nothing was done, try again later") from None
            raise
        self.out_of_room = None
        return result

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.malformed is not None:
            raise StoreCorrupt(self.malformed)
        self._database.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._database)
            self._tell("commit", work)
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._tell("committed", work)
        return result

    def _tell(self, step: str, work: Callable[[sqlite3.Connection], T]) -> None:
        if self._watch is not None:
            self._watch(step, getattr(work, "__qualname__", ""))

    def _give_up_if_malformed(self, problem: sqlite3.DatabaseError) -> None:
        if is_malformed(problem):
            self.malformed = f"the database {self._path} is damaged: {problem}"
            raise StoreCorrupt(self.malformed) from None

    def close(self) -> None:
        """Wait for the last transaction and close."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._database.close()
        self._reserve.unlink(missing_ok=True)
        os.close(self._lock_file)


def take_lock(path: Path) -> int:
    """Keep every other daemon and every restore off a database, until the file number is closed. Raises StoreError."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, disk.FILE_MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StoreError(f"another daemon has the database {path}: only one may run on a state directory") from None
    return lock


def has_begun(lock: int) -> bool:
    """Whether there was a database here before: the lock's file remembers, whatever became of the database."""
    return os.fstat(lock).st_size > 0


def _note_beginning(lock: int) -> None:
    if not has_begun(lock):
        os.write(lock, b"a database was begun here\n")
        os.fsync(lock)


def _open(path: Path, synchronous: str) -> sqlite3.Connection:
    disk.create_durably(path)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    database.executescript(_SETTINGS.format(synchronous))
    _create_or_check_schema(database, path)
    return database


def _create_or_check_schema(database: sqlite3.Connection, path: Path) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        schema = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
        database.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version={SCHEMA_VERSION};\nCOMMIT;")
        disk.force_to_disk(path.parent)
    elif version != SCHEMA_VERSION:
        raise StoreError(
            f"the database {path} has schema {version}, this ami-edge needs schema {SCHEMA_VERSION}:"
            " use the version that wrote it, or name another --state-dir"
        )
