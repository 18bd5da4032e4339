"""Makes weather documents in the shape of the US National Weather Service's API, and plausible weather to fill them.

For benches, demonstrations and tests: pure functions, the same on every machine for the same seed. Temperatures are
degrees Fahrenheit with one decimal, humidities percent.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

PERIODS = 156  # as many hours as the service forecasts
HOUR = timedelta(hours=1)
_SOLAR_HOUR = timedelta(hours=-6, minutes=-30)  # central Oklahoma's sun against UTC
_ONTOLOGY = ["https://geojson.org/geojson-ld/geojson-context.jsonld", {"@vocab": "https://api.weather.gov/ontology#"}]


def hourly_forecast(
    generated_at: datetime,
    first_hour: datetime,
    temperatures_f: Sequence[float | None],
    humidity_percent: float | Sequence[float | None] | None = 50,
) -> dict[str, Any]:
    """A document ``/gridpoints/{office}/{x},{y}/forecast/hourly`` in US units, one period an hour from ``first_hour``.

    Give 156 temperatures for a whole document; a shorter sequence is filled up with its last value. None is a value
    that the service left out.
    """
    temperatures = [*temperatures_f, *[temperatures_f[-1]] * (PERIODS - len(temperatures_f))]
    humidities = _each(humidity_percent, len(temperatures))
    return {
        "@context": _ONTOLOGY,
        "type": "Feature",
        "geometry": _POLYGON,
        "properties": {
            "units": "us",
            "forecastGenerator": "HourlyForecastGenerator",
            "generatedAt": generated_at.isoformat(),
            "updateTime": (generated_at - timedelta(minutes=57)).isoformat(),
            "validTimes": f"{first_hour.isoformat()}/PT{len(temperatures)}H",
            "elevation": {"unitCode": "wmoUnit:m", "value": 213.0},
            "periods": [
                _period(number, first_hour + (number - 1) * HOUR, temperature, humidity)
                for number, (temperature, humidity) in enumerate(zip(temperatures, humidities, strict=True), 1)
            ],
        },
    }


def _period(number: int, start: datetime, temperature: float | None, humidity: float | None) -> dict[str, Any]:
    return {
        "number": number,
        "name": "",
        "startTime": start.isoformat(),
        "endTime": (start + HOUR).isoformat(),
        "isDaytime": 6 <= (start.astimezone(UTC) + _SOLAR_HOUR).hour < 18,
        "temperature": temperature,
        "temperatureUnit": "F",
        "temperatureTrend": None,
        "probabilityOfPrecipitation": {"unitCode": "wmoUnit:percent", "value": 0},
        "dewpoint": {"unitCode": "wmoUnit:degC", "value": None},
        "relativeHumidity": {"unitCode": "wmoUnit:percent", "value": humidity},
        "windSpeed": "5 mph",
        "windDirection": "S",
        "icon": "https://api.weather.gov/icons/land/day/few?size=small",
        "shortForecast": "Mostly Clear",
        "detailedForecast": "",
    }


def raw_grid(
    updated_at: datetime,
    first_hour: datetime,
    temperatures_f: Sequence[float | None],
    humidity_percent: float | Sequence[float | None] | None = 50,
    heat_index_f: Sequence[float | None] | None = None,
) -> dict[str, Any]:
    """A document ``/gridpoints/{office}/{x},{y}``: series in Celsius whose equal neighbours share one validity.

    ``heat_index_f`` None is a series of one null over the whole time, as the service sends it when it is not hot.
    """
    count = len(temperatures_f)
    indices = [None] * count if heat_index_f is None else heat_index_f
    temperature = _series(first_hour, [_celsius(value) for value in temperatures_f])
    return {
        "@context": _ONTOLOGY,
        "id": "https://api.weather.gov/gridpoints/TSA/41,102",
        "type": "Feature",
        "geometry": _POLYGON,
        "properties": {
            "@id": "https://api.weather.gov/gridpoints/TSA/41,102",
            "@type": "wx:Gridpoint",
            "updateTime": updated_at.isoformat(),
            "validTimes": f"{first_hour.isoformat()}/{_duration(count)}",
            "elevation": {"unitCode": "wmoUnit:m", "value": 213.0},
            "gridId": "TSA",
            "gridX": "41",
            "gridY": "102",
            "temperature": {"uom": "wmoUnit:degC", "values": temperature},
            "dewpoint": {"uom": "wmoUnit:degC", "values": []},
            "relativeHumidity": {
                "uom": "wmoUnit:percent",
                "values": _series(first_hour, _each(humidity_percent, count)),
            },
            "heatIndex": {
                "uom": "wmoUnit:degC",
                "values": _series(first_hour, [_celsius(value) for value in indices]),
            },
        },
    }


def _series(first_hour: datetime, values: Sequence[float | None]) -> list[dict[str, object]]:
    series: list[dict[str, object]] = []
    begin = 0
    for position in range(1, len(values) + 1):
        if position == len(values) or values[position] != values[begin]:
            start = (first_hour + begin * HOUR).isoformat()
            series.append({"validTime": f"{start}/{_duration(position - begin)}", "value": values[begin]})
            begin = position
    return series


def _duration(hours: int) -> str:
    days, rest = divmod(hours, 24)
    return "P" + (f"{days}D" if days else "") + (f"T{rest}H" if rest else "")


def observation(
    at: datetime, temperature_f: float | None, humidity_percent: float | None = 50, station: str = "KTUL"
) -> dict[str, Any]:
    """A document ``/stations/{id}/observations/latest`` in Celsius; the heat index is null, as in cool weather."""
    address = f"https://api.weather.gov/stations/{station}"
    return {
        "@context": _ONTOLOGY,
        "id": f"{address}/observations/{at.isoformat()}",
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [-95.88, 36.2]},
        "properties": {
            "@id": f"{address}/observations/{at.isoformat()}",
            "@type": "wx:ObservationStation",
            "elevation": {"unitCode": "wmoUnit:m", "value": 206},
            "station": address,
            "timestamp": at.isoformat(),
            "rawMessage": "",
            "textDescription": "Clear",
            "temperature": _measured("degC", _celsius(temperature_f)),
            "dewpoint": _measured("degC", None),
            "relativeHumidity": _measured("percent", humidity_percent),
            "windChill": _measured("degC", None),
            "heatIndex": _measured("degC", None),
        },
    }


def _measured(unit: str, value: float | None) -> dict[str, Any]:
    return {"unitCode": f"wmoUnit:{unit}", "value": value, "qualityControl": "Z" if value is None else "V"}


def alerts(
    at: datetime, events: Sequence[str], lasting: timedelta = timedelta(hours=12), zone: str = "OKZ060"
) -> dict[str, Any]:
    """A document ``/alerts/active/zone/{zone}`` with one actual alert an event, in force from ``at``; none is fine."""
    return {
        "@context": _ONTOLOGY,
        "type": "FeatureCollection",
        "features": [_alert(at, event, number, lasting, zone) for number, event in enumerate(events, 1)],
        "title": f"current watches, warnings, and advisories for {zone}",
        "updated": at.isoformat(),
    }


def _alert(at: datetime, event: str, number: int, lasting: timedelta, zone: str) -> dict[str, Any]:
    identifier = f"urn:oid:2.49.0.1.840.0.{at:%Y%m%d%H%M%S}.{number}"
    return {
        "id": f"https://api.weather.gov/alerts/{identifier}",
        "type": "Feature",
        "geometry": None,
        "properties": {
            "@id": f"https://api.weather.gov/alerts/{identifier}",
            "@type": "wx:Alert",
            "id": identifier,
            "areaDesc": zone,
            "geocode": {"UGC": [zone], "SAME": []},
            "affectedZones": [f"https://api.weather.gov/zones/forecast/{zone}"],
            "references": [],
            "sent": at.isoformat(),
            "effective": at.isoformat(),
            "onset": at.isoformat(),
            "expires": (at + lasting).isoformat(),
            "ends": (at + lasting).isoformat(),
            "status": "Actual",
            "messageType": "Alert",
            "category": "Met",
            "severity": "Severe",
            "certainty": "Likely",
            "urgency": "Expected",
            "event": event,
            "senderName": "NWS Tulsa OK",
            "headline": f"{event} issued by NWS Tulsa OK",
            "description": "",
            "instruction": "",
            "response": "Prepare",
            "parameters": {},
        },
    }


_POLYGON = {
    "type": "Polygon",
    "coordinates": [[[-95.99, 36.15], [-95.99, 36.17], [-95.96, 36.17], [-95.96, 36.15], [-95.99, 36.15]]],
}


def _each(value: float | Sequence[float | None] | None, count: int) -> list[float | None]:
    return [*value] if isinstance(value, Sequence) else [value] * count


def _celsius(fahrenheit: float | None) -> float | None:
    return None if fahrenheit is None else (fahrenheit - 32) / 1.8


def temperature_f(seed: int, instant: datetime) -> float:
    """Degrees Fahrenheit of a place like central Oklahoma, by season, hour of the sun and spells of some days.

    A year has some sixty nights of frost and, with ``humidity_percent``, one to four weeks of days whose heat index
    reaches 101 F.
    """
    local = instant.astimezone(UTC) + _SOLAR_HOUR
    day_of_year = local.timetuple().tm_yday - 1 + local.hour / 24
    hour = local.hour + local.minute / 60
    season = 60.5 - 22.5 * _cosine((day_of_year - 17) / 365.25)  # coldest in mid January, warmest in mid July
    day = 10.0 * _cosine((hour - 15.5) / 24)  # warmest in the afternoon
    return round(season + day + _spell(seed, "temperature", local) * (9.0 + 5.0 * _cosine(day_of_year / 365.25)), 1)


def humidity_percent(seed: int, instant: datetime) -> int:
    """Relative humidity in whole percent: moist before dawn, drier in the afternoon, with moist and dry spells."""
    local = instant.astimezone(UTC) + _SOLAR_HOUR
    hour = local.hour + local.minute / 60
    humidity = 62 - 16 * _cosine((hour - 15.5) / 24) + 9 * _spell(seed, "humidity", local)
    return round(min(100.0, max(12.0, humidity)))


def _spell(seed: int, what: str, local: datetime) -> float:
    """A smooth course between -2 and 2 through one drawn value every three days."""
    hours = (local - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(minutes=1) / 60
    number, share = divmod(hours / 72, 1)
    blend = share * share * (3 - 2 * share)
    return _drawn(seed, what, int(number)) * (1 - blend) + _drawn(seed, what, int(number) + 1) * blend


def _drawn(seed: int, what: str, number: int) -> float:
    """A value between -2 and 2, mostly small, that depends on nothing but its arguments."""
    digest = hashlib.blake2b(f"{seed}/{what}/{number}".encode(), digest_size=16).digest()
    parts = [int.from_bytes(digest[n : n + 4], "big") / 2**32 for n in range(0, 16, 4)]
    return sum(parts) - 2.0


def _cosine(turns: float) -> float:
    """The cosine of so many turns, within 0.002, by Bhaskara's fraction: the same on every machine, unlike libm's."""
    part = turns % 1.0
    x = part if part <= 0.5 else 1.0 - part  # symmetric; x in [0, 0.5] turns
    if x > 0.25:
        return -_cosine(0.5 - x)
    return (1 - 16 * x * x) / (1 + 4 * x * x)
