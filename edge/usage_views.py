"""What interfaces show of daily use: where each day's came from, and the days that are left to a person."""

import sqlite3
from datetime import date, timedelta
from typing import Any

from edge.core.money import format_cents
from edge.inventory import time_text
from edge.rate_whatif import format_kwh
from edge.settings import Settings
from edge.store import customers, manual, usage


def days_view(
    database: sqlite3.Connection, account_id: str, month: str | None, settings: Settings
) -> list[dict[str, Any]]:
    """An account's closed days, oldest first. Raises LookupError for an unknown account, ValueError for no month."""
    account = customers.account(database, account_id)
    if account is None:
        raise LookupError(f"there is no account {account_id}")
    first, last = (date.min, date.max) if month is None else _month(month)
    return [_day_view(closed, settings) for closed in usage.days(database, account_id, first, last)]


def _day_view(closed: usage.ClosedDay, settings: Settings) -> dict[str, Any]:
    use = closed.use
    return {
        "day": use.day.isoformat(),
        "kwh": format_kwh(use.energy_wh),
        "quality": use.quality.value,
        "estimated": closed.estimated,
        "method": use.method,
        "days_used": [used.isoformat() for used in use.days_used],
        "reason": use.reason,
        "by_period": {name: format_kwh(energy_wh) for name, energy_wh in use.by_period},
        "start_register_wh": use.start_register_wh,
        "end_register_wh": use.end_register_wh,
        "meter_id": closed.meter_id,
        "charge": format_cents(closed.charge_cents),
        "charges": {kind: format_cents(cents) for kind, cents in closed.charges.items()},
        "revision": closed.revision,
        "closed_at": time_text(closed.closed_at, settings),
    }


def queue_view(database: sqlite3.Connection, settings: Settings) -> list[dict[str, Any]]:
    """The manual queue with help (domain-rules R59 (iii)): mean kWh a day of the same premises and of like premises."""
    rows = []
    for listed in manual.queue(database):
        known = manual.help_for(database, listed.account_id, listed.day)
        rows.append(
            {
                "account_id": listed.account_id,
                "day": listed.day.isoformat(),
                "why": listed.why,
                "reason": listed.reason,
                "listed_at": time_text(listed.listed_at, settings),
                "last_year_kwh": _mean(known.last_year),
                "last_month_kwh": _mean(known.last_month),
                "like_premises_kwh": _mean(known.like_premises),
            }
        )
    return rows


def _mean(known: tuple[int, int] | None) -> str | None:
    return None if known is None else format_kwh(known[0])


def _month(text: str) -> tuple[date, date]:
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise ValueError(f"{text!r} is not a month such as 2026-10") from None
    following = (first + timedelta(days=31)).replace(day=1)
    return first, following - timedelta(days=1)
