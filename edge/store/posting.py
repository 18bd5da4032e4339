"""Posting to the ledger: any number of transactions in one pass, each balance read once and written once.

The close of a day, a batch of payments and a single posting all come through here. What guards the ledger are the
schema's triggers and keys, which see every row.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.core.ledger import GENESIS_HASH, Transaction, entry_hash, prepaid
from edge.store.base import instant_text


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted transaction: its id, the last entry's id, the customer's balance after it and before it."""

    transaction_id: int
    entry_id: int
    balance_cents: int
    before_cents: int


def post(
    database: sqlite3.Connection, transaction: Transaction, *, posted_at: datetime, received_at: datetime, by: str
) -> Posted:
    """Post a transaction. Raises sqlite3.IntegrityError when its ref was posted before, and nothing is changed."""
    return post_many(database, [(transaction, received_at)], posted_at=posted_at, by=by)[0]


def post_many(
    database: sqlite3.Connection, received: Sequence[tuple[Transaction, datetime]], *, posted_at: datetime, by: str
) -> list[Posted]:
    """Post transactions in their order, each with the instant at which it was received.

    Raises sqlite3.IntegrityError when a ref was posted before; the store then takes all of them back.
    """
    if not received:
        return []
    book = _Book(database, [transaction for transaction, _ in received])
    at = instant_text(posted_at)
    posted = [book.enter(transaction, at, instant_text(came_at), by) for transaction, came_at in received]
    book.write(database)
    return posted


class _Book:
    """The end of the ledger and the balances that some transactions change; what they add, until it is written."""

    def __init__(self, database: sqlite3.Connection, transactions: Sequence[Transaction]) -> None:
        last = database.execute(
            "SELECT transaction_id, last_entry_id, chain_hash FROM ledger_transaction"
            " ORDER BY transaction_id DESC LIMIT 1"
        )
        end: tuple[int, int, str] = last.fetchone() or (0, 0, GENESIS_HASH)
        self._transaction_id, self._entry_id, self._hash = end
        self._balances = _balances(database, transactions)
        self._changed: set[str] = set()
        self._entries: list[tuple[int, int, str, int, int, str]] = []
        self._transactions: list[tuple[str | int | None, ...]] = []

    def enter(self, transaction: Transaction, posted_at: str, received_at: str, by: str) -> Posted:
        """Add a transaction and its entries to the end."""
        self._transaction_id += 1
        head = (
            transaction.kind,
            transaction.account_id,
            transaction.day.isoformat(),
            transaction.ref,
            posted_at,
            received_at,
            by,
            transaction.note,
            int(transaction.estimated),
            transaction.reverses,
        )
        customer = prepaid(transaction.account_id)
        before_cents = -self._balances.get(customer, 0)
        for posting in transaction.postings:
            self._entry_id += 1
            ledger_account = posting.ledger_account
            after = self._balances.get(ledger_account, 0) + posting.amount_cents
            self._balances[ledger_account] = after
            self._changed.add(ledger_account)
            fields = (self._entry_id, self._transaction_id, ledger_account, posting.amount_cents, after)
            self._hash = entry_hash(self._hash, fields)
            self._entries.append((*fields, self._hash))
        row = (self._transaction_id, *head, self._entry_id)
        self._hash = entry_hash(self._hash, row)
        self._transactions.append((*row, self._hash))
        return Posted(self._transaction_id, self._entry_id, -self._balances.get(customer, 0), before_cents)

    def write(self, database: sqlite3.Connection) -> None:
        """Insert what was added: entries before their transactions, as the schema asks; each balance once."""
        database.executemany("INSERT INTO ledger_entry VALUES (?, ?, ?, ?, ?, ?)", self._entries)
        database.executemany(
            "INSERT INTO balance VALUES (?, ?) ON CONFLICT (ledger_account) DO UPDATE SET cents = excluded.cents",
            [(ledger_account, self._balances[ledger_account]) for ledger_account in sorted(self._changed)],
        )
        database.executemany(
            "INSERT INTO ledger_transaction VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._transactions
        )


def _balances(database: sqlite3.Connection, transactions: Sequence[Transaction]) -> dict[str, int]:
    """The balances of all ledger accounts that the transactions touch; one without a row is zero."""
    touched = {prepaid(transaction.account_id) for transaction in transactions}
    for transaction in transactions:
        touched.update([posting.ledger_account for posting in transaction.postings])
    rows = database.execute(
        "SELECT ledger_account, cents FROM json_each(?) JOIN balance ON ledger_account = value",
        (json.dumps(list(touched)),),
    )
    return dict(rows.fetchall())
