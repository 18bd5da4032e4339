"""The manual queue in SQLite: days that no rule may estimate, what a person has to go by, and the efforts to read."""

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from edge.store.base import instant_of, instant_text

Why = Literal["first_day", "last_day", "no_history", "too_long"]


@dataclass(frozen=True, slots=True)
class ManualDay:
    """An account's open day that no rule may estimate: why, the efforts to get a read, and since when it is listed."""

    account_id: str
    day: date
    why: Why
    reason: str
    listed_at: datetime


def list_day(database: sqlite3.Connection, listed: ManualDay) -> bool:
    """Put an account's open day on the queue; whether it is new there."""
    return (
        database.execute(
            "INSERT INTO manual_day VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET day = excluded.day,"
            " why = excluded.why, reason = excluded.reason, listed_at = excluded.listed_at"
            " WHERE day <> excluded.day OR why <> excluded.why",
            (listed.account_id, listed.day.isoformat(), listed.why, listed.reason, instant_text(listed.listed_at)),
        ).rowcount
        > 0
    )


def unlist(database: sqlite3.Connection, account_id: str) -> None:
    """Take an account from the queue."""
    database.execute("DELETE FROM manual_day WHERE account_id = ?", (account_id,))


def listed_accounts(database: sqlite3.Connection) -> set[str]:
    """The accounts on the queue."""
    return {account_id for (account_id,) in database.execute("SELECT account_id FROM manual_day")}


def queue(database: sqlite3.Connection) -> list[ManualDay]:
    """The manual queue, by day and account."""
    rows = database.execute("SELECT account_id, day, why, reason, listed_at FROM manual_day ORDER BY day, account_id")
    return [
        ManualDay(account_id, date.fromisoformat(day), why, reason, instant_of(listed_at))
        for account_id, day, why, reason, listed_at in rows
    ]


@dataclass(frozen=True, slots=True)
class Help:
    """What a person may go by (domain-rules R59): same premises a year and a month before, like premises on the day.

    Each a day's mean in Wh and over how many days or homes; None where there is none.
    """

    last_year: tuple[int, int] | None
    last_month: tuple[int, int] | None
    like_premises: tuple[int, int] | None


_MEASURED = "quality <> 'estimated'"


def help_for(database: sqlite3.Connection, account_id: str, day: date) -> Help:
    """What is known for an estimate by hand: the same days of last year and of last month, homes of the same tariff.

    The premises are the meter's place: an account before this one counts. Of like premises (same tariff at enrolment
    and class) those whose day is known count.
    """
    year = day - timedelta(days=364)  # the same weekday
    return Help(
        _mean_of_premises(database, account_id, year - timedelta(days=3), year + timedelta(days=3)),
        _mean_of_premises(database, account_id, day - timedelta(days=31), day - timedelta(days=1)),
        _mean(
            database,
            "SELECT d.energy_wh AS wh, max(revision), d.quality AS quality FROM day d JOIN account a USING (account_id)"
            " JOIN account me ON me.account_id = ? WHERE d.day = ? AND a.account_id <> me.account_id"
            " AND a.tariff = me.tariff AND a.customer_class = me.customer_class GROUP BY d.account_id",
            (account_id, day.isoformat()),
        ),
    )


def _mean_of_premises(database: sqlite3.Connection, account_id: str, first: date, last: date) -> tuple[int, int] | None:
    return _mean(
        database,
        "SELECT d.energy_wh AS wh, max(revision), d.quality AS quality FROM account me JOIN account a USING (meter_id)"
        " JOIN day d ON d.account_id = a.account_id WHERE me.account_id = ? AND d.day BETWEEN ? AND ?"
        " GROUP BY d.account_id, d.day",
        (account_id, first.isoformat(), last.isoformat()),
    )


def _mean(database: sqlite3.Connection, days: str, values: tuple[str, ...]) -> tuple[int, int] | None:
    total, count = database.execute(f"SELECT sum(wh), count(*) FROM ({days}) WHERE {_MEASURED}", values).fetchone()
    return (total // count, count) if count else None


def efforts(database: sqlite3.Connection, meter_id: str) -> tuple[datetime | None, int, str, datetime | None, str]:
    """What was done to get a read: the last accepted one, how many were refused since and why, since when no answer.

    The last text is what the line said last.
    """
    last = database.execute(
        "SELECT at FROM reading WHERE meter_id = ? AND accepted = 1 ORDER BY at DESC LIMIT 1", (meter_id,)
    ).fetchone()
    refused, flags = database.execute(
        "SELECT count(*), coalesce(max(flags), '') FROM reading WHERE meter_id = ? AND accepted = 0 AND at > ?",
        (meter_id, last[0] if last else ""),
    ).fetchone()
    failing = database.execute(
        "SELECT since, last_error FROM meter_link WHERE meter_id = ? AND state = 'failing'", (meter_id,)
    ).fetchone()
    since, error = (instant_of(failing[0]), failing[1]) if failing else (None, "")
    return (instant_of(last[0]) if last else None, int(refused), flags, since, error)
