"""Copies of the database: taken while it is in use, checked before anybody relies on them, marked when put back.

A copy is one file, without a write-ahead log, and says of itself when it was taken. It is taken over a read-only
connection inside one read transaction: payments never wait for it, and it shows one instant.
"""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.store import audit, books, disk, fleet, records
from edge.store.base import StoreError, instant_of, is_malformed, open_for_reading

PAGES_A_STEP = 512
TAKEN_AT = "backup_taken_at"
RESTORED_AT = "restored_at"
REPLAYED_AT = "replayed_at"
_HEADER = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What a copy holds. ``last_payment_at`` None: no payment."""

    taken_at: datetime | None
    accounts: int
    entries: int
    last_hash: str
    last_payment_id: str | None
    last_payment_at: datetime | None


def find_damage(file: Path, *, thorough: bool) -> str | None:
    """What is wrong with a database file as a file, in words; None when SQLite finds it sound.

    ``thorough``: its indexes are compared too. Raises StoreError when it cannot be looked at.
    """
    try:
        with file.open("rb") as handle:
            head = handle.read(len(_HEADER))
    except FileNotFoundError:
        return "it is gone"
    except OSError as problem:
        raise StoreError(f"{file} cannot be read: {problem.strerror}") from None
    if head != _HEADER:
        return "it does not begin as a database does" if head else "it is empty"
    try:
        return _ask_sqlite(file, "integrity_check(1)" if thorough else "quick_check(1)")
    except sqlite3.DatabaseError as problem:
        if is_malformed(problem):
            return str(problem)
        raise StoreError(f"the database {file} cannot be read: {problem}") from None


def _ask_sqlite(file: Path, check: str) -> str | None:
    log = "" if Path(f"{file}-wal").exists() else "&immutable=1"  # else SQLite would leave an empty log beside it
    database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro{log}", uri=True)
    try:
        if not database.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            return "it has no tables"
        verdict = str(database.execute(f"PRAGMA {check}").fetchone()[0])
    finally:
        database.close()
    return None if verdict == "ok" else verdict.replace("\n", " ")


def copy_database(source: Path, target: Path, at: datetime | None, step: Callable[[], None] = lambda: None) -> None:
    """Copy a database, in use or not, to a new file on the disk. Raises StoreError, sqlite3.Error, OSError.

    ``at``: when, to be written into the copy; None leaves what it says. ``step`` is called after every step of the way.
    """
    target.unlink(missing_ok=True)
    disk.create_durably(target)
    reader, writer = open_for_reading(source), sqlite3.connect(target, isolation_level=None)
    try:
        writer.execute("PRAGMA synchronous=OFF")
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # from here on, this instant is what is read
        reader.backup(writer, pages=PAGES_A_STEP, progress=lambda *_: step(), sleep=0)
        writer.execute("PRAGMA journal_mode=DELETE")
        if at is not None:
            records.set_state(writer, {TAKEN_AT: at.isoformat()}, at)
    finally:
        reader.close()
        writer.close()
    disk.force_to_disk(target)


def check_copy(file: Path) -> list[str]:
    """All that is wrong with a copy: as a database, as books. Empty: it can be relied on. Raises StoreError."""
    damage = find_damage(file, thorough=True)
    if damage is not None:
        return [f"{file}: {damage}"]
    database = open_for_reading(file)
    try:
        return [f"{file}: {problem}" for problem in audit.audit(database)]
    except sqlite3.DatabaseError as problem:
        return [f"{file}: {problem}"]
    finally:
        database.close()


def copy_facts(file: Path) -> CopyFacts:
    """What a copy holds. Raises StoreError."""
    database = open_for_reading(file)
    try:
        accounts, entries = books.counts(database)
        known = records.state(database)
        signs = [known[fact][1] for fact in (TAKEN_AT, "heartbeat") if fact in known]
        row = database.execute("SELECT entry_hash FROM ledger_entry ORDER BY entry_id DESC LIMIT 1").fetchone()
        paid = database.execute(
            "SELECT payment_id, received_at FROM payment ORDER BY transaction_id DESC LIMIT 1"
        ).fetchone()
    finally:
        database.close()
    return CopyFacts(
        max(signs, default=None),
        accounts,
        entries,
        row[0] if row else "",
        paid[0] if paid else None,
        instant_of(paid[1]) if paid else None,
    )


def mark_restored(
    file: Path, at: datetime, facts: CopyFacts, told: dict[str, str | None], commanded: Mapping[str, str]
) -> None:
    """Write into a copy, before it becomes the database, that it was put back: for the head end, and for decisions.

    ``commanded``: meters whose relay was commanded after the copy was taken, and whose it is if it is open. The books
    know nothing of it; so it is *unknown* with that mark: credit closes what was opened for credit, and nothing else.
    """
    taken_at = facts.taken_at.isoformat() if facts.taken_at else None
    data = {
        **told,
        "restored_at": at.isoformat(),
        "backup_taken_at": taken_at,
        "last_payment_id": facts.last_payment_id,
        "last_payment_at": facts.last_payment_at.isoformat() if facts.last_payment_at else None,
    }
    database = sqlite3.connect(file, isolation_level=None)
    try:
        database.execute("BEGIN")
        records.add_event(database, "database_restored", at, data, not_before_id=int(at.timestamp()))
        records.set_state(database, {RESTORED_AT: at.isoformat(), REPLAYED_AT: ""}, at)
        for meter_id, cause in commanded.items():
            fleet.add_relay_change(database, meter_id, at, "unknown", cause, None)
        database.execute("COMMIT")
    finally:
        database.close()
    disk.force_to_disk(file)


def restored_at(known: Mapping[str, tuple[str, datetime]]) -> datetime | None:
    """When the database was put back, by its own state; None where it never was, or where all was sent again since."""
    when = known.get(RESTORED_AT)
    if when is None or known[REPLAYED_AT][0]:
        return None
    return when[1]


def note_replayed(database: sqlite3.Connection, at: datetime, by: str, reason: str) -> None:
    """Record that everything is on the books again that was put on them after the copy was taken."""
    records.set_state(database, {REPLAYED_AT: at.isoformat()}, at)
    records.add_event(database, "database_replayed", at, {"by": by, "reason": reason})
