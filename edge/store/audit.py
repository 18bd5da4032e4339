"""The audit of the books: everything that can be recomputed is, and whatever does not fit is one sentence.

The chain runs through all entries and, after those of each transaction, through its head, so that a charge of nothing
is a link as well. Rows beside the ledger carry a seal over their own fields. Problems come in the order of the ledger:
the first one names the first entry that does not fit.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from edge.core.ledger import GENESIS_HASH, entry_hash
from edge.core.orders import IllegalStep, OrderState, step
from edge.store import adjustments

SEALED = (  # tables, what a row is called, how many columns are its key
    ("payment", "payment", 1),
    ("returned_payment", "returned payment", 1),
    ("miscellaneous", "charge or credit", 1),
    ("instalment_agreement", "instalment agreement", 1),
    ("refund", "refund", 1),
    ("day", "day", 3),
)
BEHIND = (  # kinds of transaction, and the table that has a row for each
    ("returned_payment", "returned_payment"),
    ("miscellaneous_charge", "miscellaneous"),
    ("credit", "miscellaneous"),
    ("instalments", "instalment_agreement"),
    ("refund", "refund"),
    ("payment", "payment"),
)


def audit(database: sqlite3.Connection) -> Iterator[str]:
    """Recompute sums, balances, the hash chain, seals, closed days and the command journal; one sentence a problem.

    A database that cannot even be read is a problem too, not an exception.
    """
    try:
        yield from _audit_chain(database)
        yield from _audit_balances(database)
        for table, called, keys in SEALED:
            yield from _audit_seals(database, table, called, keys)
        yield from _audit_payments(database)
        yield from adjustments.audit(database)
        yield from _audit_days(database)
        yield from _audit_orders(database)
        yield from _audit_file(database)
    except sqlite3.DatabaseError as problem:
        yield f"the database cannot be read to its end: {problem}"


def _audit_chain(database: sqlite3.Connection) -> Iterator[str]:
    """Entries and heads in their order, each against its hash, and each transaction's entries against zero."""
    entries = _Entries(database)
    previous_id, previous_last = 0, 0
    for row in database.execute("SELECT * FROM ledger_transaction ORDER BY transaction_id"):
        *head, last_entry_id, chain_hash = row
        transaction_id = head[0]
        for missing in range(previous_id + 1, min(transaction_id, previous_id + 2)):
            yield f"ledger transaction {missing} is missing"
        first = f"ledger entry {previous_last + 1}, " if last_entry_id > previous_last else ""
        yield from entries.take(transaction_id, last_entry_id)
        if _hash(entries.hash, (*head, last_entry_id)) != chain_hash:
            yield f"{first}ledger transaction {transaction_id}: its hash does not fit what it says"
        entries.hash = chain_hash
        previous_id, previous_last = transaction_id, max(previous_last, last_entry_id)
    yield from entries.rest()


class _Entries:
    """The entries in the order of their ids, taken transaction by transaction."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._rows = database.execute("SELECT * FROM ledger_entry ORDER BY entry_id")
        self._next = self._rows.fetchone()
        self._balances: dict[str, int] = {}
        self._expected_id = 1
        self.hash = GENESIS_HASH

    def take(self, transaction_id: int, last_entry_id: int) -> Iterator[str]:
        """Check the entries up to an id, which are those of a transaction."""
        total = 0
        first_id = self._expected_id
        while self._next is not None and self._next[0] <= last_entry_id:
            total += _whole(self._next[3])
            if self._next[1] != transaction_id:
                yield f"ledger entry {self._next[0]}: it names transaction {self._next[1]}, not {transaction_id}"
            yield from self._check()
        if self._expected_id <= last_entry_id:
            yield f"ledger entry {self._expected_id} is missing"
            self._expected_id = last_entry_id + 1
        if total != 0:
            yield f"ledger entry {first_id}, ledger transaction {transaction_id}: its entries sum to {total} cents"

    def rest(self) -> Iterator[str]:
        """Entries after the last transaction have none."""
        while self._next is not None:
            yield f"ledger entry {self._next[0]}: its transaction {self._next[1]} is missing"
            yield from self._check()

    def _check(self) -> Iterator[str]:
        *fields, stored_hash = self._next
        entry_id, _, ledger_account, amount, after = fields
        if entry_id != self._expected_id:
            yield f"ledger entry {self._expected_id} is missing"
        self._expected_id = entry_id + 1
        if _hash(self.hash, fields) != stored_hash:
            yield f"ledger entry {entry_id}: its hash does not fit what it says"
        self.hash = stored_hash
        running = self._balances.get(ledger_account, 0) + _whole(amount)
        self._balances[ledger_account] = _whole(after)
        if running != after:
            yield f"ledger entry {entry_id}: balance {after} on {ledger_account} should be {running}"
        self._next = self._rows.fetchone()


def _hash(previous: str, fields: Sequence[Any]) -> str:
    """The hash of a link or a row; nothing fits what a damaged page may hold instead of numbers and texts."""
    try:
        return entry_hash(str(previous), fields)
    except TypeError:
        return ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _audit_balances(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute(
        "WITH summed AS (SELECT ledger_account, sum(amount_cents) AS cents FROM ledger_entry GROUP BY ledger_account)"
        " SELECT ledger_account, coalesce(b.cents, 0), coalesce(s.cents, 0) FROM"
        " (SELECT ledger_account FROM summed UNION SELECT ledger_account FROM balance)"
        " LEFT JOIN summed s USING (ledger_account) LEFT JOIN balance b USING (ledger_account)"
        " WHERE coalesce(b.cents, 0) <> coalesce(s.cents, 0) ORDER BY ledger_account"
    )
    for ledger_account, kept, summed in rows:
        yield f"balance of {ledger_account}: {kept} cents are kept, its entries sum to {summed}"


def _audit_seals(database: sqlite3.Connection, table: str, called: str, keys: int) -> Iterator[str]:
    for row in database.execute(f"SELECT * FROM {table}"):
        *fields, stored = row
        if _hash(table, fields) != stored:
            yield f"{called} {' '.join(map(str, fields[:keys]))}: its seal does not fit what it says"


def _audit_payments(database: sqlite3.Connection) -> Iterator[str]:
    rows = database.execute(
        "SELECT payment_id FROM payment p LEFT JOIN ledger_transaction t ON t.ref = 'payment:' || p.payment_id"
        " AND t.transaction_id = p.transaction_id WHERE t.transaction_id IS NULL"
    )
    for (payment_id,) in rows:
        yield f"payment {payment_id} has no ledger transaction"
    for kind, table in BEHIND:
        rows = database.execute(
            f"SELECT t.ref FROM ledger_transaction t LEFT JOIN {table} r USING (transaction_id)"
            " WHERE t.kind = ? AND r.account_id IS NULL",
            (kind,),
        )
        for (ref,) in rows:
            yield f"ledger transaction {ref} has no {table.replace('_', ' ')}"


def _audit_days(database: sqlite3.Connection) -> Iterator[str]:
    """A day's charge and corrections must sum to what it costs at its last revision, and every charge has a day."""
    rows = database.execute(
        "SELECT account_id, day, charge_cents, max(revision), (SELECT coalesce(sum(e.amount_cents), 0)"
        " FROM (SELECT DISTINCT transaction_id FROM day p WHERE p.account_id = d.account_id AND p.day = d.day) posted"
        " CROSS JOIN ledger_entry e USING (transaction_id)"
        " WHERE +e.ledger_account = 'liabilities:prepaid:' || d.account_id) FROM day d GROUP BY account_id, day"
    )
    for account_id, day, cents, _, posted in rows:
        if cents != posted:
            yield f"day {day} of {account_id}: charge {cents} cents, the ledger posted {posted}"
    rows = database.execute(
        "SELECT t.ref FROM ledger_transaction t WHERE t.kind = 'charge' AND NOT EXISTS (SELECT 1 FROM day d"
        " WHERE d.account_id = t.account_id AND d.day = substr(t.ref, -10) AND d.transaction_id = t.transaction_id)"
    )
    for (ref,) in rows:
        yield f"ledger transaction {ref} has no closed day"


def _audit_orders(database: sqlite3.Connection) -> Iterator[str]:
    """Every order begins as wanted and takes only the steps that its life has."""
    rows = database.execute(
        "SELECT order_id, state FROM switch_order LEFT JOIN switch_event USING (order_id) ORDER BY order_id, event_id"
    )
    present: int | None = None
    state = OrderState.WANTED
    for order_id, word in rows:
        if order_id != present:
            present, state = order_id, OrderState.WANTED
            if word != OrderState.WANTED:
                yield f"switch order {order_id} has no journalled beginning"
            continue
        try:
            step(state, OrderState(word))
        except (IllegalStep, ValueError):
            yield f"switch order {order_id}: after {state.value} its life has no step to {word}"
        state = next((known for known in OrderState if known == word), state)


def _audit_file(database: sqlite3.Connection) -> Iterator[str]:
    """What SQLite itself finds wrong with its pages, indexes, types and references."""
    for (found,) in database.execute("PRAGMA integrity_check(20)"):
        if found != "ok":
            yield f"the database file is damaged: {found}"
    for table, _, parent, _ in database.execute("PRAGMA foreign_key_check"):
        yield f"a row of {table} names a row of {parent} that is not there"
