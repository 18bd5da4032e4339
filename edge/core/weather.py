"""Weather documents of the US National Weather Service, read into the records that decisions look at.

The documents are those of the service's API (GeoJSON): hourly forecast, raw grid, observations, active alerts. A value
that is missing or absurd is unknown (``None``) for its hour and nothing else; a document whose shape cannot be trusted
is refused whole, with one sentence, so that no wrong hour is ever taken for a known one.

This is the one module of the core in which floats appear: the heat index is defined by a regression.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from edge.core.model import Forecast, Observation

HOUR = timedelta(hours=1)
MAX_HOURS = 16 * 24  # the service forecasts a week; more is no forecast
ABSURD_F100 = 150_00  # no place on earth has been colder or hotter than this, either sign
COOL_F100 = 80_00  # from here on the regression applies
_REJECTED_QUALITY = {"X", "B"}  # the service's own quality control threw the value out
_DURATION = re.compile(r"P(?:(\d{1,3})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:(\d{1,5})S)?)?")
_METAR_TENTHS = re.compile(r"\bT([01]\d{3})([01]\d{3})?\b")
_METAR_WHOLE = re.compile(r"(?<!\S)(M?\d{2})/(M?\d{2})?(?!\S)")


class DocumentKind(StrEnum):
    """Which of the service's documents this is."""

    HOURLY_FORECAST = "hourly_forecast"
    RAW_GRID = "raw_grid"
    OBSERVATION = "observation"
    ALERTS = "alerts"


def heat_index_f100(temperature_f100: int, relative_humidity_percent: int | float | Decimal) -> int:
    """The heat index in hundredths of a degree Fahrenheit, by the Weather Service's published method.

    Source: NWS Weather Prediction Center, "The Heat Index Equation" (after Rothfusz, NWS Technical Attachment
    SR 90-23, 1990): Steadman's simple formula; where its average with the temperature reaches 80 F, Rothfusz's
    regression with the adjustments for dry air (below 13 %) and for humid air (above 85 %). Below that the service's
    own documents give the simple formula without the averaging (data/nws/stations_observations_latest.json), and so
    do we. Raises ValueError when the humidity is not between 0 and 100.
    """
    t, r = temperature_f100 / 100, float(relative_humidity_percent)
    if not 0 <= r <= 100:
        raise ValueError(f"a relative humidity of {relative_humidity_percent} % makes no sense")
    index = 0.5 * (t + 61.0 + (t - 68.0) * 1.2 + r * 0.094)
    if (index + t) / 2 >= 80:
        index = (
            -42.379
            + 2.04901523 * t
            + 10.14333127 * r
            - 0.22475541 * t * r
            - 0.00683783 * t * t
            - 0.05481717 * r * r
            + 0.00122874 * t * t * r
            + 0.00085282 * t * r * r
            - 0.00000199 * t * t * r * r
        )
        if r < 13 and 80 <= t <= 112:
            index -= (13 - r) / 4 * math.sqrt((17 - abs(t - 95)) / 17)
        elif r > 85 and 80 <= t <= 87:
            index += (r - 85) / 10 * (87 - t) / 5
    return round(index * 100)


def _index(temperature_f100: int | None, humidity: Decimal | None, dewpoint_f100: int | None) -> int | None:
    """The heat index where the document gives none.

    Without any humidity, warm air (80 F and more) has an unknown index. Below 80 F the index is at most that of
    saturated air (some 87 F), and that is what is claimed: the highest possible value is the safe one, and
    cool weather without a humidity does not become an unknown that blocks the whole winter.
    """
    if temperature_f100 is None:
        return None
    if humidity is not None:
        return heat_index_f100(temperature_f100, humidity)
    if dewpoint_f100 is not None:
        return heat_index_f100(temperature_f100, _humidity_of_dewpoint(temperature_f100, dewpoint_f100))
    if temperature_f100 < COOL_F100:
        return max(temperature_f100, heat_index_f100(temperature_f100, 100))
    return None


def _humidity_of_dewpoint(temperature_f100: int, dewpoint_f100: int) -> float:
    """Relative humidity in percent by the Magnus formula (constants of Alduchov and Eskridge, 1996)."""

    def exponent(f100: int) -> float:
        celsius = (f100 - 32_00) / 180
        return 17.625 * celsius / (243.04 + celsius)

    return min(100.0, 100 * math.exp(exponent(dewpoint_f100) - exponent(temperature_f100)))


def classify(document: Mapping[str, object]) -> DocumentKind:
    """Which document this is, from its own shape. Raises ValueError with a sentence when it is none of the four."""
    if document.get("type") == "FeatureCollection":
        return _classify_collection(document)
    properties = document.get("properties")
    if isinstance(properties, Mapping):
        if "periods" in properties:
            return DocumentKind.HOURLY_FORECAST
        temperature = properties.get("temperature")
        if properties.get("@type") == "wx:Gridpoint" or (isinstance(temperature, Mapping) and "values" in temperature):
            return DocumentKind.RAW_GRID
        if _is_observation(properties):
            return DocumentKind.OBSERVATION
    elif "title" in document and "status" in document:
        raise ValueError(f"the document is an error answer of the Weather Service: {_shown(document['title'])}")
    raise ValueError("the document is no hourly forecast, raw grid, observation or alert list of the Weather Service")


def _classify_collection(document: Mapping[str, object]) -> DocumentKind:
    features = _list(document.get("features"), "'features'")
    for feature in features:
        properties = feature.get("properties") if isinstance(feature, Mapping) else None
        if isinstance(properties, Mapping):
            if properties.get("@type") == "wx:Alert" or "event" in properties:
                return DocumentKind.ALERTS
            if _is_observation(properties):
                return DocumentKind.OBSERVATION
    if not features and ("title" in document or "updated" in document):
        return DocumentKind.ALERTS  # how the service says that there are none
    raise ValueError("the collection holds neither observations nor alerts of the Weather Service")


def _is_observation(properties: Mapping[str, object]) -> bool:
    return "timestamp" in properties or "/observations/" in str(properties.get("@id"))


def forecast_from_hourly(document: Mapping[str, object], received_at: datetime) -> Forecast:
    """The forecast in a document ``/gridpoints/{office}/{x},{y}/forecast/hourly``, in either unit system.

    The periods may come in any order; an hour that is not among them is unknown. Its time of fetch is the earlier of
    ``received_at`` and the document's ``generatedAt``, or ``updateTime`` where there is none (contract section 6).
    Raises ValueError with a sentence when the periods are missing, malformed, longer or shorter than an hour or
    overlap, or when the document does not tell its age.
    """
    properties = _object(document.get("properties"), "'properties'")
    hours: dict[datetime, tuple[int | None, int | None]] = {}
    for number, item in enumerate(_list(properties.get("periods"), "'periods'"), 1):
        where = f"period {number}"
        period = _object(item, where)
        start = _instant(period.get("startTime"), f"{where}, startTime")
        if _instant(period.get("endTime"), f"{where}, endTime") - start != HOUR:
            raise ValueError(f"{where} does not last one hour: this is not an hourly forecast")
        if start in hours:
            raise ValueError(f"{where} begins at the same hour as another one")
        hours[start] = _period_values(period, where)
    if not hours:
        raise ValueError("the hourly forecast has no periods")
    first, last = min(hours), max(hours)
    if any((start - first) % HOUR for start in hours):
        raise ValueError("the periods of the hourly forecast overlap")
    if last - first >= MAX_HOURS * HOUR:
        raise ValueError(f"the hourly forecast spans more than {MAX_HOURS} hours")
    series = [hours.get(first + n * HOUR, (None, None)) for n in range((last - first) // HOUR + 1)]
    return _forecast(_fetched_at(properties, received_at), first, series)


def _period_values(period: Mapping[str, object], where: str) -> tuple[int | None, int | None]:
    raw = period.get("temperature")
    if raw is None:
        return None, None
    unit = None if isinstance(raw, Mapping) else period.get("temperatureUnit")
    temperature = _temperature(raw, f"{where}, temperature", unit)
    dewpoint = _temperature(period.get("dewpoint"), f"{where}, dewpoint")
    return temperature, _index(temperature, _percent(period.get("relativeHumidity")), dewpoint)


def _fetched_at(properties: Mapping[str, object], received_at: datetime) -> datetime:
    for key in ("generatedAt", "updateTime"):
        if properties.get(key) is not None:
            return min(received_at, _instant(properties[key], key))
    raise ValueError("the forecast has neither 'generatedAt' nor 'updateTime', so nobody knows how old it is")


def forecast_from_grid(document: Mapping[str, object], received_at: datetime) -> Forecast:
    """The forecast in a document ``/gridpoints/{office}/{x},{y}``: series of values with ISO 8601 validity.

    A value counts for the whole hours that it covers; an hour that no single value covers is unknown. The heat index
    is the document's own; where that is null (the service leaves it out when it is not hot) it is reckoned from the
    relative humidity or the dew point. Time of fetch as in ``forecast_from_hourly``. Raises ValueError with a
    sentence when the temperature series is missing or a series is malformed or overlaps itself.
    """
    properties = _object(document.get("properties"), "'properties'")
    names = ("temperature", "heatIndex", "dewpoint", "relativeHumidity")
    temperatures, indices, dewpoints, humidities = (_layer(properties, name) for name in names)
    if not temperatures:
        raise ValueError("the grid has no temperature for any whole hour")
    first = min(temperatures)
    series: list[tuple[int | None, int | None]] = []
    for n in range(min((max(temperatures) - first) // HOUR + 1, MAX_HOURS)):
        hour = first + n * HOUR
        temperature = _temperature(temperatures.get(hour), "temperature")
        index = _temperature(indices.get(hour), "heatIndex")
        if index is None:
            dewpoint = _temperature(dewpoints.get(hour), "dewpoint")
            index = _index(temperature, _percent(humidities.get(hour)), dewpoint)
        series.append((temperature, index))
    return _forecast(_fetched_at(properties, received_at), first, series)


def _forecast(fetched_at: datetime, first_hour: datetime, series: list[tuple[int | None, int | None]]) -> Forecast:
    temperatures, indices = zip(*series, strict=True)
    return Forecast(fetched_at, first_hour, temperatures, indices)


def _layer(properties: Mapping[str, object], name: str) -> dict[datetime, Mapping[str, object]]:
    """One series of the grid, as objects with ``unitCode`` and ``value`` for whole hours."""
    if properties.get(name) is None:
        return {}
    layer = _object(properties[name], f"'{name}'")
    unit = layer.get("uom", layer.get("unitCode"))
    hours: dict[datetime, Mapping[str, object]] = {}
    for number, item in enumerate(_list(layer.get("values"), f"the values of '{name}'"), 1):
        where = f"{name}, value {number}"
        entry = _object(item, where)
        start, end = _validity(entry.get("validTime"), where)
        hour = start.replace(minute=0, second=0, microsecond=0)
        hour += HOUR if hour < start else timedelta(0)
        while hour + HOUR <= end:
            if hour in hours:
                raise ValueError(f"{where} overlaps an earlier one")
            hours[hour] = {"unitCode": unit, "value": entry.get("value")}
            hour += HOUR
    return hours


def _validity(value: object, where: str) -> tuple[datetime, datetime]:
    """Start and end of an ISO 8601 interval such as ``2021-01-01T06:00:00+00:00/P1DT6H``, cut at the longest span."""
    begin, _, duration = value.partition("/") if isinstance(value, str) else ("", "", "")
    match = _DURATION.fullmatch(duration)
    if match is None or not any(match.groups()):
        raise ValueError(f"{where}: {_shown(value)} is no validity such as 2021-01-01T06:00:00+00:00/PT3H")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    start = _instant(begin, where)
    return start, start + min(length, MAX_HOURS * HOUR)


def observation_from(document: Mapping[str, object]) -> Observation:
    """The latest observation in a document ``/stations/{id}/observations[/latest]``.

    Values that are null or that the service's quality control rejected are taken from the raw METAR, where there is
    one, else they are unknown. A null heat index (the service gives none in cool weather) is reckoned from the
    temperature with the humidity or the dew point. Raises ValueError with a sentence when there is no observation or
    its time is not told.
    """
    features = [document]
    if document.get("type") == "FeatureCollection":
        features = [_object(item, "an observation") for item in _list(document.get("features"), "'features'")]
    if not features:
        raise ValueError("the document holds no observation")
    all_properties = [_object(feature.get("properties"), "an observation's 'properties'") for feature in features]
    at, properties = max(((_observed_at(each), each) for each in all_properties), key=lambda pair: pair[0])
    temperature = _temperature(properties.get("temperature"), "temperature")
    dewpoint = _temperature(properties.get("dewpoint"), "dewpoint")
    humidity = _percent(properties.get("relativeHumidity"))
    index = _temperature(properties.get("heatIndex"), "heatIndex")
    if temperature is None:
        temperature, dewpoint = _metar_temperatures(properties.get("rawMessage"))
        humidity = None
    if index is None:
        index = _index(temperature, humidity, dewpoint)
    return Observation(at=at, temperature_f100=temperature, heat_index_f100=index)


def _observed_at(properties: Mapping[str, object]) -> datetime:
    if properties.get("timestamp") is not None:
        return _instant(properties["timestamp"], "the observation's timestamp")
    return _instant(str(properties.get("@id")).rpartition("/observations/")[2], "the time in the observation's '@id'")


def _metar_temperatures(message: object) -> tuple[int | None, int | None]:
    """Temperature and dew point of a METAR: the remark in tenths of a degree Celsius, else the body's whole ones."""
    if not isinstance(message, str):
        return None, None
    body, _, remarks = message.partition(" RMK")
    groups: tuple[str | None, ...] = (None, None)
    if match := _METAR_TENTHS.search(remarks):  # a leading 1 is a minus sign
        groups = tuple(group and f"{'-' if group[0] == '1' else ''}{group[1:3]}.{group[3]}" for group in match.groups())
    elif match := _METAR_WHOLE.search(body):
        groups = tuple(group and group.replace("M", "-") for group in match.groups())
    temperature, dewpoint = (_fahrenheit100(Decimal(group), "C") if group else None for group in groups)
    return temperature, dewpoint


def alerts_from(document: Mapping[str, object], now: datetime) -> tuple[str, ...]:
    """Names of the events of the alerts that are active at ``now``, in the document's order, each once.

    Left out is what is certainly no alert: a status other than Actual (tests, exercises), cancellations and what they
    cancel, and what is over, that is past both its ``expires`` and its ``ends``. An alert that lies ahead counts, and
    so does one whose status or times cannot be read; without an ``event`` its headline stands for it. Raises
    ValueError with a sentence when the list or an item of it is malformed.
    """
    features = _list(document.get("features"), "'features'")
    alerts = [_object(_object(item, "an alert").get("properties"), "an alert's 'properties'") for item in features]
    cancelled = [
        reference.get("identifier")
        for alert in alerts
        if alert.get("messageType") == "Cancel"
        for reference in _list(alert.get("references", []), "an alert's 'references'")
        if isinstance(reference, Mapping)
    ]
    names = (
        str(alert.get("event") or alert.get("headline") or "unnamed alert").encode(errors="replace").decode()
        for alert in alerts
        if alert.get("status", "Actual") == "Actual"
        and alert.get("messageType") != "Cancel"
        and (alert.get("id") is None or alert["id"] not in cancelled)
        and not _is_over(alert, now)
    )
    return tuple(dict.fromkeys(names))


def _is_over(alert: Mapping[str, object], now: datetime) -> bool:
    ends = [alert[key] for key in ("expires", "ends") if alert.get(key) is not None]
    try:
        return bool(ends) and all(_instant(end, "the end of an alert") <= now for end in ends)
    except ValueError:
        return False


def _temperature(value: object, where: str, unit: object = None) -> int | None:
    """Hundredths of a degree Fahrenheit of a number with ``unit``, or of an object with ``unitCode`` and ``value``."""
    if isinstance(value, Mapping):
        if str(value.get("qualityControl")).rpartition(":")[2] in _REJECTED_QUALITY:
            return None
        unit = value.get("unitCode")
        value = value.get("value")
    number = _number(value)
    if number is None:
        return None
    letter = re.split("[:/]", unit)[-1].removeprefix("deg") if isinstance(unit, str) else ""
    if letter not in {"C", "F", "K"}:
        raise ValueError(f"{where} has the unit {_shown(unit)}, which is neither Celsius nor Fahrenheit")
    return _fahrenheit100(number, letter)


def _fahrenheit100(number: Decimal, unit: str) -> int | None:
    """Exact up to the rounding to 0.01 F; None where no thermometer can have shown it."""
    if unit == "K":
        number -= Decimal("273.15")
    hundredths = number * 100 if unit == "F" else number * 180 + 32_00
    rounded = int(hundredths.quantize(Decimal(1), ROUND_HALF_UP))
    return rounded if abs(rounded) <= ABSURD_F100 else None


def _percent(value: object) -> Decimal | None:
    """A relative humidity from 0 to 100, given bare or as an object; None where missing or senseless."""
    if isinstance(value, Mapping):
        value = value.get("value")
    number = _number(value)
    if number is None or not 0 <= number <= 101:
        return None
    return min(number, Decimal(100))  # the service's own reckoning overshoots saturation by a trace


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return number if number.is_finite() and number.copy_abs() <= 10_000 else None


def _instant(value: object, where: str) -> datetime:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not 1970 <= instant.year <= 2200:
        raise ValueError(f"{where}: {_shown(value)} is no time with an offset")
    return instant.astimezone(UTC)


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {_shown(value)}, not an object")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{where} is {_shown(value)}, not a list")
    return value


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Mapping | list):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
