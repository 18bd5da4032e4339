"""Programs from ``config/programs/*.toml``: read, inherited, overridden, checked, and joined with their holidays.

A program names a ``base`` and what differs. Every fault is one sentence with file and key, all told at once.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import holidays as holiday_calendars
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from edge.core.calendar import HolidayLookup
from edge.core.money import parse_cents
from edge.core.programs import ColdRule, DayBefore, Grace, HeatRule, Program, Threshold, Trip
from edge.settings import ConfigError, fault_sentence, packaged_config, read_toml

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"([A-Za-z]{3})(?:-([A-Za-z]{3}))? (\d\d:\d\d)-(\d\d:\d\d)")
_SEASON = re.compile(r"(\d\d)-(\d\d)")
MOST_BASES = 10


class ProgramError(ConfigError):
    """A program cannot be used; ``faults``: one sentence each."""


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
        hours = (_clock(start), _clock(end))
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


def _clock(text: str) -> time:
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
    match = _SEASON.fullmatch(value) if isinstance(value, str) else None
    if match is None or not (1 <= int(match[1]) <= 12 and 1 <= int(match[2]) <= 31):
        raise ValueError('must be month and day such as "11-01"')
    return int(match[1]), int(match[2])


Windows = Annotated[tuple[tuple[time, time] | None, ...], BeforeValidator(_windows)]
Cents = Annotated[int, BeforeValidator(_cents)]
Number = Annotated[Decimal, BeforeValidator(_number)]
MonthDay = Annotated[tuple[int, int], BeforeValidator(_month_day)]
NotNegative = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Sourced(_Part):
    source: str
    effective_from: date


class _Disconnect(_Sourced):
    windows: Windows
    trip: Literal["negative", "zero"]
    grace: Literal["later", "next_day", "hours"]
    grace_hours: NotNegative
    guard_seconds: NotNegative
    day_before_holiday: Literal["normal", "noon", "block"]
    max_read_age_hours: NotNegative
    max_payment_feed_age_minutes: NotNegative
    notice_after_moratorium: bool
    notice_after_moratorium_hours: NotNegative


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


class _Cold(_Season):
    limit_f: Number
    limit_included: bool
    night_low_f: Number | None = None
    horizon_hours: Annotated[int, Field(ge=1, le=168)]


class _Heat(_Season):
    index_f: Number
    index_included: bool
    temperature_f: Number | None = None
    horizon_hours: Annotated[int, Field(ge=0, le=168)]
    alerts: tuple[str, ...]


class _Weather(_Part):
    cold: _Cold
    heat: _Heat


class _Eligibility(_Sourced):
    customer_classes: tuple[str, ...]
    max_past_due: Cents
    minimum_activation: Cents
    max_participants: Annotated[int, Field(ge=1)] | None = None
    account_current: bool
    rate_halves: bool


class _Notices(_Sourced):
    days_left: tuple[Annotated[int, Field(ge=1)], ...]
    grace_from: Literal["sent", "delivered"]


class _Text(_Part):
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
    sources: dict[str, str]


def load_programs(*folders: Path) -> dict[str, tuple[Program, HolidayLookup]]:
    """Every program of the folders, by name; of two with one name the first folder's counts. Raises ProgramError."""
    raw = _raw(folders)
    programs: dict[str, tuple[Program, HolidayLookup]] = {}
    faults: list[str] = []
    for name in raw:
        try:
            programs[name] = build(name, raw)
        except ProgramError as problem:
            faults.extend(problem.faults)
    if faults:
        raise ProgramError(dict.fromkeys(faults))
    return programs


def find_program(name: str, overrides: Mapping[str, Any], *folders: Path) -> tuple[Program, HolidayLookup]:
    """One program with some of its dotted keys overridden. Raises ProgramError for an unknown name or key."""
    return build(name, _raw(folders or (packaged_config() / "programs",)), overrides)


@lru_cache(maxsize=8)
def _raw(folders: tuple[Path, ...]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    for folder in folders:
        for file in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            if file.stem in found:
                continue
            try:
                found[file.stem] = read_toml(file)
            except ConfigError as problem:
                faults.extend(f"programs/{fault}" for fault in problem.faults)
    if faults:
        raise ProgramError(faults)
    return found


def build(
    name: str, raw: Mapping[str, dict[str, Any]], overrides: Mapping[str, Any] | None = None
) -> tuple[Program, HolidayLookup]:
    """A program from its tables and those of its bases, with dotted overrides on top. Raises ProgramError."""
    tables = _inherited(name, raw)
    for key, value in (overrides or {}).items():
        _override(tables, key, value)
    try:
        text = _Text.model_validate(_lists_as_tuples(tables))
        program = _program(name, text)
        return program, _lookup(text.holidays.calendars, tuple(program.own_holidays.items()))
    except ValidationError as problem:
        raise ProgramError(f"programs/{name}.toml: {fault_sentence(error)}" for error in problem.errors()) from None
    except ValueError as problem:
        raise ProgramError([f"programs/{name}.toml: {problem}"]) from None


def _inherited(name: str, raw: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    chain: list[str] = []
    following: str | None = name
    while following is not None:
        if following not in raw:
            known = ", ".join(sorted(raw))
            where = f"programs/{chain[-1]}.toml: base - there" if chain else "there"
            raise ProgramError([f"{where} is no program {following!r}; known are {known}"])
        if len(chain) == MOST_BASES:
            raise ProgramError([f"programs/{name}.toml: base - its bases go round in a circle"])
        chain.append(following)
        following = raw[following].get("base")
    tables: dict[str, Any] = {}
    for link in reversed(chain):
        _merge(tables, raw[link])
    return tables


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            inner = into.get(key)
            into[key] = inner if isinstance(inner, dict) else {}
            _merge(into[key], value)
        else:
            into[key] = value


def _override(tables: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    inner: Any = tables
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or key in ("base", "title", "source"):
        raise ProgramError([f"set - {key!r} is not a key of a program"])
    inner[last] = value


def _lists_as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_as_tuples(inner) for key, inner in value.items()}
    return tuple(_lists_as_tuples(inner) for inner in value) if isinstance(value, list) else value


def _program(name: str, text: _Text) -> Program:
    disconnect, reconnect, heat, cold = text.disconnect, text.reconnect, text.weather.heat, text.weather.cold
    return Program(
        name=name,
        title=text.title,
        windows=disconnect.windows,
        trip=Trip(disconnect.trip),
        grace=Grace(disconnect.grace),
        grace_hours=disconnect.grace_hours,
        grace_from=text.notices.grace_from,
        guard_seconds=disconnect.guard_seconds,
        day_before_holiday=DayBefore(disconnect.day_before_holiday),
        max_read_age_hours=disconnect.max_read_age_hours,
        max_payment_feed_age_minutes=disconnect.max_payment_feed_age_minutes,
        notice_after_moratorium=disconnect.notice_after_moratorium,
        notice_after_moratorium_hours=disconnect.notice_after_moratorium_hours,
        reconnect_from_cents=max(reconnect.balance_above + 1, reconnect.balance_at_least or 0),
        reconnect_payments_cents=reconnect.payments_at_least,
        arrears_share_ppm=int(text.arrears.share * 1_000_000),
        arrears_first=text.arrears.first,
        max_carried_arrears_cents=text.arrears.max_carried,
        cold=_cold_rule(cold),
        heat=_heat_rule(heat),
        own_holidays=dict(_dated(entry, "holidays.own") for entry in text.holidays.own),
        half_days={
            day: _clock(clock)
            for day, clock in (_dated(entry, "holidays.half_days") for entry in text.holidays.half_days)
        },
        customer_classes=text.eligibility.customer_classes,
        max_past_due_cents=text.eligibility.max_past_due,
        minimum_activation_cents=text.eligibility.minimum_activation,
        max_participants=text.eligibility.max_participants,
        account_current=text.eligibility.account_current,
        rate_halves=text.eligibility.rate_halves,
        notice_days_left=text.notices.days_left,
        sources=text.sources,
    )


def _cold_rule(cold: _Cold) -> ColdRule:
    night = None if cold.night_low_f is None else Threshold(_f100(cold.night_low_f), inclusive=True)
    below = Threshold(_f100(cold.limit_f), cold.limit_included)
    return ColdRule(below, night, cold.horizon_hours, cold.season(), cold.source)


def _heat_rule(heat: _Heat) -> HeatRule:
    temperature = None if heat.temperature_f is None else Threshold(_f100(heat.temperature_f), inclusive=False)
    index = Threshold(_f100(heat.index_f), heat.index_included)
    alerts = tuple(word.lower() for word in heat.alerts)
    return HeatRule(index, temperature, heat.horizon_hours or None, heat.season(), alerts, heat.source)


def _f100(degrees: Decimal) -> int:
    return int((degrees * 100).to_integral_value())


def _dated(entry: str, key: str) -> tuple[date, str]:
    """``"2026-12-24 Christmas Eve"`` as the day and what follows it."""
    day, _, rest = entry.partition(" ")
    try:
        return date.fromisoformat(day), rest.strip() or "holiday of the utility"
    except ValueError:
        raise ValueError(f'{key} - {entry!r} does not begin with a date such as "2026-12-24"') from None


@lru_cache(maxsize=64)
def _lookup(calendars: tuple[str, ...], own: tuple[tuple[date, str], ...]) -> HolidayLookup:
    """A holiday's name by day: the union of calendars, actual and observed dates, and the utility's own list."""
    united = [_calendar(code) for code in calendars]
    listed = dict(own)

    @lru_cache(maxsize=4096)
    def holiday(day: date) -> str | None:
        if day in listed:
            return listed[day]
        for calendar in united:
            if name := calendar.get(day):
                return str(name)
        return None

    return holiday


def _calendar(code: str) -> Any:
    country, _, subdivision = code.partition("-")
    try:
        return holiday_calendars.country_holidays(country, subdiv=subdivision or None, observed=True)
    except NotImplementedError:
        raise ValueError(f"holidays.calendars - {code!r} is not a calendar of the holidays library") from None


def known_names(folders: Iterable[Path]) -> list[str]:
    """The names of the programs in some folders."""
    return sorted(_raw(tuple(folders)))
