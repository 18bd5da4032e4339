"""The ledger in SQLite: posting, balances, payments; the audit that recomputes them all is in ``audit``."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from edge.core.ledger import arrears, deposits, prepaid
from edge.core.payments import Source
from edge.store.audit import audit as audit
from edge.store.base import insert_sealed, instant_of, instant_text
from edge.store.posting import Posted as Posted
from edge.store.posting import post as post


def _cents(database: sqlite3.Connection, ledger_account: str) -> int:
    row = database.execute("SELECT cents FROM balance WHERE ledger_account = ?", (ledger_account,)).fetchone()
    return int(row[0]) if row else 0


def balance_cents(database: sqlite3.Connection, account_id: str) -> int:
    """The customer's posted prepaid balance; negative is debt."""
    return -_cents(database, prepaid(account_id))


def balance_at(database: sqlite3.Connection, account_id: str, at: datetime) -> int:
    """The customer's posted balance at a past instant."""
    row = database.execute(
        "SELECT -e.balance_after FROM ledger_entry e JOIN ledger_transaction t USING (transaction_id)"
        " WHERE e.ledger_account = ? AND t.posted_at <= ? ORDER BY e.entry_id DESC LIMIT 1",
        (prepaid(account_id), instant_text(at)),
    ).fetchone()
    return int(row[0]) if row else 0


def arrears_cents(database: sqlite3.Connection, account_id: str) -> int:
    """The customer's carried debt."""
    return _cents(database, arrears(account_id))


def deposit_cents(database: sqlite3.Connection, account_id: str) -> int:
    """The customer's deposit that was not applied."""
    return -_cents(database, deposits(account_id))


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A payment that was posted, and how it was split. ``paid_at``: as told; ``made_at``: when it counts as made."""

    payment_id: str
    account_id: str
    amount_cents: int
    to_arrears_cents: int
    to_balance_cents: int
    paid_at: datetime | None
    channel: str
    source: Source
    received_at: datetime
    transaction_id: int
    made_at: datetime


_PAYMENT = (
    "SELECT payment_id, account_id, amount_cents, to_arrears_cents, to_balance_cents, paid_at, channel, source,"
    " received_at, transaction_id, made_at FROM payment"
)


def _payment(row: tuple[str, str, int, int, int, str | None, str, str, str, int, str]) -> StoredPayment:
    key, account_id, amount, to_arrears, to_balance, paid_at, channel, source, received_at, posted, made_at = row
    paid = None if paid_at is None else instant_of(paid_at)
    parts = (key, account_id, amount, to_arrears, to_balance)
    return StoredPayment(*parts, paid, channel, Source(source), instant_of(received_at), posted, instant_of(made_at))


def payment(database: sqlite3.Connection, payment_id: str) -> StoredPayment | None:
    """The payment of an id, or None."""
    row = database.execute(f"{_PAYMENT} WHERE payment_id = ?", (payment_id,)).fetchone()
    return _payment(row) if row else None


def payments(database: sqlite3.Connection, payment_ids: Sequence[str]) -> dict[str, StoredPayment]:
    """The payments of these ids; those that there are not are left out."""
    rows = database.execute(
        f"{_PAYMENT} WHERE payment_id IN (SELECT value FROM json_each(?))", (json.dumps(payment_ids),)
    )
    return {row[0]: _payment(row) for row in rows}


def add_payments(database: sqlite3.Connection, paid: Sequence[StoredPayment]) -> None:
    """Record payments beside their transactions. Raises sqlite3.IntegrityError when an id was used before."""
    rows = [
        (
            one.payment_id,
            one.account_id,
            one.amount_cents,
            one.to_arrears_cents,
            one.to_balance_cents,
            None if one.paid_at is None else instant_text(one.paid_at),
            instant_text(one.made_at),
            one.channel,
            one.source,
            instant_text(one.received_at),
            one.transaction_id,
        )
        for one in paid
    ]
    insert_sealed(database, "payment", *rows)


def was_paid_before(database: sqlite3.Connection, account_id: str, at: datetime) -> bool:
    """Whether a payment that arrived since an instant had been made by then, and was not returned."""
    row = database.execute(
        "SELECT 1 FROM payment p WHERE account_id = ?1 AND received_at >= ?2 AND paid_at IS NOT NULL AND made_at <= ?2"
        " AND made_at < received_at"
        " AND NOT EXISTS (SELECT 1 FROM returned_payment r WHERE r.payment_id = p.payment_id) LIMIT 1",
        (account_id, instant_text(at)),
    ).fetchone()
    return row is not None


def payments_since(database: sqlite3.Connection, account_id: str, since: datetime) -> int:
    """Sum of payments received since an instant, in cents; one that was returned is no payment (domain-rules R22)."""
    row = database.execute(
        "SELECT coalesce(sum(amount_cents), 0) FROM payment p WHERE account_id = ? AND received_at >= ?"
        " AND NOT EXISTS (SELECT 1 FROM returned_payment r WHERE r.payment_id = p.payment_id)",
        (account_id, instant_text(since)),
    ).fetchone()
    return int(row[0])


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One posting on a customer's prepaid balance, in the customer's sign, with the balance after it."""

    entry_id: int
    posted_at: datetime
    day: date
    kind: str
    amount_cents: int
    balance_cents: int
    ref: str
    estimated: bool


def statement(database: sqlite3.Connection, account_id: str) -> list[StatementLine]:
    """The postings of a customer's prepaid balance, oldest first."""
    rows = database.execute(
        "SELECT e.entry_id, t.posted_at, t.day, t.kind, -e.amount_cents, -e.balance_after, t.ref, t.estimated"
        " FROM ledger_entry e JOIN ledger_transaction t USING (transaction_id)"
        " WHERE e.ledger_account = ? ORDER BY e.entry_id",
        (prepaid(account_id),),
    )
    return [
        StatementLine(i, instant_of(at), date.fromisoformat(day), kind, amount, balance, ref, bool(estimated))
        for i, at, day, kind, amount, balance, ref, estimated in rows
    ]


def balance_was_positive_since(database: sqlite3.Connection, account_id: str, entry_id: int) -> bool:
    """Whether a customer's balance was above zero after some entry later than ``entry_id``."""
    row = database.execute(
        "SELECT 1 FROM ledger_entry WHERE ledger_account = ? AND entry_id > ? AND balance_after < 0 LIMIT 1",
        (prepaid(account_id), entry_id),
    ).fetchone()
    return row is not None


def last_prepaid_entry(database: sqlite3.Connection, account_id: str) -> int:
    """The id of the newest entry on a customer's prepaid balance; 0 when there is none."""
    row = database.execute(
        "SELECT max(entry_id) FROM ledger_entry WHERE ledger_account = ?", (prepaid(account_id),)
    ).fetchone()
    return int(row[0] or 0)


def counts(database: sqlite3.Connection) -> tuple[int, int]:
    """How many accounts and ledger entries there are."""
    accounts = database.execute("SELECT count(*) FROM account").fetchone()[0]
    entries = database.execute("SELECT count(*) FROM ledger_entry").fetchone()[0]
    return int(accounts), int(entries)


def imbalance_cents(database: sqlite3.Connection) -> int:
    """The sum of all entries of the ledger, in cents: zero, or the books are wrong."""
    return int(database.execute("SELECT coalesce(sum(amount_cents), 0) FROM ledger_entry").fetchone()[0])
