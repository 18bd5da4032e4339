"""``whatif decide``: a case as JSON into facts, a decision back into JSON. No state is touched, no clock is asked.

What a case leaves out, what lies in the future and what makes no sense is unknown, and unknown only keeps power on; an
unknown *key* is an error, so that a misspelt fact is never silently nothing (contract section 4).
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic_core import from_json, to_json

from edge.core.calendar import HolidayLookup
from edge.core.decisions import decide
from edge.core.model import (
    Facts,
    Forecast,
    Hold,
    HoldKind,
    MoratoriumOrder,
    Observation,
    Protection,
    Relay,
)
from edge.core.money import parse_cents
from edge.core.programs import Program
from edge.programs import ProgramError, find_program
from edge.rulings import answer_of

T = TypeVar("T")
HOUR = timedelta(hours=1)
LONGEST_DAY_HOURS = 25
HOTTEST_F = 200  # beyond this on either side a temperature makes no sense
CLEAR_OF_A_TIE = 0.4
DEFAULT_ZONE = "America/Chicago"
DEFAULT_PROGRAM = "default"
NOTHING: Mapping[str, Any] = MappingProxyType({})
UNKNOWN_INSTANT = datetime(9999, 1, 1, tzinfo=UTC)
FIRST_YEAR, LAST_YEAR = 1901, 8999  # so that no sum of an instant and a wait leaves the calendar
_FAR_FUTURE = re.compile(r"9\d\d\d-\d\d-\d\d[Tt ]")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOLD_KINDS = {kind.value: kind for kind in HoldKind}
_PROTECTIONS = {kind.value: kind for kind in Protection}
_RELAYS = {relay.value: relay for relay in Relay}

_KEYS: dict[str, frozenset[str]] = {
    "": frozenset(("now", "timezone", "program", "set", "account", "meter", "weather", "moratoriums", "gateway")),
    "account": frozenset(
        (
            "enrolled",
            "balance",
            "arrears",
            "protected",
            "holds",
            "zero_notice_delivered_at",
            "returned_payment_notice_at",
            "payments_since_disconnect",
            "last_actual_read_at",
            "balance_rests_on_estimates",
            "last_closed_day",
        )
    ),
    "meter": frozenset(("remote_disconnect", "relay", "confirm_seconds")),
    "weather": frozenset(("fetched_at", "first_hour", "temperature_f", "heat_index_f", "observed", "alerts")),
    "weather.observed": frozenset(("at", "temperature_f", "heat_index_f")),
    "gateway": frozenset(("clock_trusted", "payments_feed_seen_at", "disconnects_left", "shadow_mode")),
    "account.holds": frozenset(("kind", "from", "until")),
    "moratoriums": frozenset(("order", "from", "until")),
}


class CaseError(Exception):
    """A case cannot be decided at all: one sentence that names the key."""


def answer(case: object, overrides: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """The answer to a case, in the contract's shape; ``overrides`` win over its own ``set``. Raises CaseError."""
    facts, program, holiday = parse_case(case, overrides)
    return answer_of(decide(facts, program, holiday), facts.zone or UTC)


def answer_lines(lines: Iterable[str], overrides: Mapping[str, Any] = NOTHING) -> Iterator[tuple[str, bool]]:
    """An answer a line; a bad case gets ``{"error": ...}`` and False in its place, the others are answered."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield to_json(answer(from_json(line, cache_strings="keys"), overrides)).decode(), True
        except CaseError as problem:
            yield json.dumps({"error": f"line {number}: {problem}"}), False
        except (ValueError, RecursionError) as problem:
            yield json.dumps({"error": f"line {number}: is not one JSON document: {problem}"}), False


def parse_case(case: object, overrides: Mapping[str, Any] = NOTHING) -> tuple[Facts, Program, HolidayLookup]:
    """Facts and rules of a case. Raises CaseError for an unknown key, program, setting or zone."""
    tables = _section({"": case}, "", needed=True)
    account, meter = _section(tables, "account"), _section(tables, "meter")
    weather, gateway = _section(tables, "weather"), _section(tables, "gateway")
    program, holiday = _rules(tables, overrides)
    zone = _zone(tables.get("timezone", DEFAULT_ZONE))
    now = _instant(tables.get("now"))
    if now is not None:
        now = now.astimezone(zone)
    returned = account.get("returned_payment_notice_at")
    holds, senseless_holds = _each(account.get("holds"), "account.holds", _hold)
    moratoriums, senseless_orders = _each(tables.get("moratoriums"), "moratoriums", _order)
    facts = Facts(
        now=now,
        zone=zone,
        enrolled=_flag(account.get("enrolled")),
        balance_cents=_cents(account.get("balance")),
        arrears_cents=_not_negative(_cents(account.get("arrears"))),
        protected=_protected(account.get("protected")),
        holds=holds,
        zero_notice_delivered_at=_instant(account.get("zero_notice_delivered_at")),
        returned_payment_notice_at=_instant(returned),
        returned_payment_unknown=returned is not None and _instant(returned) is None,
        payments_since_disconnect_cents=_not_negative(_cents(account.get("payments_since_disconnect"))),
        last_actual_read_at=_instant(account.get("last_actual_read_at")),
        balance_rests_on_estimates=_flag(account.get("balance_rests_on_estimates")),
        last_closed_day=_day(account.get("last_closed_day")),
        remote_disconnect=_flag(meter.get("remote_disconnect")),
        relay=_relay(meter.get("relay")),
        confirm_seconds=_seconds(meter.get("confirm_seconds")),
        forecast=_forecast(weather, now, program),
        observed=_observation(_section(weather, "weather.observed")),
        alerts=_texts(weather.get("alerts")),
        moratoriums=moratoriums,
        clock_trusted=_flag(gateway.get("clock_trusted")),
        payments_feed_seen_at=_instant(gateway.get("payments_feed_seen_at")),
        disconnects_left=_whole(gateway.get("disconnects_left")),
        shadow_mode=_flag(gateway.get("shadow_mode")),
        holds_incomplete=senseless_holds,
        moratoriums_incomplete=senseless_orders,
    )
    return facts, program, holiday


def _section(tables: Mapping[str, Any], path: str, *, needed: bool = False) -> Mapping[str, Any]:
    """A table of the case; a missing, null or senseless one is empty: all in it is unknown."""
    value = tables.get(path.rpartition(".")[2])
    if not isinstance(value, dict):
        if needed:
            raise CaseError("a case is a JSON object")
        return {}
    _no_unknown_key(value, path)
    return value


def _no_unknown_key(value: Mapping[str, Any], path: str) -> None:
    if not value.keys() <= _KEYS[path]:
        unknown = next(key for key in value if key not in _KEYS[path])
        raise CaseError(f"{path + '.' if path else ''}{unknown} is not a known key")


def _rules(tables: Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[Program, HolidayLookup]:
    name, setting = tables.get("program"), tables.get("set")
    if name is None:
        name = DEFAULT_PROGRAM
    if setting is None:
        setting = {}
    if not isinstance(name, str):
        raise CaseError("program - must be a program's name")
    if not isinstance(setting, dict):
        raise CaseError("set - must be an object of dotted keys")
    try:
        return _program(name, json.dumps({**setting, **overrides}, sort_keys=True) if setting or overrides else "{}")
    except ProgramError as problem:
        raise CaseError("; ".join(problem.faults)) from None


@lru_cache(maxsize=1024)
def _program(name: str, overrides: str) -> tuple[Program, HolidayLookup]:
    return find_program(name, json.loads(overrides))


@lru_cache(maxsize=256)
def _zone_of(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _zone(name: object) -> ZoneInfo:
    if name is None:
        name = DEFAULT_ZONE
    try:
        if not isinstance(name, str):
            raise ValueError(name)
        return _zone_of(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CaseError(f"timezone - {name!r} is not a known time zone") from None


def _instant(value: object) -> datetime | None:
    return _instant_of(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _instant_of(text: str) -> datetime | None:
    """An RFC 3339 time with its offset, in UTC; ISO 8601's other spellings are none."""
    if not _TIME.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return instant.astimezone(UTC) if FIRST_YEAR <= instant.year <= LAST_YEAR else None


def _day(value: object) -> date | None:
    """A civil day as YYYY-MM-DD, and in no other of ISO 8601's spellings."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) and _DAY.fullmatch(value) else None
    except ValueError:
        return None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: object) -> int | None:
    """Whole seconds, rounded up: 4.2 seconds are not over after 4."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86_400 * 7:
        return None
    return math.ceil(value)


def _cents(value: object) -> int | None:
    return _money(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)
def _money(text: str) -> int | None:
    try:
        return parse_cents(text)
    except ValueError:
        return None


def _not_negative(cents: int | None) -> int | None:
    return None if cents is None or cents < 0 else cents


def _relay(value: object) -> Relay:
    return _RELAYS.get(value, Relay.UNKNOWN) if isinstance(value, str) else Relay.UNKNOWN


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _protected(value: object) -> tuple[Protection, ...] | None:
    """Every kind that is known counts; a list with anything else in it and no known kind is unknown."""
    if not isinstance(value, list):
        return None
    known = tuple([_PROTECTIONS[item] for item in value if isinstance(item, str) and item in _PROTECTIONS])
    return known if known or not value else None


def _each(value: object, path: str, read: Callable[[Mapping[str, Any]], T | None]) -> tuple[tuple[T, ...] | None, bool]:
    """The entries of a list that make sense, and whether there were others; None, unknown, when it is no list."""
    if not isinstance(value, list):
        return None, False
    found = []
    for entry in value:
        if not isinstance(entry, dict):
            continue
        _no_unknown_key(entry, path)
        item = read(entry)
        if item is not None:
            found.append(item)
    return tuple(found), len(found) < len(value)


def _interval(entry: Mapping[str, Any]) -> tuple[datetime, datetime | None] | None:
    """Start and end (None: open) of a hold or an order; None, senseless, without a start or when it ends before it.

    An end beyond the years that a calendar here knows, such as 9999-12-31, is an open end.
    """
    starts_at, until = _instant(entry.get("from")), entry.get("until")
    if starts_at is None:
        return None
    if until is None or (isinstance(until, str) and _FAR_FUTURE.match(until)):
        return starts_at, None
    end = _instant(until)
    return None if end is None or end < starts_at else (starts_at, end)


def _hold(entry: Mapping[str, Any]) -> Hold | None:
    interval, kind = _interval(entry), entry.get("kind")
    if interval is None or not isinstance(kind, str) or kind not in _HOLD_KINDS:
        return None
    return Hold(_HOLD_KINDS[kind], *interval)


def _order(entry: Mapping[str, Any]) -> MoratoriumOrder | None:
    interval, name = _interval(entry), entry.get("order")
    if interval is None:
        return None
    return MoratoriumOrder(name if isinstance(name, str) else "without a name", *interval)


def _forecast(weather: Mapping[str, Any], now: datetime | None, program: Program) -> Forecast | None:
    """The forecast's hours that the program's rules can look at from now on; None when the case has none of it.

    Without a time of fetch it carries one from the future, which is unknown too; without a first hour its hours are.
    """
    fetched, first = weather.get("fetched_at"), weather.get("first_hour")
    temperatures, indices = weather.get("temperature_f"), weather.get("heat_index_f")
    if fetched is None and first is None and temperatures is None and indices is None:
        return None
    fetched_at, first_hour = _instant(fetched), _instant(first)
    if fetched_at is None:
        fetched_at = UNKNOWN_INSTANT
    if first_hour is None or now is None:
        return Forecast(fetched_at, fetched_at, (), ())
    skipped = max(0, (now - first_hour) // HOUR)
    hours = slice(skipped, skipped + _hours_ahead(program))
    return Forecast(fetched_at, first_hour + skipped * HOUR, _series(temperatures, hours), _series(indices, hours))


def _hours_ahead(program: Program) -> int:
    """How many hours of a forecast, the present one included, a program's rules can look at."""
    cold = program.cold.horizon_hours if program.cold else 0
    heat = (program.heat.horizon_hours if program.heat else None) or LONGEST_DAY_HOURS
    return max(cold, heat, LONGEST_DAY_HOURS) + 1


def _series(values: object, hours: slice) -> tuple[int | None, ...]:
    """Those hours of a series in hundredths of a degree; whole degrees, as the Weather Service gives them, at once."""
    if not isinstance(values, list):
        return ()
    wanted = values[hours]
    if set(map(type, wanted)) == {int} and min(wanted) >= -HOTTEST_F and max(wanted) <= HOTTEST_F:
        return tuple([value * 100 for value in wanted])
    return tuple([_f100(value) for value in wanted])


def _f100(value: object) -> int | None:
    """Degrees in hundredths, half up of the decimal as written; None for what no thermometer on earth has shown."""
    if type(value) is int:
        return value * 100 if -HOTTEST_F <= value <= HOTTEST_F else None
    if type(value) is not float or not -HOTTEST_F <= value <= HOTTEST_F:
        return None
    exact = value * 100
    nearest = round(exact)
    if abs(exact - nearest) < CLEAR_OF_A_TIE:
        return nearest
    return int((Decimal(str(value)) * 100).quantize(Decimal(1), ROUND_HALF_UP))


def _observation(observed: Mapping[str, Any]) -> Observation | None:
    at = _instant(observed.get("at"))
    if at is None:
        return None
    return Observation(at, _f100(observed.get("temperature_f")), _f100(observed.get("heat_index_f")))


def merged(base: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386) applied: how the acceptance cases are written."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
