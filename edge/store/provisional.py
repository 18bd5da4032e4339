"""Closed days that no register of the gateway's own ends yet: they rest on an estimate or on what people say.

Such a day is found again once the meter answers, so that the books come out as if the answer had been there in time.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

_UNREAD = (
    " NOT EXISTS (SELECT 1 FROM reading WHERE meter_id = ?1 AND at >= ?2 AND accepted = 1)"
    " AND NOT EXISTS (SELECT 1 FROM meter_exchange WHERE meter_id = ?1 AND at >= ?2)"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A closed day as it was just recorded. ``said``: it does not rest on registers alone."""

    account_id: str
    meter_id: str
    day: str
    ends_at: str
    said: bool
    first: bool  # its first revision


def keep(database: sqlite3.Connection, ended: Sequence[Ended]) -> None:
    """Remember which of some closed days are provisional, and forget those that no longer are."""
    earliest = min((day.ends_at for day in ended), default="")
    reported = {
        meter_id
        for (meter_id,) in database.execute("SELECT DISTINCT meter_id FROM customer_read WHERE at >= ?", (earliest,))
    }
    for day in ended:
        key = day.account_id, day.day
        if not day.first:
            database.execute("DELETE FROM provisional_day WHERE account_id = ? AND day = ?", key)
        if day.said or day.meter_id in reported:
            database.execute(
                f"INSERT INTO provisional_day SELECT ?3, ?4, ?2 WHERE {_UNREAD}", (day.meter_id, day.ends_at, *key)
            )


def first_day(database: sqlite3.Connection, account_id: str) -> date | None:
    """The first provisional day of an account; None when there is none."""
    row = database.execute("SELECT min(day) FROM provisional_day WHERE account_id = ?", (account_id,)).fetchone()
    return date.fromisoformat(row[0]) if row[0] else None


def known_after_all(database: sqlite3.Connection) -> list[str]:
    """Accounts with a provisional day at or after whose end their meter has answered."""
    rows = database.execute(
        "SELECT account_id FROM (SELECT account_id, min(ends_at) AS ends_at FROM provisional_day GROUP BY account_id) e"
        " JOIN account a USING (account_id) WHERE EXISTS (SELECT 1 FROM reading r WHERE r.meter_id = a.meter_id"
        " AND r.at >= e.ends_at AND r.accepted = 1) ORDER BY account_id"
    )
    return [account_id for (account_id,) in rows]
