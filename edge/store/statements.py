"""What a customer's statement is made of: the balances before a civil day, the transactions of a span, corrections."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from edge.core.ledger import arrears, prepaid
from edge.core.statements import Line

_INCOME = ("revenue:", "liabilities:tax:")


def balances_before(database: sqlite3.Connection, account_id: str, day: date) -> tuple[int, int]:
    """A customer's balance, in the customer's sign, and debt in cents, by the transactions of the days before one."""
    balance, debt = prepaid(account_id), arrears(account_id)
    rows = database.execute(
        "SELECT e.ledger_account, sum(e.amount_cents) FROM ledger_transaction t JOIN ledger_entry e"
        " USING (transaction_id) WHERE t.account_id = ? AND t.day < ? AND +e.ledger_account IN (?, ?)"
        " GROUP BY e.ledger_account",
        (account_id, day.isoformat(), balance, debt),
    )
    sums = dict(rows.fetchall())
    return -sums.get(balance, 0), sums.get(debt, 0)


def lines(database: sqlite3.Connection, account_id: str, first: date, last: date) -> list[Line]:
    """A customer's transactions of a span of civil days, in the order in which they were posted."""
    rows = database.execute(
        "SELECT t.transaction_id, t.kind, t.day, t.ref, t.note, t.estimated, e.ledger_account, e.amount_cents"
        " FROM ledger_transaction t LEFT JOIN ledger_entry e USING (transaction_id)"
        " WHERE t.account_id = ? AND t.day BETWEEN ? AND ? ORDER BY t.transaction_id, e.entry_id",
        (account_id, first.isoformat(), last.isoformat()),
    )
    heads: dict[int, tuple[str, str, str, str, int]] = {}
    postings: dict[int, list[tuple[str, int]]] = {}
    for transaction_id, *head, ledger_account, cents in rows:
        kind, day, ref, note, estimated = head
        heads[transaction_id] = kind, day, ref, note, estimated
        found = postings.setdefault(transaction_id, [])
        if ledger_account is not None:
            found.append((ledger_account, cents))
    return [
        Line(
            transaction_id,
            kind,
            date.fromisoformat(day),
            ref,
            note,
            bool(estimated),
            -_on(prepaid(account_id), postings[transaction_id]),
            _on(arrears(account_id), postings[transaction_id]),
            {_kind_of(name): -cents for name, cents in postings[transaction_id] if name.startswith(_INCOME)},
        )
        for transaction_id, (kind, day, ref, note, estimated) in heads.items()
    ]


def _on(ledger_account: str, postings: Iterable[tuple[str, int]]) -> int:
    return sum([cents for name, cents in postings if name == ledger_account])


def _kind_of(ledger_account: str) -> str:
    """The kind of charge whose money stands there: the inverse of ``ledger.income``."""
    return ledger_account.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Which civil day a correction was of, and its use in Wh before and after."""

    day: date
    before_wh: int
    after_wh: int


def corrected_days(database: sqlite3.Connection, account_id: str) -> dict[int, Corrected]:
    """The corrections of an account's days, by the transaction that posted them."""
    rows = database.execute(
        "SELECT d.transaction_id, d.day, p.energy_wh, d.energy_wh FROM day d JOIN day p ON p.account_id = d.account_id"
        " AND p.day = d.day AND p.revision = d.revision - 1"
        " WHERE d.account_id = ? AND d.revision > 1 AND d.transaction_id <> p.transaction_id",
        (account_id,),
    )
    return {posted: Corrected(date.fromisoformat(day), before, after) for posted, day, before, after in rows}


def payment_sources(database: sqlite3.Connection, account_id: str) -> dict[int, tuple[str, str, str]]:
    """Payment id, source and channel of an account's payments, by the transaction that posted them."""
    rows = database.execute(
        "SELECT transaction_id, payment_id, source, channel FROM payment WHERE account_id = ?", (account_id,)
    )
    return {posted: (payment_id, source, channel) for posted, payment_id, source, channel in rows}


def estimated_days(database: sqlite3.Connection, account_id: str) -> list[date]:
    """The closed days of an account that an estimate stands in for, oldest first."""
    rows = database.execute("SELECT day FROM estimated_day WHERE account_id = ? ORDER BY day", (account_id,))
    return [date.fromisoformat(day) for (day,) in rows]
