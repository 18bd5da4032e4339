"""Whether a program's weather rules hold disconnects back, on a forecast, the latest observation and the alerts.

Thresholds and horizons are the program's; what is unknown or stale blocks at any time of the year. A forecast's hour
counts when it overlaps the time that a rule looks at (contract section 4, domain-rules R14-R16, R20, R29, R30).

The *night's low* of older Oklahoma texts (R20) is read as the lowest hour that begins between 9 p.m. and 6 a.m., local
time, in the horizon: the texts name no hours, these are the Weather Service's usual overnight, and a wider night would
turn the rule into one about the whole day.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from edge.core.calendar import FORECAST_FROM, begins, ends
from edge.core.model import Facts, Forecast
from edge.core.programs import ColdRule, HeatRule, Program, Threshold

HOUR = timedelta(hours=1)
OBSERVATION_MAX_AGE = timedelta(hours=2)
NIGHT = (time(21), time(6))

Span = tuple[datetime, datetime]
Season = tuple[tuple[int, int], tuple[int, int]]


def weather_blocks(facts: Facts, program: Program) -> Iterator[tuple[str, str]]:
    """Codes and sentences of every weather block, each code once. ``now`` and ``zone`` must be known."""
    cold, heat = program.cold, program.heat
    if cold is None and heat is None:
        return
    assert facts.now is not None
    assert facts.zone is not None
    now = facts.now.astimezone(UTC)
    day = now.astimezone(facts.zone).date()
    temperatures: Sequence[int | None] = ()
    hot_temperatures: Sequence[int | None] = ()
    indices: Sequence[int | None] = ()
    forecast = facts.forecast
    if forecast is not None and cold is not None:
        temperatures = _values(forecast, forecast.temperature_f100, cold_span(now, cold))
    if forecast is not None and heat is not None:
        span = heat_span(now, day, facts.zone, heat)
        indices = _values(forecast, forecast.heat_index_f100, span)
        if heat.temperature is not None:
            hot_temperatures = _values(forecast, forecast.temperature_f100, span)
    unknown = [*_unknown_forecast(forecast, now), *_missing(temperatures, indices, hot_temperatures)]
    unknown += _unknown_observation(facts, now, heat)
    if facts.alerts is None:
        unknown.append("the active alerts are not known")
    if unknown:
        yield "weather_unknown", "; ".join(unknown)
    if forecast is not None:
        yield from _stale(forecast, now, day, facts.zone)
    if cold is not None and forecast is not None and in_season(day, cold.season):
        yield from _cold(forecast, temperatures, now, facts.zone, cold)
    if heat is not None and in_season(day, heat.season):
        yield from _heat(facts, now, indices, hot_temperatures, heat)


def in_season(day: date, season: Season | None) -> bool:
    """Whether a civil day lies in a season (month, day), both ends included, perhaps across the year's end."""
    if season is None:
        return True
    start, end = season
    present = (day.month, day.day)
    return start <= present <= end if start <= end else present >= start or present <= end


def cold_span(now: datetime, rule: ColdRule) -> Span:
    """The time that a cold rule looks at; ``now`` in UTC."""
    return now, now + timedelta(hours=rule.horizon_hours)


def heat_span(now: datetime, day: date, zone: tzinfo, rule: HeatRule) -> Span:
    """The time that a heat rule looks at: some hours, or the rest of the civil day; ``now`` in UTC."""
    if rule.horizon_hours is not None:
        return now, now + timedelta(hours=rule.horizon_hours)
    return now, ends(day, time.max, zone)


def _values(forecast: Forecast, series: Sequence[int | None], span: Span) -> Sequence[int | None]:
    """The values of every hour that overlaps a span, in order; an hour outside the series is None."""
    first = forecast.first_hour
    start = (span[0] - first) // HOUR
    end = -((first - span[1]) // HOUR)
    if start >= 0 and end <= len(series):
        return series[start:end]
    inside = series[max(0, start) : max(0, end)]
    before = min(-start, end - start) if start < 0 else 0
    return [None] * before + [*inside] + [None] * (end - start - before - len(inside))


def _unknown_forecast(forecast: Forecast | None, now: datetime) -> list[str]:
    if forecast is None:
        return ["there is no forecast"]
    return ["when the forecast was fetched is not known"] if forecast.fetched_at > now else []


def _missing(
    temperatures: Sequence[int | None], indices: Sequence[int | None], hot_temperatures: Sequence[int | None]
) -> Iterator[str]:
    if None in temperatures or None in hot_temperatures:
        yield "the forecast lacks an hour of temperature that the rule looks at"
    if None in indices:
        yield "the forecast lacks an hour of heat index that the rule looks at"


def _unknown_observation(facts: Facts, now: datetime, heat: HeatRule | None) -> list[str]:
    """An observation must be of the last 2 hours and have what the heat rule compares; nothing else needs it."""
    observed = facts.observed
    if observed is None or observed.at > now or now - observed.at.astimezone(UTC) > OBSERVATION_MAX_AGE:
        return ["there is no observation of the last 2 hours"]
    if heat is None:
        return []
    missing = ["the latest observation has no heat index"] if observed.heat_index_f100 is None else []
    if heat.temperature is not None and observed.temperature_f100 is None:
        missing.append("the latest observation has no temperature")
    return missing


def _stale(forecast: Forecast, now: datetime, day: date, zone: tzinfo) -> Iterator[tuple[str, str]]:
    """A forecast whose time of fetch is unknown (the future counts as that) is not known to be of this morning."""
    if forecast.fetched_at > now:
        yield "weather_stale", "the forecast is not known to be of this morning"
    elif forecast.fetched_at < begins(day, FORECAST_FROM, zone):
        fetched = forecast.fetched_at.astimezone(zone).replace(tzinfo=None).isoformat(" ", "minutes")
        yield "weather_stale", f"the forecast was fetched {fetched}, not this morning from 06:00 on"


def _reaches(value: int | None, limit: Threshold, *, upward: bool) -> bool:
    if value is None:
        return False
    if value == limit.limit_f100:
        return limit.inclusive
    return value > limit.limit_f100 if upward else value < limit.limit_f100


def _cold(
    forecast: Forecast, values: Sequence[int | None], now: datetime, zone: tzinfo, rule: ColdRule
) -> Iterator[tuple[str, str]]:
    lowest = _lowest(values)
    reasons = []
    if _reaches(lowest, rule.below, upward=False) and lowest is not None:
        word = "at or below" if rule.below.inclusive else "below"
        limit = degrees(rule.below.limit_f100)
        reasons.append(f"{degrees(lowest)} F is forecast within {rule.horizon_hours} hours, {word} {limit} F")
    if rule.night_low is not None and _reaches(lowest, rule.night_low, upward=False):
        night = _lowest(list(_night(forecast, values, now, zone)))
        if _reaches(night, rule.night_low, upward=False) and night is not None:
            reasons.append(f"a night's low of {degrees(night)} F is forecast within {rule.horizon_hours} hours")
    if reasons:
        yield "weather_cold", "; ".join(reasons)


def _night(forecast: Forecast, values: Sequence[int | None], now: datetime, zone: tzinfo) -> Iterator[int | None]:
    first = forecast.first_hour.astimezone(UTC)
    first += (now - first) // HOUR * HOUR
    for offset, value in enumerate(values):
        clock = (first + offset * HOUR).astimezone(zone).time()
        if clock >= NIGHT[0] or clock < NIGHT[1]:
            yield value


def _lowest(values: Sequence[int | None]) -> int | None:
    return min([value for value in values if value is not None], default=None)


def _highest(values: Sequence[int | None]) -> int | None:
    return max([value for value in values if value is not None], default=None)


def _heat(
    facts: Facts,
    now: datetime,
    indices: Sequence[int | None],
    temperatures: Sequence[int | None],
    rule: HeatRule,
) -> Iterator[tuple[str, str]]:
    """An observation counts as long as it is the latest, however old: one that is too old is told as unknown too."""
    reasons = _hot("forecast", "heat index", _highest(indices), rule.index)
    reasons += _hot("forecast", "temperature", _highest(temperatures), rule.temperature)
    observed = facts.observed
    if observed is not None and observed.at <= now:
        reasons += _hot("observed", "heat index", observed.heat_index_f100, rule.index)
        reasons += _hot("observed", "temperature", observed.temperature_f100, rule.temperature)
    for name in facts.alerts or ():
        if any(word in name.lower() for word in rule.alerts):
            reasons.append(f"the Weather Service has issued: {name}")
    if reasons:
        yield "weather_heat", "; ".join(reasons)


def _hot(where: str, what: str, value: int | None, limit: Threshold | None) -> list[str]:
    if value is None or limit is None or not _reaches(value, limit, upward=True):
        return []
    word = "at or above" if limit.inclusive else "above"
    return [f"a {what} of {degrees(value)} F is {where}, {word} {degrees(limit.limit_f100)} F"]


def degrees(f100: int) -> str:
    """Hundredths of a degree as a decimal."""
    whole, rest = divmod(abs(f100), 100)
    return f"{'-' if f100 < 0 else ''}{whole}.{rest:02d}"
