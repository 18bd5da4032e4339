"""What a customer is shown of a month: the statement with its payments, charges, days and everything else, named."""

import sqlite3
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from edge.core.money import format_cents
from edge.core.notices import whole_kwh
from edge.core.rating import Tariff
from edge.core.statements import Line, average_price, statement_of
from edge.rate_whatif import format_kwh
from edge.standing import kwh_price
from edge.store import customers, statements, usage
from edge.store.statements import Corrected

RECENT_PAYMENTS = timedelta(days=31)  # at least the whole month so far


def statement_view(
    database: sqlite3.Connection, account_id: str, month: str, today: date, tariffs: Mapping[str, Tariff]
) -> dict[str, Any]:
    """A month's statement of an account (contract section 3, ``statement``); of a month that still runs, to date.

    ``opening_balance`` + ``paid_to_balance`` - ``charged`` + ``adjusted`` = ``closing_balance``, to the cent. Raises
    LookupError for an unknown account, ValueError for a month that is none or has not begun.
    """
    account = customers.account(database, account_id)
    if account is None:
        raise LookupError(f"there is no account {account_id}")
    first, end = month_bounds(month)
    if first > today:
        raise ValueError(f"{month} has not begun")
    last = min(end, today)
    opening = statements.balances_before(database, account_id, first)
    told = statement_of(*opening, statements.lines(database, account_id, first, last))
    days = usage.days(database, account_id, first, last)
    energy_wh, cost_cents = sum([day.energy_wh for day in days]), sum([day.charge_cents for day in days])
    tariff = tariffs.get(customers.tariff_of(database, account_id, last))
    price = None if tariff is None else kwh_price(database, account, tariff, last)
    mean = average_price(cost_cents, energy_wh)
    charged = {line.day: -line.balance_cents for line in told.charges}
    corrected = statements.corrected_days(database, account_id)
    sources = statements.payment_sources(database, account_id)
    return {
        "account_id": account_id,
        "month": month,
        "from": first.isoformat(),
        "to": last.isoformat(),
        "to_date": end >= today,
        "opening_balance": format_cents(told.opening_cents),
        "paid_to_balance": format_cents(told.paid_to_balance_cents),
        "charged": format_cents(told.charged_cents),
        "adjusted": format_cents(told.adjusted_cents),
        "closing_balance": format_cents(told.closing_cents),
        "closing_balance_kwh": whole_kwh(told.closing_cents, price),
        "opening_arrears": format_cents(told.opening_arrears_cents),
        "paid_to_arrears": format_cents(told.paid_to_arrears_cents),
        "closing_arrears": format_cents(told.closing_arrears_cents),
        "kwh": format_kwh(energy_wh),
        "cost_of_use": format_cents(cost_cents),
        "average_price_per_kwh": None if mean is None else f"{mean // 10_000}.{mean % 10_000:04d}",
        "estimated_days": [day.day.isoformat() for day in days if day.estimated],
        "charges": {kind: format_cents(cents) for kind, cents in told.charged_by_kind.items()},
        "payments": [_payment(line, *sources.get(line.transaction_id, ("", "", ""))) for line in told.payments],
        "adjustments": [_adjustment(line, corrected.get(line.transaction_id)) for line in told.adjustments],
        "days": [_day(day, charged.get(day.day, 0)) for day in days],
    }


def recent_view(database: sqlite3.Connection, account_id: str, today: date) -> dict[str, Any]:
    """What ``account show`` tells of the recent past: payments, charges of the month by kind, days on estimates.

    ``estimated_days``: the closed days that the balance rests on without a read (domain-rules R62, row 94).
    """
    month = today.replace(day=1)
    recent = statements.lines(database, account_id, today - RECENT_PAYMENTS, today)
    told = statement_of(0, 0, [line for line in recent if line.day >= month])
    sources = statements.payment_sources(database, account_id)
    return {
        "recent_payments": [
            _payment(line, *sources.get(line.transaction_id, ("", "", "")))
            for line in reversed(statement_of(0, 0, recent).payments)
        ],
        "charges_this_month": {kind: format_cents(cents) for kind, cents in told.charged_by_kind.items()},
        "estimated_days": [day.isoformat() for day in statements.estimated_days(database, account_id)],
    }


def _payment(line: Line, payment_id: str, source: str, channel: str) -> dict[str, Any]:
    return {
        "day": line.day.isoformat(),
        "payment_id": payment_id,
        "amount": format_cents(line.paid_cents),
        "to_arrears": format_cents(-line.arrears_cents),
        "to_balance": format_cents(line.balance_cents),
        "source": source,
        "channel": channel,
    }


def _adjustment(line: Line, corrected: Corrected | None) -> dict[str, Any]:
    """What is neither a payment nor a day's charge; a correction names its day and the use before and after."""
    return {
        "day": line.day.isoformat(),
        "kind": line.kind if corrected is None else "correction",
        "amount": format_cents(line.balance_cents),
        "arrears": format_cents(line.arrears_cents),
        "charges": {kind: format_cents(cents) for kind, cents in line.by_kind.items()},
        "ref": line.ref,
        "note": line.note,
        "corrects": None if corrected is None else corrected.day.isoformat(),
        "kwh_before": None if corrected is None else format_kwh(corrected.before_wh),
        "kwh_after": None if corrected is None else format_kwh(corrected.after_wh),
    }


def _day(closed: usage.ClosedDay, charged_cents: int) -> dict[str, Any]:
    """A day as it is known now. ``charged``: with its close; ``cost``: in full, corrections since then included."""
    return {
        "day": closed.day.isoformat(),
        "kwh": format_kwh(closed.energy_wh),
        "quality": closed.use.quality.value,
        "estimated": closed.estimated,
        "method": closed.use.method,
        "reason": closed.use.reason,
        "charged": format_cents(charged_cents),
        "cost": format_cents(closed.charge_cents),
    }


def month_bounds(text: str) -> tuple[date, date]:
    """The first and the last day of a month such as 2026-10. Raises ValueError."""
    try:
        if len(text) != 7:
            raise ValueError
        first = date.fromisoformat(f"{text}-01")
        following = (first + timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a month such as 2026-10") from None
    return first, following - timedelta(days=1)
