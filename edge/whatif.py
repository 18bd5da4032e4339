"""``whatif decide``: a case as JSON into facts, a decision back into JSON. No state is touched, no clock is asked.

What a case leaves out, what lies in the future and what makes no sense is unknown, and unknown only keeps power on; an
unknown *key* is an error, so that a misspelt fact is never silently nothing (contract section 4).
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
HOTTEST_F = 1000.0  # beyond this on either side a temperature makes no sense
DEFAULT_ZONE = "America/Chicago"

_KEYS: dict[str, tuple[str, ...]] = {
    "": ("now", "timezone", "program", "set", "account", "meter", "weather", "moratoriums", "gateway"),
    "account": (
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
    ),
    "meter": ("remote_disconnect", "relay", "confirm_seconds"),
    "weather": ("fetched_at", "first_hour", "temperature_f", "heat_index_f", "observed", "alerts"),
    "weather.observed": ("at", "temperature_f", "heat_index_f"),
    "gateway": ("clock_trusted", "payments_feed_seen_at", "disconnects_left", "shadow_mode"),
    "account.holds": ("kind", "from", "until"),
    "moratoriums": ("order", "from", "until"),
}


class CaseError(Exception):
    """A case cannot be decided at all: one sentence that names the key."""


def answer(case: object) -> dict[str, Any]:
    """The answer to a case, in the contract's shape. Raises CaseError."""
    facts, program, holiday = parse_case(case)
    return answer_of(decide(facts, program, holiday), facts.zone or UTC)


def answer_lines(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """An answer a line; a bad case gets ``{"error": ...}`` and False in its place, the others are answered."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield json.dumps(answer(json.loads(line))), True
        except CaseError as problem:
            yield json.dumps({"error": f"line {number}: {problem}"}), False
        except (ValueError, RecursionError) as problem:
            yield json.dumps({"error": f"line {number}: is not one JSON document: {problem}"}), False


def parse_case(case: object) -> tuple[Facts, Program, HolidayLookup]:
    """Facts and rules of a case. Raises CaseError for an unknown key, program, setting or zone."""
    tables = _section({"": case}, "", needed=True)
    account, meter = _section(tables, "account"), _section(tables, "meter")
    weather, gateway = _section(tables, "weather"), _section(tables, "gateway")
    program, holiday = _rules(tables)
    zone = _zone(tables.get("timezone", DEFAULT_ZONE))
    now = _instant(tables.get("now"))
    if now is not None:
        now = now.astimezone(zone)
    returned = account.get("returned_payment_notice_at")
    facts = Facts(
        now=now,
        zone=zone,
        enrolled=_flag(account.get("enrolled")),
        balance_cents=_cents(account.get("balance")),
        arrears_cents=_not_negative(_cents(account.get("arrears"))),
        protected=_protected(account.get("protected")),
        holds=_each(account.get("holds"), "account.holds", _hold),
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
        forecast=_forecast(weather),
        observed=_observation(_section(weather, "weather.observed")),
        alerts=_texts(weather.get("alerts")),
        moratoriums=_each(tables.get("moratoriums"), "moratoriums", _order),
        clock_trusted=_flag(gateway.get("clock_trusted")),
        payments_feed_seen_at=_instant(gateway.get("payments_feed_seen_at")),
        disconnects_left=_whole(gateway.get("disconnects_left")),
        shadow_mode=_flag(gateway.get("shadow_mode")),
    )
    return facts, program, holiday


def _section(tables: Mapping[str, Any], path: str, *, needed: bool = False) -> Mapping[str, Any]:
    """A table of the case; a missing, null or senseless one is empty: all in it is unknown."""
    value = tables.get(path.rsplit(".", 1)[-1])
    if not isinstance(value, dict):
        if needed:
            raise CaseError("a case is a JSON object")
        return {}
    for key in value:
        if key not in _KEYS[path]:
            raise CaseError(f"{path + '.' if path else ''}{key} is not a known key")
    return value


def _rules(tables: Mapping[str, Any]) -> tuple[Program, HolidayLookup]:
    name = tables.get("program") or "default"
    overrides = tables.get("set") or {}
    if not isinstance(name, str):
        raise CaseError("program - must be a program's name")
    if not isinstance(overrides, dict):
        raise CaseError("set - must be an object of dotted keys")
    try:
        return _program(name, json.dumps(overrides, sort_keys=True))
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
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
        return instant.astimezone(UTC) if instant.tzinfo is not None and 1900 < instant.year < 9900 else None
    except (ValueError, OverflowError):
        return None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
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
    try:
        return parse_cents(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _not_negative(cents: int | None) -> int | None:
    return None if cents is None or cents < 0 else cents


def _relay(value: object) -> Relay:
    try:
        return Relay(value) if isinstance(value, str) else Relay.UNKNOWN
    except ValueError:
        return Relay.UNKNOWN


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _protected(value: object) -> tuple[Protection, ...] | None:
    """Every kind that is known counts; a list with anything else in it and no known kind is unknown."""
    if not isinstance(value, list):
        return None
    known = tuple(Protection(item) for item in value if isinstance(item, str) and item in list(Protection))
    return known if known or not value else None


def _each(value: object, path: str, read: Callable[[Mapping[str, Any]], T | None]) -> tuple[T, ...] | None:
    """The entries of a list; None, unknown, when it is no list or any entry makes no sense."""
    if not isinstance(value, list):
        return None
    found = []
    for entry in value:
        if not isinstance(entry, dict):
            return None
        for key in entry:
            if key not in _KEYS[path]:
                raise CaseError(f"{path}.{key} is not a known key")
        item = read(entry)
        if item is None:
            return None
        found.append(item)
    return tuple(found)


def _hold(entry: Mapping[str, Any]) -> Hold | None:
    kind, starts_at = entry.get("kind"), _instant(entry.get("from"))
    until = entry.get("until")
    end = _instant(until)
    if kind not in list(HoldKind) or starts_at is None or (until is not None and end is None):
        return None
    return Hold(HoldKind(kind), starts_at, end)


def _order(entry: Mapping[str, Any]) -> MoratoriumOrder | None:
    starts_at, until = _instant(entry.get("from")), entry.get("until")
    end = _instant(until)
    if starts_at is None or (until is not None and end is None):
        return None
    name = entry.get("order")
    return MoratoriumOrder(name if isinstance(name, str) else "without a name", starts_at, end)


def _forecast(weather: Mapping[str, Any]) -> Forecast | None:
    fetched_at, first_hour = _instant(weather.get("fetched_at")), _instant(weather.get("first_hour"))
    temperature, heat_index = weather.get("temperature_f"), weather.get("heat_index_f")
    if fetched_at is None or first_hour is None or not isinstance(temperature, list):
        return None
    return Forecast(fetched_at, first_hour, _series(temperature), _series(heat_index))


def _series(values: object) -> tuple[int | None, ...]:
    return tuple(_f100(value) for value in values) if isinstance(values, list) else ()


def _f100(value: object) -> int | None:
    """Degrees in hundredths, half to even of the decimal as written."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -HOTTEST_F <= value <= HOTTEST_F:
        return None
    return value * 100 if isinstance(value, int) else round(value * 100)


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
