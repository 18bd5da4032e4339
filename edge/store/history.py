"""What the database says happened, in the order in which it was written down: for audits and event files."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.core.money import format_cents
from edge.store.base import instant_of

LEDGER_KINDS = {"payment": "payment", "charge": "charge"}  # whatever else moves a balance is an adjustment


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded fact: when, its kind, its keys in the words of the interfaces, and the row that holds it."""

    at: datetime
    kind: str
    keys: dict[str, Any]
    table: str
    row: int


Marks = dict[str, int]


def marks_of(database: sqlite3.Connection) -> Marks:
    """The newest row of each table that history is taken from: 0 where there is none."""
    entries, steps, events = database.execute(
        "SELECT (SELECT max(entry_id) FROM ledger_entry), (SELECT max(event_id) FROM switch_event),"
        " (SELECT max(event_id) FROM event)"
    ).fetchone()
    return {"ledger_entry": entries or 0, "switch_event": steps or 0, "event": events or 0}


def history(database: sqlite3.Connection) -> Iterator[Recorded]:
    """Postings on customers' balances, steps of switch orders, protections, holds and their releases, moratoriums."""
    yield from _postings(database)
    yield from _commands(database)
    yield from _restraints(database)


def _postings(database: sqlite3.Connection) -> Iterator[Recorded]:
    rows = database.execute(
        "SELECT e.entry_id, t.posted_at, t.kind, t.account_id, -e.amount_cents, -e.balance_after"
        " FROM ledger_entry e JOIN ledger_transaction t USING (transaction_id)"
        " WHERE e.ledger_account = 'liabilities:prepaid:' || t.account_id ORDER BY e.entry_id"
    )
    for row, at, kind, account_id, amount, balance in rows:
        keys = {"account_id": account_id, "amount": format_cents(amount), "balance": format_cents(balance)}
        yield Recorded(instant_of(at), LEDGER_KINDS.get(kind, "adjustment"), keys, "ledger_entry", row)


def _commands(database: sqlite3.Connection) -> Iterator[Recorded]:
    rows = database.execute(
        "SELECT e.event_id, e.at, o.meter_id, o.account_id, o.action, e.state"
        " FROM switch_event e JOIN switch_order o USING (order_id) ORDER BY e.event_id"
    )
    for row, at, meter_id, account_id, action, state in rows:
        keys = {"meter_id": meter_id, "account_id": account_id, "action": action, "state": state}
        yield Recorded(instant_of(at), "command", keys, "switch_event", row)


RESTRAINTS = {
    "protected": ("account_id", "protected"),
    "hold": ("account_id", "hold_id", "hold"),
    "hold_released": ("account_id", "hold_id", "hold"),
    "moratorium": ("order", "active"),
}


def _restraints(database: sqlite3.Connection) -> Iterator[Recorded]:
    """Their beginnings and ends as they were told, running out among them."""
    marks = ", ".join("?" * len(RESTRAINTS))
    rows = database.execute(
        f"SELECT event_id, at, kind, data FROM event WHERE kind IN ({marks}) ORDER BY event_id", tuple(RESTRAINTS)
    )
    for row, at, kind, data in rows:
        told = json.loads(data)
        yield Recorded(instant_of(at), kind, {key: told[key] for key in RESTRAINTS[kind]}, "event", row)
