"""The made documents read back to what went in, and the made weather is a plausible year, always the same."""

from datetime import UTC, datetime, timedelta

import pytest

from edge.core.weather import (
    DocumentKind,
    alerts_from,
    classify,
    forecast_from_grid,
    forecast_from_hourly,
    heat_index_f100,
    observation_from,
)
from meter_sim.weather_documents import (
    PERIODS,
    alerts,
    hourly_forecast,
    humidity_percent,
    observation,
    raw_grid,
    temperature_f,
)

NOW = datetime(2026, 7, 5, 12, tzinfo=UTC)
HOURS = [NOW + timedelta(hours=n) for n in range(PERIODS)]
TEMPERATURES = [temperature_f(7, hour) for hour in HOURS]
HUMIDITIES = [humidity_percent(7, hour) for hour in HOURS]
F100 = tuple(round(value * 100) for value in TEMPERATURES)


def test_hourly_forecast_reads_back() -> None:
    document = hourly_forecast(NOW, NOW, TEMPERATURES, HUMIDITIES)
    forecast = forecast_from_hourly(document, NOW + timedelta(minutes=5))

    assert classify(document) is DocumentKind.HOURLY_FORECAST
    assert (forecast.fetched_at, forecast.first_hour) == (NOW, NOW)
    assert forecast.temperature_f100 == F100
    assert forecast.heat_index_f100 == tuple(map(heat_index_f100, F100, HUMIDITIES))


def test_a_short_list_makes_a_whole_hourly_forecast() -> None:
    forecast = forecast_from_hourly(hourly_forecast(NOW, NOW, [31.99, None, 40]), NOW)
    assert forecast.temperature_f100 == (31_99, None, *[40_00] * (PERIODS - 2))


def test_raw_grid_reads_back() -> None:
    document = raw_grid(NOW, NOW, TEMPERATURES, HUMIDITIES)
    forecast = forecast_from_grid(document, NOW + timedelta(minutes=5))

    assert classify(document) is DocumentKind.RAW_GRID
    assert (forecast.fetched_at, forecast.first_hour) == (NOW, NOW)
    assert forecast.temperature_f100 == F100
    assert forecast.heat_index_f100 == tuple(map(heat_index_f100, F100, HUMIDITIES))


def test_raw_grid_with_a_heat_index_and_long_validities() -> None:
    document = raw_grid(NOW, NOW, [95.0] * 48, heat_index_f=[101.0] * 24 + [100.99] * 24)
    forecast = forecast_from_grid(document, NOW)
    assert forecast.temperature_f100 == (95_00,) * 48
    assert forecast.heat_index_f100 == (101_00,) * 24 + (100_99,) * 24


@pytest.mark.parametrize("temperature", [-12.3, 0.0, 31.99, 32.0, 95.4])
def test_observation_reads_back(temperature: float) -> None:
    document = observation(NOW, temperature, 60)
    read = observation_from(document)
    assert classify(document) is DocumentKind.OBSERVATION
    assert (read.at, read.temperature_f100) == (NOW, round(temperature * 100))
    assert read.heat_index_f100 == heat_index_f100(round(temperature * 100), 60)


def test_alerts_read_back() -> None:
    document = alerts(NOW, ["Heat Advisory", "Flood Watch"])
    assert classify(document) is classify(alerts(NOW, [])) is DocumentKind.ALERTS
    assert alerts_from(document, NOW) == ("Heat Advisory", "Flood Watch")
    assert alerts_from(document, NOW + timedelta(hours=12)) == ()


def test_the_weather_of_a_year() -> None:
    start = datetime(2026, 1, 1, 6, tzinfo=UTC)
    days = [[start + timedelta(days=day, hours=hour) for hour in range(0, 24, 3)] for day in range(365)]
    frost = [day[0].month for day in days if min(temperature_f(1, hour) for hour in day) < 32]
    heat = [
        day[0].month
        for day in days
        if max(heat_index_f100(round(temperature_f(1, hour) * 100), humidity_percent(1, hour)) for hour in day)
        >= 101_00
    ]

    assert 20 <= len(frost) <= 90
    assert set(frost) <= {1, 2, 3, 11, 12}
    assert 3 <= len(heat) <= 40
    assert set(heat) <= {6, 7, 8, 9}


def test_the_weather_of_a_seed_never_changes() -> None:
    instants = [datetime(2026, month, 15, 20, 30, tzinfo=UTC) for month in (1, 4, 7, 10)]
    assert [temperature_f(1, instant) for instant in instants] == [52.2, 62.5, 93.9, 65.3]
    assert [humidity_percent(1, instant) for instant in instants] == [42, 51, 48, 52]
    assert temperature_f(2, instants[0]) != temperature_f(1, instants[0])
