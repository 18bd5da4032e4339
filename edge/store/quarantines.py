"""What a quarantine rests on: who came to want a disconnect, and its beginning, the request for its end, its end."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge.store.base import instant_of, instant_text


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody's word on a quarantine's end."""

    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A time without disconnects: ``wanting`` of ``active`` accounts came to want one, more than ``most``."""

    quarantine_id: int
    tripped_at: datetime
    wanting: int
    active: int
    most: int
    requested: Step | None
    released: Step | None


_WANTS = "(action = 'disconnect' OR codes = 'rate_limited')"


def last(database: sqlite3.Connection) -> Quarantine | None:
    """The newest quarantine, in force unless it was released."""
    row = database.execute("SELECT * FROM quarantine ORDER BY quarantine_id DESC LIMIT 1").fetchone()
    if row is None:
        return None
    steps = {
        step: Step(instant_of(at), by, reason)
        for step, at, by, reason in database.execute(
            "SELECT step, at, by, reason FROM quarantine_step WHERE quarantine_id = ? ORDER BY step_id", (row[0],)
        )
    }
    quarantine_id, tripped_at, wanting, active, most = row
    requested, released = steps.get("requested"), steps.get("released")
    return Quarantine(quarantine_id, instant_of(tripped_at), wanting, active, most, requested, released)


def begin(database: sqlite3.Connection, at: datetime, wanting: int, active: int, most: int) -> None:
    """Record that a quarantine begins."""
    database.execute(
        "INSERT INTO quarantine (tripped_at, wanting, active, most) VALUES (?, ?, ?, ?)",
        (instant_text(at), wanting, active, most),
    )


def add_step(database: sqlite3.Connection, quarantine_id: int, step: str, at: datetime, by: str, reason: str) -> None:
    """Record that somebody asked for a quarantine's end (``requested``) or that it ended (``released``)."""
    database.execute(
        "INSERT INTO quarantine_step (quarantine_id, step, at, by, reason) VALUES (?, ?, ?, ?, ?)",
        (quarantine_id, step, instant_text(at), by, reason),
    )


def newly_wanting(database: sqlite3.Connection, since: datetime, not_in: timedelta) -> int:
    """How many accounts wanted a disconnect since an instant and had not, for so long before it."""
    row = database.execute(
        "SELECT count(*) FROM (SELECT account_id FROM decision"
        f" WHERE {_WANTS} AND at >= ?1 EXCEPT SELECT account_id FROM decision WHERE {_WANTS} AND at >= ?2 AND at < ?1)",
        (instant_text(since), instant_text(since - not_in)),
    ).fetchone()
    return int(row[0])


def active_accounts(database: sqlite3.Connection) -> int:
    """How many accounts are enrolled."""
    row = database.execute("SELECT (SELECT count(*) FROM account) - (SELECT count(*) FROM unenrolment)").fetchone()
    return int(row[0])
