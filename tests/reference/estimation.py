"""Estimates of days without a read, written a second time from the contract (section 4) and domain-rules R59, R62."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

ONE = timedelta(days=1)
THREE_BILLING_PERIODS = 105  # days; what lies before so long a gap says nothing any more


def estimated(history: Mapping[date, tuple[Decimal, str]], day: date) -> dict[str, Any]:
    """What ``whatif estimate`` answers; ``history`` gives a day's kWh and quality."""
    actual = {each: kwh for each, (kwh, quality) in history.items() if quality in ("actual", "customer")}
    before = day - ONE
    while before not in actual and (day - before).days < THREE_BILLING_PERIODS:
        before -= ONE
    days = [before - 2 * ONE, before - ONE, before]
    if all(each in actual for each in days):
        return _mean(days, actual, "three_prior_days")
    if (day.month, day.day) != (2, 29):
        same = date(day.year - 1, day.month, day.day)
        days = [same - 3 * ONE, same - 2 * ONE, same - ONE, same, same + ONE]
        if all(each in actual for each in days):
            return _mean(days, actual, "prior_year_five_reads")
    return {"kwh": None, "method": "manual", "days_used": []}


def _mean(days: list[date], actual: Mapping[date, Decimal], method: str) -> dict[str, Any]:
    mean = sum((actual[day] for day in days), Decimal(0)) / len(days)
    kwh = str(mean.quantize(Decimal("0.01"), ROUND_HALF_UP))
    return {"kwh": kwh, "method": method, "days_used": [day.isoformat() for day in days]}
