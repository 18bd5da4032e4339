"""The Weather Service's documents, recorded and damaged, read into facts."""

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.core.weather import (
    DocumentKind,
    alerts_from,
    classify,
    forecast_from_grid,
    forecast_from_hourly,
    heat_index_f100,
)

NWS = Path(__file__).parents[1] / "data" / "nws"
LATER = datetime(2026, 1, 1, tzinfo=UTC)


def recorded(name: str) -> dict[str, Any]:
    return json.loads((NWS / f"{name}.json").read_text())


def hourly(*periods: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"properties": {"generatedAt": "2026-01-05T12:30:00+00:00", "periods": list(periods)} | properties}


def period(hour: int, temperature: Any = 50, unit: Any = "F", **more: Any) -> dict[str, Any]:
    start = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=hour)
    times = {"startTime": start.isoformat(), "endTime": (start + timedelta(hours=1)).isoformat()}
    return times | {"temperature": temperature, "temperatureUnit": unit, "relativeHumidity": {"value": 50}} | more


def grid(**layers: Any) -> dict[str, Any]:
    return {"properties": {"updateTime": "2026-01-05T12:30:00+00:00"} | layers}


def layer(*values: tuple[str, Any], uom: str = "wmoUnit:degC") -> dict[str, Any]:
    return {"uom": uom, "values": [{"validTime": f"2026-01-05T{time}", "value": value} for time, value in values]}


def alert_list(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), "title": "current watches"}


# The Weather Service's heat index chart.
@pytest.mark.parametrize(
    ("temperature", "humidity", "chart"),
    [
        (80, 40, 80), (84, 85, 96), (86, 90, 105), (88, 60, 95), (90, 40, 91), (90, 70, 106),
        (92, 55, 101), (94, 60, 110), (96, 40, 101), (98, 65, 128), (100, 40, 109), (100, 50, 118), (104, 55, 137),
        (110, 40, 136),
    ],
)  # fmt: skip
def test_heat_index_agrees_with_the_published_chart(temperature: int, humidity: int, chart: int) -> None:
    assert abs(heat_index_f100(temperature * 100, humidity) - chart * 100) <= 100


def regression(t: float, r: float) -> float:
    """Rothfusz's polynomial as published, by powers of the humidity."""
    return (
        (-42.379 + 2.04901523 * t - 6.83783e-3 * t**2)
        + (10.14333127 - 0.22475541 * t + 1.22874e-3 * t**2) * r
        + (-5.481717e-2 + 8.5282e-4 * t - 1.99e-6 * t**2) * r**2
    )


@pytest.mark.parametrize(
    ("temperature", "humidity", "adjustment"),
    [
        (95, 9, -1.0),  # (13 - 9) / 4 * sqrt((17 - 0) / 17)
        (112, 9, 0.0),  # (13 - 9) / 4 * sqrt((17 - 17) / 17)
        (95, 13, 0.0),
        (95, 85, 0.0),
        (82, 95, 1.0),  # (95 - 85) / 10 * (87 - 82) / 5
        (80, 100, 2.1),  # (100 - 85) / 10 * (87 - 80) / 5: the chart leaves this out
        (87, 95, 0.0),
        (88, 95, 0.0),
    ],
)
def test_adjustments_of_the_heat_index(temperature: int, humidity: int, adjustment: float) -> None:
    expected = regression(temperature, humidity) + adjustment
    assert heat_index_f100(temperature * 100, humidity) == pytest.approx(expected * 100, abs=1)


def test_heat_index_in_cool_air_is_the_services_own() -> None:
    document = recorded("stations_observations_latest")["properties"]
    served_celsius = document["heatIndex"]["value"]
    assert heat_index_f100(73_04, document["relativeHumidity"]["value"]) == round(served_celsius * 180 + 3200)


@pytest.mark.parametrize("humidity", [-1, 101, float("nan")])
def test_heat_index_refuses_a_senseless_humidity(humidity: float) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        heat_index_f100(90_00, humidity)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gridpoints_forecast_hourly_us", DocumentKind.HOURLY_FORECAST),
        ("gridpoints_forecast_hourly_si", DocumentKind.HOURLY_FORECAST),
        ("detailed_forecast", DocumentKind.RAW_GRID),
        ("stations_observations_latest", DocumentKind.OBSERVATION),
        ("stations_observations_metar", DocumentKind.OBSERVATION),
        ("stations_observations_missing_value", DocumentKind.OBSERVATION),
        ("stations_observations_other_unitcode", DocumentKind.OBSERVATION),
        ("alerts_active_zone", DocumentKind.ALERTS),
    ],
)
def test_recorded_documents_are_told_apart(name: str, kind: DocumentKind) -> None:
    assert classify(recorded(name)) is kind


def test_a_list_without_alerts_is_one_of_alerts() -> None:
    assert classify(alert_list()) is DocumentKind.ALERTS
    assert alerts_from(alert_list(), LATER) == ()


@pytest.mark.parametrize(
    "document",
    [
        recorded("points"),
        {},
        {"properties": 3},
        {"type": "FeatureCollection"},
        {"type": "FeatureCollection", "features": []},
        {"type": "FeatureCollection", "features": [None]},
        {"type": "https://api.weather.gov/problems/NotFound", "title": "Not Found", "status": 404},
    ],
)
def test_other_documents_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        classify(document)


def test_hourly_forecast_in_both_unit_systems() -> None:
    us = forecast_from_hourly(recorded("gridpoints_forecast_hourly_us"), LATER)
    si = forecast_from_hourly(recorded("gridpoints_forecast_hourly_si"), LATER)

    assert us.first_hour == si.first_hour == datetime(2019, 10, 15, 0, tzinfo=UTC)
    assert us.fetched_at == datetime(2019, 10, 15, 0, 12, 54, tzinfo=UTC)
    assert us.temperature_f100 == (78_00, 77_00)
    assert si.temperature_f100 == (77_90, 77_00)
    assert us.heat_index_f100 == (heat_index_f100(78_00, 63), heat_index_f100(77_00, 63))


def test_time_of_fetch_is_the_earlier_one() -> None:
    document = hourly(period(0), updateTime="2026-01-05T11:00:00Z")
    arrival = datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert forecast_from_hourly(document, arrival).fetched_at == arrival
    assert (
        forecast_from_hourly(document, LATER + timedelta(days=9)).fetched_at.isoformat() == "2026-01-05T12:30:00+00:00"
    )
    document["properties"]["generatedAt"] = None
    assert forecast_from_hourly(document, arrival).fetched_at.isoformat() == "2026-01-05T11:00:00+00:00"


def test_gaps_and_disorder_of_the_periods() -> None:
    forecast = forecast_from_hourly(hourly(period(3, 41), period(0, 40), period(1, 39)), LATER)
    assert forecast.first_hour == datetime(2026, 1, 5, tzinfo=UTC)
    assert forecast.temperature_f100 == (40_00, 39_00, None, 41_00)
    assert forecast.heat_index_f100[2] is None


@pytest.mark.parametrize(
    ("temperature", "unit", "expected"),
    [
        (31.994, "F", 31_99),
        (31.996, "F", 32_00),
        (0, "C", 32_00),
        (-0.001, "C", 32_00),
        (-0.01, "C", 31_98),
        (22.77777777777778, "C", 73_00),
        ({"unitCode": "wmoUnit:degC", "value": 10}, None, 50_00),
        ({"unitCode": "unit:degF", "value": 10}, None, 10_00),
        ({"unitCode": "wmoUnit:K", "value": 273.15}, None, 32_00),
        ({"unitCode": "http://codes.wmo.int/common/unit/degC", "value": 0}, None, 32_00),
        ({"unitCode": "wmoUnit:degC", "value": None}, None, None),
        (None, None, None),
        (float("nan"), "F", None),
        (float("-inf"), "F", None),
        (150.01, "F", None),
        (-200, "F", None),
        (10**400, "C", None),
        ("50", "F", None),
        (True, "F", None),
    ],
)
def test_a_periods_temperature(temperature: Any, unit: Any, expected: int | None) -> None:
    forecast = forecast_from_hourly(hourly(period(0, temperature, unit)), LATER)
    assert forecast.temperature_f100 == (expected,)
    assert (forecast.heat_index_f100[0] is None) == (expected is None)


def test_heat_index_of_a_period_without_humidity() -> None:
    dew = {"unitCode": "wmoUnit:degC", "value": 23}
    periods = (
        period(0, 95, relativeHumidity=None),
        period(1, 79, relativeHumidity={"value": None}),
        period(2, 95, relativeHumidity={"value": -5}),
        period(3, 95, relativeHumidity=None, dewpoint=dew),
        period(4, 95, relativeHumidity={"value": 100.4}),
        period(5, 41, relativeHumidity=None),
    )
    index = forecast_from_hourly(hourly(*periods), LATER).heat_index_f100

    assert index[0] is None
    assert index[1] == heat_index_f100(79_00, 100)
    assert index[2] is None
    assert index[3] == pytest.approx(heat_index_f100(95_00, 50), abs=50)  # 35 C with a dew point of 23 C: 49.9 %
    assert index[4] == heat_index_f100(95_00, 100)
    assert index[5] == 41_00


def _twelve_hours() -> dict[str, Any]:
    return period(0) | {"endTime": "2026-01-05T12:00:00+00:00"}


def _half_past() -> dict[str, Any]:
    return period(0) | {"startTime": "2026-01-05T00:30:00+00:00", "endTime": "2026-01-05T01:30:00+00:00"}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "'properties' is missing, not an object"),
        (hourly(), "no periods"),
        ({"properties": {"periods": {}}}, "'periods' is an object, not a list"),
        (hourly(7), "period 1 is 7, not an object"),  # type: ignore[arg-type]
        (hourly(_twelve_hours()), "period 1 does not last one hour"),
        (hourly(period(0), period(0)), "period 2 begins at the same hour"),
        (hourly(period(0), _half_past()), "overlap"),
        (hourly(period(0), period(384)), "spans more than 384 hours"),
        (hourly(period(0, startTime="yesterday")), "period 1, startTime: 'yesterday' is no time with an offset"),
        (hourly(period(0, startTime="2026-01-05T00:00:00")), "no time with an offset"),
        (hourly(period(0, startTime="9999-12-31T23:59:59-12:00")), "no time with an offset"),
        (hourly(period(0, startTime=17)), "no time with an offset"),
        (hourly(period(0, unit="R")), "period 1, temperature has the unit 'R'"),
        (hourly(period(0, unit=None)), "has the unit missing"),
        (hourly(period(0), generatedAt=5), "generatedAt: 5 is no time"),
        ({"properties": {"periods": [period(0)]}}, "nobody knows how old it is"),
    ],
)
def test_malformed_hourly_forecasts_are_refused_with_a_sentence(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal:
        forecast_from_hourly(document, LATER)
    assert "\n" not in str(refusal.value)


def test_recorded_raw_grid() -> None:
    forecast = forecast_from_grid(recorded("detailed_forecast"), LATER)

    assert forecast.fetched_at == datetime(2022, 2, 4, 3, 15, 41, tzinfo=UTC)
    assert forecast.first_hour == datetime(2022, 2, 3, 21, tzinfo=UTC)
    assert len(forecast.temperature_f100) == len(forecast.heat_index_f100) == 182  # 3 Feb 21:00 to 11 Feb 11:00
    assert forecast.temperature_f100[:5] == (73_00, 72_00, 69_00, 68_00, 66_00)
    assert forecast.temperature_f100[4:14] == (66_00,) * 10  # PT10H
    assert forecast.heat_index_f100[:2] == (73_00, 72_00)
    assert forecast.heat_index_f100[3] == heat_index_f100(68_00, 87)  # null there
    assert None not in forecast.temperature_f100 + forecast.heat_index_f100


def test_validity_of_grid_values() -> None:
    values = (("00:30:00+00:00/PT1H30M", 10), ("02:00:00+00:00/P1DT1H", 20), ("04:00:00+00:00/PT0S", 99))
    forecast = forecast_from_grid(grid(temperature=layer(*values)), LATER)
    assert forecast.first_hour == datetime(2026, 1, 5, 1, tzinfo=UTC)
    assert forecast.temperature_f100 == (50_00, *[68_00] * 25)


def test_an_hour_that_no_single_value_covers_is_unknown() -> None:
    values = (("00:00:00Z/PT1H30M", 10), ("01:30:00Z/PT1H30M", 20), ("05:00:00Z/PT1H", None))
    forecast = forecast_from_grid(grid(temperature=layer(*values)), LATER)
    assert forecast.temperature_f100 == (50_00, None, 68_00, None, None, None)


def test_heat_index_of_the_grid_or_reckoned() -> None:
    document = grid(
        temperature=layer(("00:00:00Z/PT4H", 95), uom="wmoUnit:degF"),
        heatIndex=layer(("00:00:00Z/PT1H", 40), ("01:00:00Z/PT3H", None)),
        relativeHumidity=layer(("00:00:00Z/PT2H", 50), uom="wmoUnit:percent"),
        dewpoint=layer(("02:00:00Z/PT1H", 23)),
    )
    index = forecast_from_grid(document, LATER).heat_index_f100
    assert index[:2] == (104_00, heat_index_f100(95_00, 50))
    assert index[2] == pytest.approx(heat_index_f100(95_00, 50), abs=50)
    assert index[3] is None


def test_a_grid_reaching_too_far_is_cut() -> None:
    values = (("00:00:00Z/P9999D", 10), ("00:00:00Z/PT0H", 1))
    assert len(forecast_from_grid(grid(temperature=layer(*values)), LATER).temperature_f100) == 384


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (grid(), "no temperature for any whole hour"),
        (grid(temperature=layer()), "no temperature for any whole hour"),
        (grid(temperature=layer(("00:30:00Z/PT1H", 5))), "no temperature for any whole hour"),
        (grid(temperature=[]), "'temperature' is a list, not an object"),
        (grid(temperature={"uom": "wmoUnit:degC"}), "the values of 'temperature' is missing, not a list"),
        (grid(temperature=layer(("00:00:00Z", 5))), "is no validity such as"),
        (grid(temperature=layer(("00:00:00Z/P", 5))), "is no validity such as"),
        (grid(temperature=layer(("00:00:00/PT1H", 5))), "no time with an offset"),
        (grid(temperature=layer(("00:00:00Z/PT3H", 5), ("02:00:00Z/PT1H", 6))), "value 2 overlaps an earlier one"),
        (grid(temperature=layer(("00:00:00Z/PT3H", 5), uom="wmoUnit:m")), "temperature has the unit 'wmoUnit:m'"),
        (grid(temperature=layer(("00:00:00Z/PT3H", 5)), updateTime=None), "nobody knows how old it is"),
        (grid(temperature=layer(("00:00:00Z/PT3H", 5)), heatIndex=4), "'heatIndex' is 4, not an object"),
    ],
)
def test_malformed_grids_are_refused_with_a_sentence(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        forecast_from_grid(document, LATER)


def test_reading_leaves_the_document_alone() -> None:
    for name, read in (
        ("detailed_forecast", forecast_from_grid),
        ("gridpoints_forecast_hourly_us", forecast_from_hourly),
    ):
        document = recorded(name)
        before = copy.deepcopy(document)
        read(document, LATER)
        assert document == before
