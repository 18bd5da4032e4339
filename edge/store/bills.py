"""What is kept of accounts' bills so far, so that the close of a day does not get slower towards the month's end."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from edge.core.rating import DayUsage


@dataclass(frozen=True, slots=True)
class SumsToDate:
    """A bill's days so far, added up: from which day on, up to which day, the use in runs of days, the charges by kind.

    Kept beside the days, so that a close need not add a month up again; what is kept follows from the days alone.
    """

    begins: date
    last_day: date
    usage: tuple[DayUsage, ...]
    charged: Mapping[str, int]


def sums_to_date(database: sqlite3.Connection, account_ids: Sequence[str]) -> dict[str, SumsToDate]:
    """What is kept of each account's bill; it may end before the last closed day, or be left out."""
    rows = database.execute(
        "SELECT account_id, begins, last_day, usage, charged FROM json_each(?) JOIN bill_to_date ON account_id = value",
        (json.dumps(account_ids),),
    )
    return {
        account_id: SumsToDate(
            date.fromisoformat(begins),
            date.fromisoformat(last),
            tuple(
                [
                    DayUsage(
                        date.fromisoformat(day), energy_wh, tuple([(name, wh) for name, wh in periods]), days=count
                    )
                    for day, energy_wh, periods, count in json.loads(usage)
                ]
            ),
            json.loads(charged),
        )
        for account_id, begins, last, usage, charged in rows
    }


def keep_sums(database: sqlite3.Connection, sums: Mapping[str, SumsToDate]) -> None:
    """Keep the sums of accounts' bills in place of earlier ones."""
    database.executemany(
        "INSERT INTO bill_to_date VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET"
        " begins = excluded.begins, last_day = excluded.last_day, usage = excluded.usage, charged = excluded.charged",
        [
            (
                account_id,
                kept.begins.isoformat(),
                kept.last_day.isoformat(),
                json.dumps([(run.day.isoformat(), run.energy_wh, run.by_period, run.days) for run in kept.usage]),
                json.dumps(dict(kept.charged)),
            )
            for account_id, kept in sums.items()
        ],
    )
