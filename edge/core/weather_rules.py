"""Whether a program's weather rules hold disconnects back, on a forecast, the latest observation and the alerts.

Thresholds and horizons are the program's; what is unknown or stale blocks at any time of the year.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta

from edge.core.model import Facts, Forecast
from edge.core.programs import ColdRule, HeatRule, Program, Threshold

HOUR = timedelta(hours=1)
OBSERVATION_MAX_AGE = timedelta(hours=2)
FETCH_FROM = time(6)
NIGHT = (time(21), time(6))  # for a rule about the night's low: the hours from 9 p.m. to 6 a.m.


def weather_blocks(facts: Facts, program: Program) -> Iterator[tuple[str, str]]:
    """Codes and sentences of every weather block. ``now`` and ``zone`` must be known."""
    if program.cold is None and program.heat is None:
        return
    yield from _unknown(facts, program)
    yield from _stale(facts)
    if program.cold is not None and in_season(facts, program.cold.season):
        yield from _cold(facts, program.cold)
    if program.heat is not None and in_season(facts, program.heat.season):
        yield from _heat(facts, program.heat)


def in_season(facts: Facts, season: tuple[tuple[int, int], tuple[int, int]] | None) -> bool:
    """Whether the civil day lies in a season (month, day), both ends included, perhaps across the year's end."""
    if season is None:
        return True
    assert facts.now is not None
    day = facts.now.astimezone(facts.zone)
    start, end = season
    present = (day.month, day.day)
    return start <= present <= end if start <= end else present >= start or present <= end


def _unknown(facts: Facts, program: Program) -> Iterator[tuple[str, str]]:
    now = facts.now
    assert now is not None
    reasons = []
    if facts.forecast is None or facts.forecast.fetched_at > now:
        reasons.append("there is no forecast")
    else:
        if program.cold is not None and None in _values(
            facts, facts.forecast.temperature_f100, cold_span(facts, program.cold)
        ):
            reasons.append("the forecast lacks an hour of temperature that the rule looks at")
        if program.heat is not None:
            span = heat_span(facts, program.heat)
            series = [facts.forecast.heat_index_f100]
            if program.heat.temperature is not None:
                series.append(facts.forecast.temperature_f100)
            if any(None in _values(facts, values, span) for values in series):
                reasons.append("the forecast lacks an hour of heat index that the rule looks at")
    observed = facts.observed
    if observed is None or observed.at > now or now - observed.at > OBSERVATION_MAX_AGE:
        reasons.append("there is no observation of the last 2 hours")
    elif program.heat is not None and observed.heat_index_f100 is None:
        reasons.append("the latest observation has no heat index")
    elif program.heat is not None and program.heat.temperature is not None and observed.temperature_f100 is None:
        reasons.append("the latest observation has no temperature")
    if facts.alerts is None:
        reasons.append("the active alerts are not known")
    if reasons:
        yield "weather_unknown", "; ".join(reasons)


def _stale(facts: Facts) -> Iterator[tuple[str, str]]:
    now = facts.now
    assert now is not None
    if facts.forecast is None or facts.forecast.fetched_at > now:
        return  # unknown, not stale
    morning = datetime.combine(now.astimezone(facts.zone).date(), FETCH_FROM, facts.zone)
    if facts.forecast.fetched_at < morning:
        fetched = facts.forecast.fetched_at.astimezone(facts.zone)
        yield "weather_stale", f"the forecast was fetched {fetched:%Y-%m-%d %H:%M}, not this morning from 06:00 on"


def cold_span(facts: Facts, rule: ColdRule) -> tuple[datetime, datetime]:
    """The time that a cold rule looks at."""
    assert facts.now is not None
    return facts.now, facts.now.astimezone(UTC) + timedelta(hours=rule.horizon_hours)


def heat_span(facts: Facts, rule: HeatRule) -> tuple[datetime, datetime]:
    """The time that a heat rule looks at: some hours, or the rest of the civil day."""
    now = facts.now
    assert now is not None
    if rule.horizon_hours is not None:
        return now, now.astimezone(UTC) + timedelta(hours=rule.horizon_hours)
    tomorrow = now.astimezone(facts.zone).date() + timedelta(days=1)
    return now, datetime.combine(tomorrow, time(), facts.zone)


def _values(facts: Facts, series: Sequence[int | None], span: tuple[datetime, datetime]) -> list[int | None]:
    """The values of every hour that overlaps a span; an hour outside the series is None."""
    assert facts.forecast is not None
    first = facts.forecast.first_hour.astimezone(UTC)
    start = (span[0].astimezone(UTC) - first) // HOUR
    end = -((first - span[1].astimezone(UTC)) // HOUR)
    found: list[int | None] = list(series[max(start, 0) : max(end, 0)])
    return [None] * (end - start - len(found)) + found


def _reaches(value: int | None, limit: Threshold, *, upward: bool) -> bool:
    if value is None:
        return False
    if value == limit.limit_f100:
        return limit.inclusive
    return value > limit.limit_f100 if upward else value < limit.limit_f100


def _cold(facts: Facts, rule: ColdRule) -> Iterator[tuple[str, str]]:
    forecast = facts.forecast
    if forecast is None:
        return
    start, end = cold_span(facts, rule)
    values = _values(facts, forecast.temperature_f100, (start, end))
    reached = [value for value in values if value is not None and _reaches(value, rule.below, upward=False)]
    if reached:
        word = "at or below" if rule.below.inclusive else "below"
        yield (
            "weather_cold",
            f"{degrees(min(reached))} F is forecast within {rule.horizon_hours} hours,"
            f" {word} {degrees(rule.below.limit_f100)} F",
        )
    elif rule.night_low is not None:
        lows = [v for v in _night_values(facts, forecast, (start, end)) if _reaches(v, rule.night_low, upward=False)]
        if lows:
            yield "weather_cold", f"a night's low of {degrees(min(v for v in lows if v is not None))} F is forecast"


def _night_values(facts: Facts, forecast: Forecast, span: tuple[datetime, datetime]) -> list[int | None]:
    first = forecast.first_hour.astimezone(UTC)
    start = (span[0].astimezone(UTC) - first) // HOUR
    values = _values(facts, forecast.temperature_f100, span)
    found = []
    for offset, value in enumerate(values):
        clock = (first + (start + offset) * HOUR).astimezone(facts.zone).time()
        if clock >= NIGHT[0] or clock < NIGHT[1]:
            found.append(value)
    return found


def _heat(facts: Facts, rule: HeatRule) -> Iterator[tuple[str, str]]:
    reasons = []
    if facts.forecast is not None:
        span = heat_span(facts, rule)
        reasons += _hot("forecast", "index", max_of(_values(facts, facts.forecast.heat_index_f100, span)), rule.index)
        if rule.temperature is not None:
            value = max_of(_values(facts, facts.forecast.temperature_f100, span))
            reasons += _hot("forecast", "temperature", value, rule.temperature)
    if facts.observed is not None and facts.now is not None and facts.observed.at <= facts.now:
        reasons += _hot("observed", "index", facts.observed.heat_index_f100, rule.index)
        if rule.temperature is not None:
            reasons += _hot("observed", "temperature", facts.observed.temperature_f100, rule.temperature)
    for name in facts.alerts or ():
        if any(word in name.lower() for word in rule.alerts):
            reasons.append(f"the Weather Service has issued: {name}")
    if reasons:
        yield "weather_heat", "; ".join(reasons)


def _hot(where: str, what: str, value: int | None, limit: Threshold) -> list[str]:
    if value is None or not _reaches(value, limit, upward=True):
        return []
    name = "heat index" if what == "index" else "temperature"
    word = "at or above" if limit.inclusive else "above"
    return [f"a {name} of {degrees(value)} F is {where}, {word} {degrees(limit.limit_f100)} F"]


def max_of(values: Sequence[int | None]) -> int | None:
    """The highest known value, or None."""
    known = [value for value in values if value is not None]
    return max(known) if known else None


def degrees(f100: int) -> str:
    """Hundredths of a degree as a decimal."""
    whole, rest = divmod(abs(f100), 100)
    return f"{'-' if f100 < 0 else ''}{whole}.{rest:02d}"
