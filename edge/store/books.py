"""The ledger in SQLite: posting, balances, payments, and the audit that recomputes them all."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from edge.core.ledger import GENESIS_HASH, arrears, deposits, entry_hash, prepaid
from edge.core.payments import Source
from edge.store import adjustments
from edge.store.base import instant_of, instant_text
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


def add_payment(database: sqlite3.Connection, paid: StoredPayment) -> None:
    """Record a payment beside its transaction. Raises sqlite3.IntegrityError when its id was used before."""
    database.execute(
        "INSERT INTO payment VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            paid.payment_id,
            paid.account_id,
            paid.amount_cents,
            paid.to_arrears_cents,
            paid.to_balance_cents,
            None if paid.paid_at is None else instant_text(paid.paid_at),
            instant_text(paid.made_at),
            paid.channel,
            paid.source,
            instant_text(paid.received_at),
            paid.transaction_id,
        ),
    )


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


_CHAIN = (
    "SELECT e.entry_id, e.transaction_id, e.ledger_account, e.amount_cents, e.balance_after, t.kind, t.account_id,"
    " t.day, t.ref, t.posted_at, t.received_at, t.posted_by, t.note, t.estimated, t.reverses, e.entry_hash"
    " FROM ledger_entry e LEFT JOIN ledger_transaction t USING (transaction_id) ORDER BY e.entry_id"
)


def audit(database: sqlite3.Connection) -> Iterator[str]:
    """Recompute sums, balances and the hash chain; one sentence a problem, the first bad entry named."""
    running: dict[str, int] = {}
    sums: dict[int, int] = {}
    previous_hash = GENESIS_HASH
    expected_id = 1
    for row in database.execute(_CHAIN):
        *fields, stored_hash = row
        entry_id, transaction_id, ledger_account, amount, after = fields[:5]
        if entry_id != expected_id:
            yield f"ledger entry {expected_id} is missing"
        expected_id = entry_id + 1
        running[ledger_account] = running.get(ledger_account, 0) + amount
        sums[transaction_id] = sums.get(transaction_id, 0) + amount
        if running[ledger_account] != after:
            yield f"ledger entry {entry_id}: balance {after} on {ledger_account} should be {running[ledger_account]}"
        computed = entry_hash(previous_hash, tuple(fields))
        if computed != stored_hash:
            yield f"ledger entry {entry_id}: its hash does not fit what it says"
        previous_hash = stored_hash
    for transaction_id, total in sums.items():
        if total != 0:
            yield f"ledger transaction {transaction_id}: its entries sum to {total} cents, not to zero"
    stored = dict(database.execute("SELECT ledger_account, cents FROM balance"))
    for ledger_account in sorted(running.keys() | stored.keys()):
        if running.get(ledger_account, 0) != stored.get(ledger_account, 0):
            yield (
                f"balance of {ledger_account}: {stored.get(ledger_account, 0)} cents are kept,"
                f" its entries sum to {running.get(ledger_account, 0)}"
            )
    yield from _audit_payments(database)
    yield from adjustments.audit(database)
    yield from _audit_days(database)
    yield from _audit_orders(database)


def _audit_payments(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute(
        "SELECT payment_id FROM payment p LEFT JOIN ledger_transaction t ON t.ref = 'payment:' || p.payment_id"
        " AND t.transaction_id = p.transaction_id WHERE t.transaction_id IS NULL"
    )
    for (payment_id,) in rows:
        yield f"payment {payment_id} has no ledger transaction"
    rows = database.execute(
        "SELECT t.ref FROM ledger_transaction t LEFT JOIN payment p USING (transaction_id)"
        " WHERE t.kind = 'payment' AND p.payment_id IS NULL"
    )
    for (ref,) in rows:
        yield f"ledger transaction {ref} has no payment"


def _audit_days(database: sqlite3.Connection) -> Iterator[str]:
    """A day's charge and its corrections must sum to what the day costs at its last revision."""
    rows = database.execute(
        "SELECT account_id, day, charge_cents, max(revision), (SELECT coalesce(sum(e.amount_cents), 0)"
        " FROM (SELECT DISTINCT transaction_id FROM day p WHERE p.account_id = d.account_id AND p.day = d.day) posted"
        " CROSS JOIN ledger_entry e USING (transaction_id)"
        " WHERE +e.ledger_account = 'liabilities:prepaid:' || d.account_id) FROM day d GROUP BY account_id, day"
    )
    for account_id, day, cents, _, posted in rows:
        if cents != posted:
            yield f"day {day} of {account_id}: charge {cents} cents, the ledger posted {posted}"


def _audit_orders(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute(
        "SELECT o.order_id FROM switch_order o WHERE NOT EXISTS"
        " (SELECT 1 FROM switch_event e WHERE e.order_id = o.order_id AND e.state = 'wanted')"
    )
    for (order_id,) in rows:
        yield f"switch order {order_id} has no journalled beginning"


def counts(database: sqlite3.Connection) -> tuple[int, int]:
    """How many accounts and ledger entries there are."""
    accounts = database.execute("SELECT count(*) FROM account").fetchone()[0]
    entries = database.execute("SELECT count(*) FROM ledger_entry").fetchone()[0]
    return int(accounts), int(entries)


def imbalance_cents(database: sqlite3.Connection) -> int:
    """The sum of all entries of the ledger, in cents: zero, or the books are wrong."""
    return int(database.execute("SELECT coalesce(sum(amount_cents), 0) FROM ledger_entry").fetchone()[0])
