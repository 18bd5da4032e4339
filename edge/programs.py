"""Programs from ``config/programs/*.toml``: read, inherited, overridden, checked, and joined with their holidays.

A program names a ``base`` and what differs. Every fault is one sentence with file and key, all told at once.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import holidays as holiday_calendars
from pydantic import ValidationError

from edge.core.calendar import HolidayLookup
from edge.core.programs import ColdRule, DayBefore, Grace, HeatRule, Program, Threshold, Trip
from edge.program_text import ColdText, HeatText, ProgramText, time_of_day
from edge.settings import ConfigError, fault_sentence, packaged_config, read_toml
from protocols.toml_values import lists_as_tuples

_CALENDAR = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
MOST_BASES = 10
# Which section of a program carries the threshold that a block rests on: its date is told with the block's source.
_SECTION_OF = {
    "balance_not_negative": "disconnect",
    "grace": "disconnect",
    "outside_window": "disconnect",
    "weekend": "disconnect",
    "guard": "disconnect",
    "day_before_holiday": "disconnect",
    "payments_stale": "disconnect",
    "read_stale": "disconnect",
    "notice_after_moratorium": "disconnect",
    "holiday": "holidays",
    "returned_payment_notice": "holidays",
    "weather_cold": "weather.cold",
    "weather_heat": "weather.heat",
}


class ProgramError(ConfigError):
    """A program cannot be used; ``faults``: one sentence each."""


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
    """One program with some of its dotted keys overridden; without folders one of those that ship.

    Raises ProgramError for an unknown name or key.
    """
    return build(name, _raw(folders) if folders else _shipped(), overrides)


@lru_cache(maxsize=1)
def _shipped() -> dict[str, dict[str, Any]]:
    """The tables that ship, read once: a file of what-if cases may override keys in a thousand ways."""
    return _raw((packaged_config() / "programs",))


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
    where = "set" if overrides else f"programs/{name}.toml"
    tables, dates = _inherited(name, raw)
    for key, value in (overrides or {}).items():
        _override(tables, key, value)
    try:
        text = ProgramText.model_validate(lists_as_tuples(tables))
        program = _program(name, text, dates)
        return program, _lookup(text.holidays.calendars, tuple(program.own_holidays.items()))
    except ValidationError as problem:
        raise ProgramError(f"{where}: {fault_sentence(error)}" for error in problem.errors()) from None
    except ValueError as problem:
        raise ProgramError([f"{where}: {problem}"]) from None


def _inherited(name: str, raw: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, object]]:
    """A program's tables over those of its bases; and, by block, since when the figures hold that its source tells of:
    the date stands in the file that names the source."""
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
    dates: dict[str, object] = {}
    for link in reversed(chain):
        _merge(tables, raw[link])
        named = raw[link].get("sources")
        for code in _SECTION_OF.keys() & named.keys() if isinstance(named, dict) else ():
            dates[code] = _effective_from(tables, _SECTION_OF[code])
    return tables, dates


def _effective_from(tables: Mapping[str, Any], section: str) -> object:
    inner: Any = tables
    for part in (*section.split("."), "effective_from"):
        inner = inner.get(part) if isinstance(inner, dict) else None
    return inner


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


def _program(name: str, text: ProgramText, dates: Mapping[str, object]) -> Program:
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
            day: time_of_day(clock)
            for day, clock in (_dated(entry, "holidays.half_days") for entry in text.holidays.half_days)
        },
        customer_classes=text.eligibility.customer_classes,
        max_past_due_cents=text.eligibility.max_past_due,
        minimum_activation_cents=text.eligibility.minimum_activation,
        max_participants=text.eligibility.max_participants,
        account_current=text.eligibility.account_current,
        rate_halves=text.eligibility.rate_halves,
        notice_days_left=text.notices.days_left,
        sources={
            code: f"{source} (in force since {dates[code]})" if dates.get(code) else source
            for code, source in text.sources.items()
        },
        eligibility_source=_since(text.eligibility.source, text.eligibility.effective_from),
        arrears_source=_since(text.arrears.source, text.arrears.effective_from),
        standard_tariff=text.eligibility.standard_tariff,
        time_of_use_tariff=text.eligibility.time_of_use_tariff,
    )


def _since(source: str, effective_from: date) -> str:
    return f"{source} (in force since {effective_from.isoformat()})"


def _cold_rule(cold: ColdText) -> ColdRule:
    night = None if cold.night_low_f is None else Threshold(_f100(cold.night_low_f), inclusive=True)
    below = Threshold(_f100(cold.limit_f), cold.limit_included)
    return ColdRule(below, night, cold.horizon_hours, cold.season(), cold.source)


def _heat_rule(heat: HeatText) -> HeatRule:
    temperature = None if heat.temperature_f is None else Threshold(_f100(heat.temperature_f), inclusive=False)
    index = Threshold(_f100(heat.index_f), heat.index_included)
    alerts = tuple(word.lower() for word in heat.alerts)
    return HeatRule(index, temperature, heat.horizon_hours or None, heat.season(), alerts, heat.source)


def _f100(degrees: Decimal) -> int:
    return int((degrees * 100).to_integral_value(ROUND_HALF_UP))


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
        if not _CALENDAR.fullmatch(code):
            raise NotImplementedError
        return holiday_calendars.country_holidays(country, subdiv=subdivision or None, observed=True)
    except NotImplementedError:
        raise ValueError(f"holidays.calendars - {code!r} is not a calendar of the holidays library") from None


def known_names(folders: Iterable[Path]) -> list[str]:
    """The names of the programs in some folders."""
    return sorted(_raw(tuple(folders)))
