"""What is charged, credited, deferred and refunded beside the days: the rows behind those postings."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from edge.core.ledger import Settlement, prepaid
from edge.store.base import insert_sealed, instant_of, instant_text


@dataclass(frozen=True, slots=True)
class Item:
    """A miscellaneous charge or a credit. ``reverses``: the charge that a credit takes back, in whole or in part."""

    item_id: str
    account_id: str
    nature: str  # "charge" or "credit"
    name: str
    amount_cents: int
    reverses: str | None
    reason: str
    recorded_at: datetime
    by: str
    transaction_id: int


def item(database: sqlite3.Connection, item_id: str) -> Item | None:
    """The charge or credit of an id, or None."""
    row = database.execute("SELECT * FROM miscellaneous WHERE item_id = ?", (item_id,)).fetchone()
    if row is None:
        return None
    key, account_id, nature, name, amount, reverses, reason, recorded_at, by, transaction_id, _ = row
    recorded = instant_of(recorded_at)
    return Item(key, account_id, nature, name, amount, reverses, reason, recorded, by, transaction_id)


def add_item(database: sqlite3.Connection, added: Item) -> None:
    """Record a charge or a credit. Raises sqlite3.IntegrityError when its id was used, or too much is taken back."""
    insert_sealed(
        database,
        "miscellaneous",
        (
            added.item_id,
            added.account_id,
            added.nature,
            added.name,
            added.amount_cents,
            added.reverses,
            added.reason,
            instant_text(added.recorded_at),
            added.by,
            added.transaction_id,
        ),
    )


def taken_back_cents(database: sqlite3.Connection, charge_id: str) -> int:
    """How much of a charge was taken back by credits, in cents."""
    row = database.execute(
        "SELECT coalesce(sum(amount_cents), 0) FROM miscellaneous WHERE reverses = ?", (charge_id,)
    ).fetchone()
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Agreement:
    """An under-estimate that is paid in instalments: moved to the debt that later payments pay off by their share."""

    agreement_id: str
    account_id: str
    amount_cents: int
    reason: str


def agreement(database: sqlite3.Connection, agreement_id: str) -> Agreement | None:
    """The agreement of an id, or None."""
    row = database.execute(
        "SELECT agreement_id, account_id, amount_cents, reason FROM instalment_agreement WHERE agreement_id = ?",
        (agreement_id,),
    ).fetchone()
    return Agreement(*row) if row else None


def add_agreement(
    database: sqlite3.Connection, agreed: Agreement, recorded_at: datetime, by: str, transaction_id: int
) -> None:
    """Record an agreement. Raises sqlite3.IntegrityError when its id was used before."""
    insert_sealed(
        database,
        "instalment_agreement",
        (
            agreed.agreement_id,
            agreed.account_id,
            agreed.amount_cents,
            agreed.reason,
            instant_text(recorded_at),
            by,
            transaction_id,
        ),
    )


def deferrable_cents(database: sqlite3.Connection, account_id: str) -> int:
    """What corrections of estimated days have cost an account, and no agreement has deferred yet, in cents.

    The corrections of one instant are one true-up, whose days may go both ways: what counts is what it costs in all.
    """
    row = database.execute(
        "SELECT coalesce(sum(max(0, cost)), 0) FROM (SELECT sum(e.amount_cents) AS cost FROM ledger_transaction t"
        " JOIN ledger_entry e USING (transaction_id) WHERE t.account_id = ?1 AND t.kind = 'adjustment'"
        " AND t.note LIKE 'corrects %' AND e.ledger_account = ?2 GROUP BY t.posted_at)",
        (account_id, prepaid(account_id)),
    ).fetchone()
    deferred = database.execute(
        "SELECT coalesce(sum(amount_cents), 0) FROM instalment_agreement WHERE account_id = ?", (account_id,)
    ).fetchone()
    return max(0, int(row[0]) - int(deferred[0]))


@dataclass(frozen=True, slots=True)
class Refund:
    """The settlement of a final bill, and the channel by which the rest went back."""

    refund_id: str
    account_id: str
    settlement: Settlement
    channel: str


def refund(database: sqlite3.Connection, refund_id: str) -> Refund | None:
    """The refund of an id, or None."""
    row = database.execute(
        "SELECT refund_id, account_id, balance_cents, deposit_cents, to_arrears_cents, refunded_cents, billed_cents,"
        " channel FROM refund WHERE refund_id = ?",
        (refund_id,),
    ).fetchone()
    return Refund(row[0], row[1], Settlement(*row[2:7]), row[7]) if row else None


def add_refund(
    database: sqlite3.Connection, refunded: Refund, recorded_at: datetime, by: str, transaction_id: int
) -> None:
    """Record a refund. Raises sqlite3.IntegrityError when its id was used before."""
    settled = refunded.settlement
    insert_sealed(
        database,
        "refund",
        (
            refunded.refund_id,
            refunded.account_id,
            settled.balance_cents,
            settled.deposit_cents,
            settled.to_arrears_cents,
            settled.refunded_cents,
            settled.billed_cents,
            refunded.channel,
            instant_text(recorded_at),
            by,
            transaction_id,
        ),
    )


_ON_PREPAID = (
    "coalesce((SELECT sum(e.amount_cents) FROM ledger_entry e WHERE e.transaction_id = r.transaction_id"
    " AND e.ledger_account = 'liabilities:prepaid:' || r.account_id), 0)"
)
_ON_ARREARS = _ON_PREPAID.replace("liabilities:prepaid:", "assets:arrears:")
_AUDITED = (  # what a row is called, its table, its id, and where it does not fit its postings
    ("payment", "payment", "payment_id", f"{_ON_PREPAID} <> -to_balance_cents OR {_ON_ARREARS} <> -to_arrears_cents"),
    (
        "returned payment",
        "returned_payment",
        "payment_id",
        "NOT EXISTS (SELECT 1 FROM payment p JOIN ledger_transaction t ON t.reverses = p.transaction_id"
        " WHERE p.payment_id = r.payment_id AND t.transaction_id = r.transaction_id AND t.kind = 'returned_payment')"
        f" OR {_ON_PREPAID} + {_ON_ARREARS} <> fee_cents + (SELECT amount_cents FROM payment p"
        " WHERE p.payment_id = r.payment_id)",
    ),
    (
        "charge or credit",
        "miscellaneous",
        "item_id",
        f"{_ON_PREPAID} <> CASE nature WHEN 'charge' THEN amount_cents ELSE -amount_cents END",
    ),
    (
        "instalment agreement",
        "instalment_agreement",
        "agreement_id",
        f"{_ON_PREPAID} <> -amount_cents OR {_ON_ARREARS} <> amount_cents",
    ),
    (
        "refund",
        "refund",
        "refund_id",
        f"{_ON_PREPAID} <> balance_cents OR {_ON_ARREARS} <> billed_cents - to_arrears_cents",
    ),
)


def audit(database: sqlite3.Connection) -> Iterator[str]:
    """Compare payments, returns, charges, credits, agreements and refunds with their postings; a sentence a problem."""
    for what, table, key, differs in _AUDITED:
        for (row_id,) in database.execute(f"SELECT {key} FROM {table} r WHERE {differs} ORDER BY {key}"):
            yield f"{what} {row_id}: the ledger posted something else"
