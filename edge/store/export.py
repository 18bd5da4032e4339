"""The whole ledger in the order in which it was posted, row by row, for exports: never more in memory than one row."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """A posted transaction as it is stored: instants are the stored text (RFC 3339, UTC), and
    ``estimated`` is 0 or 1, so that the hashes fit them.
    """

    transaction_id: int
    kind: str
    account_id: str
    day: str
    ref: str
    posted_at: str
    received_at: str
    posted_by: str
    note: str
    estimated: int
    reverses: int | None
    last_entry_id: int
    chain_hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored posting: cents, debit positive, and the ledger account's balance after it."""

    entry_id: int
    ledger_account: str
    amount_cents: int
    balance_cents: int
    entry_hash: str


@contextmanager
def snapshot(database: sqlite3.Connection) -> Iterator[None]:
    """Everything that is read inside is as of one instant, whatever the daemon commits meanwhile."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("ROLLBACK")


def ledger_accounts(database: sqlite3.Connection, account_id: str | None) -> Iterator[str]:
    """The ledger accounts that have entries, in the order of their names; of one customer's transactions, or all."""
    if account_id is None:
        rows = database.execute("SELECT ledger_account FROM balance ORDER BY ledger_account")
    else:
        rows = database.execute(
            "SELECT DISTINCT e.ledger_account FROM ledger_transaction t JOIN ledger_entry e USING (transaction_id)"
            " WHERE t.account_id = ? ORDER BY e.ledger_account",
            (account_id,),
        )
    return (name for (name,) in rows)


def transactions(database: sqlite3.Connection, account_id: str | None) -> Iterator[tuple[Head, tuple[Entry, ...]]]:
    """The transactions with their entries, oldest first; of one customer, or all. A charge of nothing has none."""
    where, given = ("", ()) if account_id is None else ("WHERE t.account_id = ? ", (account_id,))
    rows = database.execute(
        "SELECT t.transaction_id, t.kind, t.account_id, t.day, t.ref, t.posted_at, t.received_at, t.posted_by, t.note,"
        " t.estimated, t.reverses, t.last_entry_id, t.chain_hash,"
        " e.entry_id, e.ledger_account, e.amount_cents, e.balance_after, e.entry_hash"
        f" FROM ledger_transaction t LEFT JOIN ledger_entry e USING (transaction_id) {where}"
        "ORDER BY t.transaction_id, e.entry_id",
        given,
    )
    head: Head | None = None
    entries: list[Entry] = []
    for row in rows:
        if head is None or head.transaction_id != row[0]:
            if head is not None:
                yield head, tuple(entries)
            head, entries = Head(*row[:13]), []
        if row[13] is not None:
            entries.append(Entry(*row[13:]))
    if head is not None:
        yield head, tuple(entries)
