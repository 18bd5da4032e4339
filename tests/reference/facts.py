"""Facts of a case, read for the reference: what is absent, null or makes no sense is None, which means unknown."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def instant(value: Any) -> datetime | None:
    """An RFC 3339 time with offset, in UTC."""
    if not isinstance(value, str) or not RFC_3339.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except ValueError:
        return None


def past(value: Any, now: datetime) -> datetime | None:
    """An instant that is not in the future."""
    known = instant(value)
    return known if known is not None and known <= now else None


def cents(value: Any, at_least: int | None = None) -> int | None:
    """Money: a decimal string in dollars and cents; a sum that cannot be below `at_least` makes no sense there."""
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+\.\d\d", value):
        return None
    known = int(Decimal(value) * 100)
    return None if at_least is not None and known < at_least else known


def degrees(value: Any) -> Decimal | None:
    """A temperature, rounded to 0.01 degrees as the contract's edges say; none that no thermometer could show."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -200 <= value <= 200:
        return None
    if isinstance(value, int):
        return Decimal(value)
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def seconds(value: Any) -> Decimal | None:
    """A duration that is not negative, in whole seconds, begun ones counted; none of more than a week makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 7 * 86_400:
        return None
    return Decimal(str(value)).to_integral_value(ROUND_CEILING)


def section(case: Json, name: str) -> Json:
    """An object of the case; empty, so that every fact in it is unknown, when it is not there."""
    value = case.get(name)
    return value if isinstance(value, dict) else {}


def at(day: date, clock: time, zone: ZoneInfo) -> datetime:
    """The instant of a civil time."""
    return datetime.combine(day, clock, zone).astimezone(UTC)
