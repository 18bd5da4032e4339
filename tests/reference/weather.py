"""The weather's part of the reference: cold, heat, what is not known of them, and forecasts of another morning."""

from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from tests.reference.facts import DAY, HOUR, Json, at, degrees, instant, past, section
from tests.reference.programs import Programme, in_season


def hot(limit: tuple[Decimal, bool] | None, value: Decimal) -> bool:
    """Whether a value is at (where that counts) or above a limit."""
    return limit is not None and (value > limit[0] or (limit[1] and value == limit[0]))


def forecast_values(forecast: Json, key: str, now: datetime, end: datetime) -> list[Decimal | None]:
    """The values of every forecast hour that overlaps [now, end); None for each that is missing or makes no sense."""
    first = instant(forecast.get("first_hour"))
    series = forecast.get(key)
    if first is None or not isinstance(series, list):
        return [None]
    values: list[Decimal | None] = [] if first <= now else [None]
    for number, value in enumerate(series):
        start = first + number * HOUR
        if start < end and start + HOUR > now:
            values.append(degrees(value))
    if first + len(series) * HOUR < end:
        values.append(None)
    return values


def weather_codes(case: Json, rules: Programme, now: datetime, zone: ZoneInfo) -> set[str]:
    """Cold and heat as forecast and observed; what is not known of them; a forecast that is not of this morning."""
    weather = section(case, "weather")
    local = now.astimezone(zone)
    midnight = at(local.date() + DAY, time(0), zone)
    cold_end = now + rules.cold_hours * HOUR
    heat_end = midnight if rules.heat_hours == 0 else now + rules.heat_hours * HOUR
    codes = set()

    fetched = past(weather.get("fetched_at"), now)
    if fetched is None:
        codes.add("weather_unknown")
    if any(weather.get(key) is not None for key in ("fetched_at", "first_hour", "temperature_f", "heat_index_f")) and (
        fetched is None or fetched < at(local.date(), time(6), zone)
    ):
        codes.add("weather_stale")

    lows = forecast_values(weather, "temperature_f", now, cold_end)
    indices = forecast_values(weather, "heat_index_f", now, heat_end)
    highs = forecast_values(weather, "temperature_f", now, heat_end) if rules.heat_temperature else []

    observed = section(weather, "observed")
    seen_at = past(observed.get("at"), now)
    if seen_at is None or now - seen_at > 2 * HOUR:
        codes.add("weather_unknown")
    if seen_at is not None:
        indices.append(degrees(observed.get("heat_index_f")))
        if rules.heat_temperature:
            highs.append(degrees(observed.get("temperature_f")))

    alerts = weather.get("alerts")
    known_alerts = isinstance(alerts, list) and all(isinstance(name, str) for name in alerts)
    if None in lows or None in indices or None in highs or not known_alerts:
        codes.add("weather_unknown")

    if in_season(local.date(), rules.cold_season):
        limit, included = rules.cold
        if any(low is not None and (low < limit or (included and low == limit)) for low in lows):
            codes.add("weather_cold")
    if in_season(local.date(), rules.heat_season):
        names = [name.lower() for name in alerts if isinstance(name, str)] if isinstance(alerts, list) else []
        alert = rules.heat_alerts and any("heat" in name for name in names)
        index = any(value is not None and hot(rules.heat_index, value) for value in indices)
        temperature = any(value is not None and hot(rules.heat_temperature, value) for value in highs)
        if alert or index or temperature:
            codes.add("weather_heat")
    return codes
