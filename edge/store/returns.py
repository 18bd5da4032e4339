"""Payments that the bank took back, also those that were taken back before they came."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.store.base import insert_sealed, instant_of, instant_text
from edge.store.books import Posted


@dataclass(frozen=True, slots=True)
class ReturnedPayment:
    """That a payment was taken back: when, for which fee, and what the bank said."""

    returned_at: datetime
    fee_cents: int
    reason: str


def add_returned_payment(
    database: sqlite3.Connection, payment_id: str, returned: ReturnedPayment, posted: Posted
) -> None:
    """Record that a payment was taken back. Raises sqlite3.IntegrityError when it was returned before."""
    (account_id,) = database.execute("SELECT account_id FROM payment WHERE payment_id = ?", (payment_id,)).fetchone()
    at = instant_text(returned.returned_at)
    fields = (payment_id, account_id, at, returned.fee_cents, returned.reason, posted.transaction_id)
    insert_sealed(database, "returned_payment", fields)


def returned_payment(database: sqlite3.Connection, payment_id: str) -> ReturnedPayment | None:
    """How a payment was taken back, or None."""
    return _returned(database, "returned_payment", payment_id)


def awaited_payment(database: sqlite3.Connection, payment_id: str) -> ReturnedPayment | None:
    """The return that came before the payment of this id, or None; it stays on record after the payment has come."""
    return _returned(database, "awaited_payment", payment_id)


def awaited_payments(database: sqlite3.Connection, payment_ids: Sequence[str]) -> dict[str, ReturnedPayment]:
    """The returns that came before the payments of these ids."""
    rows = database.execute(
        "SELECT payment_id, returned_at, fee_cents, reason FROM awaited_payment"
        " WHERE payment_id IN (SELECT value FROM json_each(?))",
        (json.dumps(payment_ids),),
    )
    return {payment_id: ReturnedPayment(instant_of(at), fee, reason) for payment_id, at, fee, reason in rows}


def _returned(database: sqlite3.Connection, table: str, payment_id: str) -> ReturnedPayment | None:
    row = database.execute(
        f"SELECT returned_at, fee_cents, reason FROM {table} WHERE payment_id = ?", (payment_id,)
    ).fetchone()
    return ReturnedPayment(instant_of(row[0]), row[1], row[2]) if row else None


def await_payment(
    database: sqlite3.Connection, payment_id: str, returned: ReturnedPayment, recorded_at: datetime, by: str
) -> None:
    """Keep the return of a payment that has not come yet."""
    at, now = instant_text(returned.returned_at), instant_text(recorded_at)
    database.execute(
        "INSERT INTO awaited_payment VALUES (?, ?, ?, ?, ?, ?)",
        (payment_id, at, returned.fee_cents, returned.reason, now, by),
    )
