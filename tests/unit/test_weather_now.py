"""Observations and alerts of the Weather Service, recorded and damaged, read into facts."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.core.weather import alerts_from, heat_index_f100, observation_from

NWS = Path(__file__).parents[1] / "data" / "nws"
LATER = datetime(2026, 1, 1, tzinfo=UTC)


def recorded(name: str) -> dict[str, Any]:
    return json.loads((NWS / f"{name}.json").read_text())


def station(**properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"timestamp": "2026-07-05T12:00:00+00:00"} | properties}


def alert(event: str = "Heat Advisory", **properties: Any) -> dict[str, Any]:
    return {
        "properties": {"@type": "wx:Alert", "event": event, "status": "Actual", "messageType": "Alert"} | properties
    }


def alert_list(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), "title": "current watches"}


@pytest.mark.parametrize(
    ("name", "temperature", "index"),
    [
        ("stations_observations_latest", 73_04, 73_61),
        ("stations_observations_other_unitcode", 50_00, 50_00),
        ("stations_observations_missing_value", None, None),
        ("stations_observations_metar", 78_08, pytest.approx(heat_index_f100(78_08, 84.5), abs=10)),
    ],
)
def test_recorded_observations(name: str, temperature: int | None, index: Any) -> None:
    observation = observation_from(recorded(name))
    assert (observation.temperature_f100, observation.heat_index_f100) == (temperature, index)
    assert observation.at.minute == 53


@pytest.mark.parametrize(
    ("message", "temperature"),
    [
        ("KTUL 051153Z 18005KT 10SM CLR 12/05 A3005", 53_60),
        ("KTUL 051153Z 18005KT 1/2SM FG M05/M06 A3005 RMK AO2", 23_00),
        ("KTUL 051153Z 18005KT 10SM CLR M05/M06 A3005 RMK AO2 T10561061", 21_92),
        ("KTUL 051153Z 18005KT 10SM CLR 00/ A3005 RMK AO2 T0006", 33_08),
        ("KTUL 051153Z 18005KT 10SM CLR A3005", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_a_metar_stands_in_for_missing_values(message: object, temperature: int | None) -> None:
    observation = observation_from(station(temperature={"value": None, "unitCode": "x"}, rawMessage=message))
    assert observation.temperature_f100 == temperature


def test_a_value_that_quality_control_rejected_is_unknown() -> None:
    bad = {"unitCode": "wmoUnit:degC", "value": 10, "qualityControl": "qc:X"}
    assert observation_from(station(temperature=bad)).temperature_f100 is None


def test_heat_index_of_an_observation() -> None:
    hot, humid = {"unitCode": "degF", "value": 97}, {"value": 50, "unitCode": "wmoUnit:percent"}
    served = {"unitCode": "wmoUnit:degC", "value": 40}
    assert observation_from(station(temperature=hot)).heat_index_f100 is None
    assert observation_from(station(temperature=hot, relativeHumidity=humid)).heat_index_f100 == heat_index_f100(
        97_00, 50
    )
    assert observation_from(station(temperature=hot, heatIndex=served)).heat_index_f100 == 104_00


def test_the_latest_of_several_observations_counts() -> None:
    features = [
        station(timestamp=f"2026-07-05T{hour}:00:00Z", temperature={"unitCode": "degF", "value": hour})
        for hour in (11, 13, 12)
    ]
    observation = observation_from({"type": "FeatureCollection", "features": features})
    assert (observation.at.hour, observation.temperature_f100) == (13, 13_00)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"type": "FeatureCollection", "features": []}, "holds no observation"),
        ({"type": "FeatureCollection", "features": {}}, "not a list"),
        ({"type": "FeatureCollection", "features": [5]}, "an observation is 5, not an object"),
        ({"properties": None}, "'properties' is missing"),
        ({"properties": {}}, "no time with an offset"),
        (station(timestamp="noon"), "timestamp: 'noon' is no time"),
        (station(temperature={"value": 5, "unitCode": None}), "temperature has the unit missing"),
    ],
)
def test_malformed_observations_are_refused_with_a_sentence(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        observation_from(document)


def test_recorded_alert_lasts_until_its_end() -> None:
    document = recorded("alerts_active_zone")  # expires on the 21st at 05:30, ends on the 22nd at 10:00 (-08:00)
    assert alerts_from(document, datetime(2019, 12, 22, 17, 59, tzinfo=UTC)) == ("Flood Watch",)
    assert alerts_from(document, datetime(2019, 12, 22, 18, 0, tzinfo=UTC)) == ()


@pytest.mark.parametrize(
    ("features", "names"),
    [
        ([alert(), alert("Excessive Heat Warning"), alert()], ("Heat Advisory", "Excessive Heat Warning")),
        ([alert(status="Test"), alert("Flood Watch")], ("Flood Watch",)),
        ([alert(messageType="Cancel")], ()),
        ([alert(id="a"), alert(id="b", messageType="Cancel", references=[{"identifier": "a"}])], ()),
        ([alert(id="a", references=[{"identifier": "b"}]), alert(id="b")], ("Heat Advisory",)),
        ([alert(expires="2025-12-31T23:59:59Z", ends=None)], ()),
        ([alert(expires="soon")], ("Heat Advisory",)),
        ([alert(onset="2026-01-02T12:00:00Z")], ("Heat Advisory",)),
        ([alert(event=None, headline="Heat Advisory issued at noon")], ("Heat Advisory issued at noon",)),
        ([alert(event=None)], ("unnamed alert",)),
        ([alert(event="Heat \ud800")], ("Heat ?",)),
    ],
)
def test_which_alerts_are_active(features: list[Any], names: tuple[str, ...]) -> None:
    assert alerts_from(alert_list(*features), LATER) == names


@pytest.mark.parametrize("feature", [None, {}, {"properties": []}, alert(messageType="Cancel", references=5)])
def test_malformed_alerts_are_refused(feature: object) -> None:
    with pytest.raises(ValueError, match="alert"):
        alerts_from(alert_list(alert(), feature), LATER)
