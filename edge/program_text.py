"""What a program file may say: its tables, the types of their values, and a sentence for each that is wrong."""

import re
from datetime import date, time
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from edge.core.decisions import BLOCK_CODES
from edge.core.money import parse_cents

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"([A-Za-z]{3})(?:-([A-Za-z]{3}))? ([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})")
LEAP_YEAR = 2024


def _windows(value: object) -> object:
    """``"Mon-Thu 08:00-14:30, Fri 08:00-12:00"`` as a window a weekday; 24:00 is the end of the day."""
    if not isinstance(value, str):
        raise ValueError('must be text such as "Mon-Thu 08:00-14:30, Fri 08:00-12:00"')
    found: list[tuple[time, time] | None] = [None] * 7
    for part in filter(None, (part.strip() for part in value.split(","))):
        match = _WINDOW.fullmatch(part)
        if match is None:
            raise ValueError(f'{part!r} is not a window such as "Mon-Thu 08:00-14:30"')
        first, last, start, end = match.groups()
        days = [_weekday(first), _weekday(last or first)]
        hours = (time_of_day(start), time_of_day(end))
        if hours[0] >= hours[1] or days[0] > days[1]:
            raise ValueError(f"{part!r} ends before it starts")
        for weekday in range(days[0], days[1] + 1):
            if found[weekday] is not None:
                raise ValueError(f"{WEEKDAYS[weekday]} has two windows")
            found[weekday] = hours
    return tuple(found)


def _weekday(name: str) -> int:
    if name.lower() not in WEEKDAYS:
        raise ValueError(f"{name!r} is not a weekday such as Mon")
    return WEEKDAYS.index(name.lower())


def time_of_day(text: str) -> time:
    """A time of day such as 08:00; 24:00, the end of the day, is ``time.max``. Raises ValueError."""
    if text == "24:00":
        return time.max
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time of day such as 08:00") from None


def _cents(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('must be a decimal string such as "25.00"')
    return parse_cents(value)


def _number(value: object) -> object:
    """A decimal that TOML or JSON wrote as text or number; its shortest spelling counts, not its binary value."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("must be a number")
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a number")
    return number


def _month_day(value: object) -> object:
    try:
        day = date.fromisoformat(f"{LEAP_YEAR}-{value}")
    except ValueError:
        raise ValueError('must be month and day such as "11-01"') from None
    return day.month, day.day


def _a_source_a_block(sources: dict[str, str]) -> dict[str, str]:
    if unknown := sorted(sources.keys() - BLOCK_CODES):
        raise ValueError(f"{', '.join(unknown)} is not the code of a block")
    if missing := sorted(BLOCK_CODES - sources.keys()):
        raise ValueError(f"{', '.join(missing)} has no source")
    return sources


Windows = Annotated[tuple[tuple[time, time] | None, ...], BeforeValidator(_windows)]
Cents = Annotated[int, BeforeValidator(_cents)]
Number = Annotated[Decimal, BeforeValidator(_number)]
MonthDay = Annotated[tuple[int, int], BeforeValidator(_month_day)]
Sources = Annotated[dict[str, str], AfterValidator(_a_source_a_block)]
Hours = Annotated[int, Field(ge=0, le=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Sourced(_Part):
    source: str
    effective_from: date


class _Disconnect(_Sourced):
    windows: Windows
    trip: Literal["negative", "zero"]
    grace: Literal["later", "next_day", "hours"]
    grace_hours: Hours
    guard_seconds: Annotated[int, Field(ge=0, le=86_400)]
    day_before_holiday: Literal["normal", "noon", "block"]
    max_read_age_hours: Hours
    max_payment_feed_age_minutes: Annotated[int, Field(ge=0, le=100_000)]
    notice_after_moratorium: bool
    notice_after_moratorium_hours: Hours


class _Reconnect(_Sourced):
    balance_above: Cents
    balance_at_least: Cents | None = None
    payments_at_least: Cents


class _Arrears(_Sourced):
    share: Annotated[Number, Field(ge=0, le=1)]
    first: bool
    max_carried: Cents


class _Holidays(_Sourced):
    calendars: tuple[str, ...]
    own: tuple[str, ...]
    half_days: tuple[str, ...]


class _Season(_Sourced):
    season_from: MonthDay | None = None
    season_until: MonthDay | None = None

    @model_validator(mode="after")
    def _both_ends(self) -> Self:
        if (self.season_from is None) != (self.season_until is None):
            raise ValueError("season_from and season_until belong together")
        return self

    def season(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """First and last (month, day), or None for the whole year."""
        if self.season_from is None or self.season_until is None:
            return None
        return self.season_from, self.season_until


class ColdText(_Season):
    """``[weather.cold]``."""

    limit_f: Number
    limit_included: bool
    night_low_f: Number | None = None
    horizon_hours: Annotated[int, Field(ge=1, le=168)]


class HeatText(_Season):
    """``[weather.heat]``; a horizon of 0 hours is the rest of the civil day."""

    index_f: Number
    index_included: bool
    temperature_f: Number | None = None
    horizon_hours: Annotated[int, Field(ge=0, le=168)]
    alerts: tuple[str, ...]


class _Weather(_Part):
    cold: ColdText
    heat: HeatText


class _Eligibility(_Sourced):
    customer_classes: tuple[str, ...]
    max_past_due: Cents
    minimum_activation: Cents
    max_participants: Annotated[int, Field(ge=1)] | None = None
    account_current: bool
    rate_halves: bool
    standard_tariff: str | None = None
    time_of_use_tariff: str | None = None


class _Notices(_Sourced):
    days_left: tuple[Annotated[int, Field(ge=1)], ...]
    grace_from: Literal["sent", "delivered"]


class ProgramText(_Part):
    """All tables of a program, those of its bases among them."""

    title: str
    source: str
    base: str | None = None
    disconnect: _Disconnect
    reconnect: _Reconnect
    arrears: _Arrears
    holidays: _Holidays
    weather: _Weather
    eligibility: _Eligibility
    notices: _Notices
    sources: Sources
