"""Whatever a weather document holds, reading it gives facts within bounds or one sentence."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.core.weather import ABSURD_F100, forecast_from_hourly, heat_index_f100
from edge.weather_feed import ParsedWeather, WeatherRejected, parse_document

NWS = Path(__file__).parents[1] / "data" / "nws"
DOCUMENTS = [json.loads(path.read_text()) for path in sorted(NWS.glob("*.json"))]
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner))


def parsed_or_reason(payload: bytes) -> ParsedWeather | str:
    try:
        return parse_document(payload, NOW)
    except WeatherRejected as rejected:
        return rejected.reason


def check(outcome: ParsedWeather | str) -> None:
    if isinstance(outcome, str):
        assert outcome
        assert "\n" not in outcome
        return
    assert outcome.fetched_at <= NOW
    assert [outcome.forecast, outcome.observation, outcome.alerts].count(None) == 2
    if outcome.forecast is not None:
        values = outcome.forecast.temperature_f100
        assert len(values) == len(outcome.forecast.heat_index_f100) <= 384
        assert all(value is None or abs(value) <= ABSURD_F100 for value in values)


@st.composite
def damaged_documents(draw: st.DrawFn) -> Any:
    """A recorded document in which one value, anywhere, is replaced or taken out."""
    document = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    place: Any = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return document
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 5)):
            place = place[key]
        elif draw(st.booleans()):
            del place[key]
            return document
        else:
            place[key] = draw(JSON)
            return document


@given(damaged_documents())
def test_a_damaged_document_is_read_or_refused(document: Any) -> None:
    check(parsed_or_reason(json.dumps(document).encode()))


@given(st.sampled_from(DOCUMENTS), st.floats(0, 1, exclude_max=True))
def test_a_cut_document_is_refused(document: Any, share: float) -> None:
    whole = json.dumps(document).encode()
    with pytest.raises(WeatherRejected, match="not whole, valid JSON"):
        parse_document(whole[: int(len(whole) * share)], NOW)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(payload: bytes) -> None:
    check(parsed_or_reason(payload))


@given(st.integers(-ABSURD_F100, ABSURD_F100), st.integers(0, 100))
def test_heat_index_is_finite_and_close_to_cool_air(temperature: int, humidity: int) -> None:
    index = heat_index_f100(temperature, humidity)
    assert isinstance(index, int)
    if 40_00 <= temperature < 75_00:
        assert abs(index - temperature) < 7_00


@given(st.integers(85_00, 115_00), st.integers(40, 84))
def test_more_humidity_never_feels_cooler(temperature: int, humidity: int) -> None:
    assert heat_index_f100(temperature, humidity + 1) >= heat_index_f100(temperature, humidity)


@given(st.dictionaries(st.integers(0, 160), st.none() | st.floats(-60, 120), min_size=1), st.randoms())
def test_every_hour_has_the_value_of_its_own_period(hours: dict[int, float | None], chance: Any) -> None:
    start = NOW.replace(hour=0)
    periods = [
        {
            "startTime": (start + timedelta(hours=hour)).isoformat(),
            "endTime": (start + timedelta(hours=hour + 1)).isoformat(),
            "temperature": value,
            "temperatureUnit": "F",
        }
        for hour, value in hours.items()
    ]
    chance.shuffle(periods)
    forecast = forecast_from_hourly({"properties": {"updateTime": NOW.isoformat(), "periods": periods}}, NOW)

    first = min(hours)
    assert forecast.first_hour == start + timedelta(hours=first)
    assert len(forecast.temperature_f100) == max(hours) - first + 1
    for offset, value in enumerate(forecast.temperature_f100):
        expected = hours.get(first + offset)
        assert (value is None) == (expected is None)
        assert value is None or expected is None or abs(value - expected * 100) <= 0.5001
