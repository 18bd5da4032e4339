"""What decisions and batches need of many accounts or meters at once: one statement a table, whatever their number.

Each function takes ids and gives a dictionary that lacks those of which nothing is on record.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from edge.core.ledger import arrears, prepaid
from edge.store.base import instant_of
from edge.store.fleet import RelayChange


def _list(ids: Iterable[str]) -> tuple[str]:
    return (json.dumps(list(ids)),)


def relay_changes(database: sqlite3.Connection, meter_ids: Iterable[str]) -> dict[str, RelayChange]:
    """The last observed change of each meter's relay."""
    rows = database.execute(
        "SELECT meter_id, at, relay, cause, order_id FROM json_each(?) JOIN relay_change ON change_id ="
        " (SELECT max(change_id) FROM relay_change WHERE meter_id = value)",
        _list(meter_ids),
    )
    return {meter: RelayChange(instant_of(at), relay, cause, order) for meter, at, relay, cause, order in rows}


def last_reads_at(database: sqlite3.Connection, meter_ids: Iterable[str]) -> dict[str, datetime]:
    """When the newest accepted register read of each meter was taken."""
    rows = database.execute(
        "SELECT value, (SELECT at FROM reading WHERE meter_id = value AND accepted = 1 ORDER BY at DESC LIMIT 1)"
        " FROM json_each(?)",
        _list(meter_ids),
    )
    return {meter_id: instant_of(at) for meter_id, at in rows if at is not None}


def last_closed_days(database: sqlite3.Connection, account_ids: Iterable[str]) -> dict[str, date]:
    """The newest closed day of each account."""
    rows = database.execute(
        "SELECT value, (SELECT max(day) FROM day WHERE account_id = value) FROM json_each(?)", _list(account_ids)
    )
    return {account_id: date.fromisoformat(day) for account_id, day in rows if day is not None}


def recent_costs(
    database: sqlite3.Connection, account_ids: Iterable[str], days: int
) -> dict[str, list[tuple[date, int]]]:
    """What each account's newest closed days cost, those of so many civil days: (day, cents)."""
    found: dict[str, list[tuple[date, int]]] = {}
    for account_id, day, cents, _ in database.execute(
        "SELECT account_id, day, charge_cents, max(revision) FROM (SELECT value AS id,"
        " date((SELECT max(day) FROM day WHERE account_id = value), ?2) AS first FROM json_each(?1))"
        " JOIN day ON account_id = id AND day >= first GROUP BY account_id, day",
        (*_list(account_ids), f"-{days - 1} days"),
    ):
        found.setdefault(account_id, []).append((date.fromisoformat(day), cents))
    return found


def notice_marks(database: sqlite3.Connection, account_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    """What notices remember of accounts from one posting to the next."""
    found: dict[str, set[str]] = {}
    for account_id, mark in database.execute(
        "SELECT account_id, mark FROM notice_mark WHERE account_id IN (SELECT value FROM json_each(?))",
        _list(account_ids),
    ):
        found.setdefault(account_id, set()).add(mark)
    return {account_id: frozenset(marks) for account_id, marks in found.items()}


def resting_on_estimates(database: sqlite3.Connection, account_ids: Iterable[str]) -> frozenset[str]:
    """Those with a day for which an estimate stands in."""
    rows = database.execute(
        "SELECT DISTINCT account_id FROM estimated_day WHERE account_id IN (SELECT value FROM json_each(?))",
        _list(account_ids),
    )
    return frozenset(account_id for (account_id,) in rows)


def balances(database: sqlite3.Connection, account_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Each customer's posted prepaid balance and carried debt, in cents; all ids are there."""
    names = [name for account_id in account_ids for name in (prepaid(account_id), arrears(account_id))]
    rows = database.execute(
        "SELECT ledger_account, cents FROM json_each(?) JOIN balance ON ledger_account = value", _list(names)
    )
    cents = dict(rows.fetchall())
    return {
        account_id: (-cents.get(prepaid(account_id), 0), cents.get(arrears(account_id), 0))
        for account_id in account_ids
    }


def with_returned_payment(database: sqlite3.Connection, account_ids: Iterable[str]) -> frozenset[str]:
    """Those of which any payment was taken back."""
    rows = database.execute(
        "SELECT account_id FROM returned_payment WHERE account_id IN (SELECT value FROM json_each(?))",
        _list(account_ids),
    )
    return frozenset(account_id for (account_id,) in rows)


@dataclass(frozen=True, slots=True)
class Told:
    """The newest notice of a type: the ledger entry it followed; when it was delivered, when it was sent, if it was."""

    entry_id: int
    delivered_at: datetime | None
    sent_at: datetime | None

    def reached_at(self, *, confirmed_only: bool) -> datetime | None:
        """When it reached the customer: its first confirmed delivery by any channel, else when the first one sent it.

        ``confirmed_only``: only a confirmed delivery counts.
        """
        return self.delivered_at or (None if confirmed_only else self.sent_at)


def told(database: sqlite3.Connection, account_ids: Iterable[str], notice_type: str) -> dict[str, Told]:
    """The newest notice of a type that each account was given, by whatever channels.

    A delivery told as earlier than the notice itself counts from the notice.
    """
    rows = database.execute(
        "SELECT last.account_id, last.entry_id,"
        " min(CASE WHEN d.stage = 'delivered' THEN max(d.at, n.created_at) END),"
        " min(CASE WHEN d.stage = 'sent' THEN max(d.at, n.created_at) END)"
        " FROM json_each(?1) JOIN notice last ON last.notice_id = (SELECT notice_id FROM notice"
        " WHERE account_id = value AND type = ?2 ORDER BY entry_id DESC, created_at DESC LIMIT 1)"
        " JOIN notice n ON n.event_key = last.event_key LEFT JOIN notice_delivery d ON d.notice_id = n.notice_id"
        " GROUP BY last.account_id",
        (*_list(account_ids), notice_type),
    )
    return {
        account_id: Told(
            entry_id,
            None if delivered is None else instant_of(delivered),
            None if sent is None else instant_of(sent),
        )
        for account_id, entry_id, delivered, sent in rows
    }


def positive_since(database: sqlite3.Connection, since: Iterable[tuple[str, int]]) -> frozenset[str]:
    """Those accounts (each with a ledger entry's id) whose balance was above zero after some later entry."""
    rows = database.execute(
        "SELECT json_extract(value, '$[0]') FROM json_each(?) WHERE EXISTS (SELECT 1 FROM ledger_entry"
        " WHERE ledger_account = 'liabilities:prepaid:' || json_extract(value, '$[0]')"
        " AND entry_id > json_extract(value, '$[1]') AND balance_after < 0)",
        (json.dumps(list(since)),),
    )
    return frozenset(account_id for (account_id,) in rows)


@dataclass(frozen=True, slots=True)
class InForce:
    """The decision in force for an account: what was recorded last."""

    decision_id: int
    action: str
    codes: tuple[str, ...]


def decisions_in_force(database: sqlite3.Connection, account_ids: Iterable[str]) -> dict[str, InForce]:
    """The newest recorded decision about each account."""
    rows = database.execute(
        "SELECT account_id, decision_id, action, codes FROM json_each(?) JOIN decision ON decision_id ="
        " (SELECT max(decision_id) FROM decision WHERE account_id = value)",
        _list(account_ids),
    )
    return {
        account_id: InForce(decision_id, action, tuple(codes.split()))
        for account_id, decision_id, action, codes in rows
    }


def meters_with_wanted_orders(database: sqlite3.Connection) -> frozenset[str]:
    """The meters for which an order is wanted and not yet sent."""
    rows = database.execute(
        "SELECT meter_id FROM live_order l JOIN switch_order USING (order_id) WHERE l.state = 'wanted'"
    )
    return frozenset(meter_id for (meter_id,) in rows)
