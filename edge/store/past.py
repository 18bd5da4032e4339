"""The past, seen again: the tables as they stood at an instant, the circumstances as they changed, the rules by digest.

Every fact is a row that says when it was recorded, and no row is changed; so the past is the rows up to an instant.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from datetime import datetime

from edge.store.base import instant_of, instant_text

FEED_ALIVE = "alive"
_POSTED = "EXISTS (SELECT 1 FROM main.ledger_transaction t WHERE t.transaction_id = seen.transaction_id AND t.posted_at"
_RECORDED_AT = {  # by table: what must be at or before the instant
    "account": "enrolled_at",
    "unenrolment": "at",
    "tariff_change": "recorded_at",
    "reading": "at",
    "relay_change": "at",
    "meter_condition": "at",
    "quarantine": "tripped_at",
    "quarantine_step": "at",
    "ledger_transaction": "posted_at",
    "day": "closed_at",
    "awaited_payment": "recorded_at",
    "miscellaneous": "recorded_at",
    "instalment_agreement": "recorded_at",
    "refund": "recorded_at",
    "meter_exchange": "recorded_at",
    "customer_read": "recorded_at",
    "day_edit": "recorded_at",
    "protection": "at",
    "hold": "recorded_at",
    "hold_release": "recorded_at",
    "moratorium": "recorded_at",
    "decision": "at",
    "switch_event": "at",
    "notice": "created_at",
    "notice_delivery": "at",
    "weather_document": "received_at",
    "circumstance": "at",
}
_OF_TRANSACTIONS = ("ledger_entry", "payment", "returned_payment")


@contextmanager
def as_of(database: sqlite3.Connection, at: datetime) -> Iterator[None]:
    """While this lasts, every query of this connection sees the tables as they stood at an instant.

    Temporary views take the tables' names, so a read-only connection will do. Register reads that were pruned are not
    seen again; a notice's delivery is seen from when it was delivered.
    """
    until = f"'{instant_text(at)}'"
    views = {table: f"SELECT * FROM main.{table} WHERE {column} <= {until}" for table, column in _RECORDED_AT.items()}
    views["protection"] = views["protection"].replace("*", "rowid, *")  # its rows are read in the order of their ids
    views |= {table: f"SELECT * FROM main.{table} seen WHERE {_POSTED} <= {until})" for table in _OF_TRANSACTIONS}
    views["balance"] = (
        "SELECT b.ledger_account, coalesce((SELECT seen.balance_after FROM main.ledger_entry seen"
        f" WHERE seen.ledger_account = b.ledger_account AND {_POSTED} <= {until})"
        " ORDER BY seen.entry_id DESC LIMIT 1), 0) AS cents FROM main.balance b"
    )
    views["estimated_day"] = (
        "SELECT d.account_id, d.day, d.closed_at AS ends_at FROM main.day d WHERE d.quality = 'estimated'"
        f" AND d.closed_at <= {until} AND NOT EXISTS (SELECT 1 FROM main.day n WHERE n.account_id = d.account_id"
        f" AND n.day = d.day AND n.revision > d.revision AND n.closed_at <= {until})"
    )
    for table, select in views.items():
        database.execute(f"CREATE TEMP VIEW {table} AS {select}")
    try:
        yield
    finally:
        for table in views:
            database.execute(f"DROP VIEW temp.{table}")


@dataclass(frozen=True, slots=True)
class RecordedCircumstances:
    """What held for the whole gateway from an instant on.

    ``feed``: FEED_ALIVE, or when the payment feed was last alive, or empty: never. ``running``: whether the daemon was.
    """

    at: datetime
    running: bool
    clock_trusted: bool
    feed: str
    shadow_mode: bool
    disconnects_per_hour: int
    disconnects_per_day: int
    disconnects_per_meter: int
    share_of_line_ppm: int
    rules_digest: str


def circumstances(database: sqlite3.Connection) -> RecordedCircumstances | None:
    """The circumstances that were recorded last."""
    row = database.execute(
        "SELECT at, running, clock_trusted, feed, shadow_mode, disconnects_per_hour, disconnects_per_day,"
        " disconnects_per_meter, share_of_line_ppm, rules_digest FROM circumstance"
        " ORDER BY circumstance_id DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    at, running, trusted, feed, shadow, *rest = row
    return RecordedCircumstances(instant_of(at), bool(running), bool(trusted), feed, bool(shadow), *rest)


def note_circumstances(database: sqlite3.Connection, noted: RecordedCircumstances) -> None:
    """Record the circumstances if they changed."""
    last = circumstances(database)
    if last is not None and replace(last, at=noted.at) == noted:
        return
    at, *rest = astuple(noted)
    database.execute(
        "INSERT INTO circumstance (at, running, clock_trusted, feed, shadow_mode, disconnects_per_hour,"
        " disconnects_per_day, disconnects_per_meter, share_of_line_ppm, rules_digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (instant_text(at), *[int(value) if isinstance(value, bool) else value for value in rest]),
    )


def note_stop(database: sqlite3.Connection, last_sign: datetime) -> None:
    """Record, at the next start, that the daemon ended some time after its ``last_sign`` of life."""
    last = circumstances(database)
    if last is not None:
        note_circumstances(database, stopped(last, last_sign))


def stopped(last: RecordedCircumstances, last_sign: datetime) -> RecordedCircumstances:
    """The circumstances after a daemon's last sign of life: nobody looks at the clock or hears of payments."""
    feed = instant_text(last_sign) if last.feed == FEED_ALIVE else last.feed
    return replace(last, at=last_sign, running=False, clock_trusted=False, feed=feed)


def keep_rules(database: sqlite3.Connection, digest: str, texts: Mapping[str, str], at: datetime) -> None:
    """Keep the text of the programs in force, by name, under their digest."""
    database.execute(
        "INSERT OR IGNORE INTO rules VALUES (?, ?, ?)", (digest, instant_text(at), json.dumps(dict(texts)))
    )


def rules(database: sqlite3.Connection, digest: str) -> dict[str, str] | None:
    """The text of the programs that had a digest, by name; None where they were not kept."""
    row = database.execute("SELECT texts FROM rules WHERE digest = ?", (digest,)).fetchone()
    found: dict[str, str] | None = json.loads(row[0]) if row else None
    return found
