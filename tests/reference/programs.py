"""The seven programmes that ship, their thresholds written out a second time from the contract's table (section 4)."""

from dataclasses import dataclass, field, replace
from datetime import date, time
from decimal import Decimal
from functools import cache
from typing import Any

import holidays

Window = tuple[time, time]
SHORT_FRIDAY: Window = (time(8), time(12))
DEFAULT_WINDOWS: dict[int, Window] = {day: (time(8), time(14, 30)) for day in range(4)} | {4: SHORT_FRIDAY}
PSO_WINDOWS: dict[int, Window] = {day: (time(8), time(15, 30)) for day in range(4)} | {4: SHORT_FRIDAY}


@dataclass(frozen=True)
class Programme:
    """One column of the table; money in cents, temperatures in degrees Fahrenheit, horizons in hours.

    A limit is (degrees, whether the limit itself blocks). A horizon of 0 is the rest of the civil day. A season is
    the first and last (month, day), both included; None is the whole year.
    """

    windows: dict[int, Window] = field(default_factory=lambda: DEFAULT_WINDOWS)
    trip: str = "negative"
    grace: str = "later"
    grace_hours: Decimal = Decimal(24)
    guard_seconds: Decimal = Decimal(0)
    day_before_holiday: str = "normal"
    max_read_age_hours: Decimal = Decimal(24)
    max_feed_age_minutes: Decimal = Decimal(15)
    notice_after_moratorium: bool = False
    reconnect_at_least: int = 1
    payments_at_least: int = 0
    share: Decimal = Decimal("0.30")
    arrears_first: bool = True
    state: str = "OK"
    cold: tuple[Decimal, bool] = (Decimal(32), False)
    cold_hours: int = 24
    cold_season: tuple[tuple[int, int], tuple[int, int]] | None = None
    heat_index: tuple[Decimal, bool] = (Decimal(101), True)
    heat_temperature: tuple[Decimal, bool] | None = None
    heat_hours: int = 0
    heat_season: tuple[tuple[int, int], tuple[int, int]] | None = None
    heat_alerts: bool = False


PROGRAMMES: dict[str, Programme] = {
    "default": Programme(),
    "oge-pay-as-you-go": Programme(payments_at_least=2500),
    "pso-prepay": Programme(windows=PSO_WINDOWS),
    "oec-prepaid": Programme(reconnect_at_least=1000),
    "lake-region": Programme(share=Decimal(0)),
    # Its second cold test, a night low at or below 20 F, lies inside its first.
    "strict": Programme(
        guard_seconds=Decimal(120),
        day_before_holiday="block",
        notice_after_moratorium=True,
        cold=(Decimal(32), True),
        cold_hours=72,
        heat_temperature=(Decimal(95), False),
        heat_hours=72,
        heat_alerts=True,
    ),
    "missouri": Programme(
        state="MO",
        cold_hours=72,
        cold_season=((11, 1), (3, 31)),
        heat_index=(Decimal(105), False),
        heat_temperature=(Decimal(95), False),
        heat_hours=72,
        heat_season=((6, 1), (9, 30)),
    ),
}

OVERRIDES: dict[str, str] = {
    "disconnect.trip": "trip",
    "disconnect.grace": "grace",
    "disconnect.grace_hours": "grace_hours",
    "disconnect.guard_seconds": "guard_seconds",
    "disconnect.day_before_holiday": "day_before_holiday",
    "disconnect.max_read_age_hours": "max_read_age_hours",
    "disconnect.max_payment_feed_age_minutes": "max_feed_age_minutes",
    "disconnect.notice_after_moratorium": "notice_after_moratorium",
    "arrears.share": "share",
    "arrears.first": "arrears_first",
}
"""The keys of a case's `set` that the reference knows, and the field each of them replaces."""


def programme(name: str, overrides: dict[str, Any]) -> Programme:
    """The shipped programme `name` with a case's `set`; KeyError for what the reference does not know."""
    numbers = {"grace_hours", "guard_seconds", "max_read_age_hours", "max_feed_age_minutes", "share"}
    changes: dict[str, Any] = {OVERRIDES[key]: value for key, value in overrides.items()}
    for field_name in numbers & changes.keys():
        changes[field_name] = Decimal(str(changes[field_name]))
    return replace(PROGRAMMES[name], **changes)


@cache
def is_holiday(state: str, day: date) -> bool:
    """Whether `day` is a federal holiday or one of the state's, actual or observed, by the `holidays` library."""
    years = [day.year, day.year + 1]  # a first of January may be observed in the old year
    return any(day in holidays.country_holidays("US", subdiv=subdivision, years=years) for subdivision in (None, state))


def in_season(day: date, season: tuple[tuple[int, int], tuple[int, int]] | None) -> bool:
    """Whether `day` lies in a season, which may run over the end of the year."""
    if season is None:
        return True
    first, last = season
    today = (day.month, day.day)
    return first <= today <= last if first <= last else today >= first or today <= last
