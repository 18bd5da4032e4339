"""Feeder files: what ships is sound, what is wrong is told in one sentence each."""

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from edge.settings import packaged_config
from meter_sim.feeder import FeederError, generated_feeder, load_feeder, moved, parse_feeder
from meter_sim.running import profile_faults
from protocols.profile import load_profiles

CONFIG = packaged_config()
PROFILES = load_profiles(CONFIG / "meters")
DDS, SDM = "hiking-dds238-2-znsr", "eastron-sdm230-waveshare"
LINES = [{"id": "tcp", "transport": "modbus-tcp"}, {"id": "mq", "transport": "mqtt"}]


def a_meter(**changes) -> dict:
    return {"id": "M-1", "profile": DDS, "line": "tcp", "unit": 1, **changes}


def faults_of(*meters: dict, lines: list[dict] | None = None, **more) -> list[str]:
    with pytest.raises(FeederError) as caught:
        parse_feeder({"lines": LINES if lines is None else lines, "meters": list(meters), **more}, "f.toml")
    return list(caught.value.faults)


def test_the_feeder_that_ships_fits_the_profiles_that_ship():
    feeder = load_feeder(CONFIG / "sim" / "default.toml")
    assert [meter.id for meter in feeder.meters] == [f"M-{number}" for number in range(1001, 1009)]
    assert list(profile_faults(feeder, PROFILES)) == []


def test_accounts_that_ship_belong_to_its_meters_and_start_as_they_stand():
    meters = {meter.id: meter for meter in load_feeder(CONFIG / "sim" / "default.toml").meters}
    rows = list(csv.DictReader((CONFIG / "sim" / "accounts.csv").read_text().splitlines()))
    assert [row["meter_id"] for row in rows] == list(meters)
    for row in rows:
        cut = row["disconnected_for_credit"] == "yes"
        assert meters[row["meter_id"]].relay == ("disconnected" if cut else "connected")
        assert (Decimal(row["opening_balance"]) < 0) == cut


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"lod": 3}, "meters.0.lod - is not a known key"),
        ({"line": "zz"}, "meters.0.line - there is no line 'zz'"),
        ({"unit": None}, "meters.0.unit - a meter on a modbus-tcp line needs unit"),
        ({"line": "mq"}, "meters.0.topic - a meter on an mqtt line needs topic"),
        ({"relay_unit": 1}, "meters.0.relay_unit - unit 1 of line 'tcp' is a meter"),
        ({"load": {"household": "castle"}}, "meters.0.load.household.household - Input should be 'apartment', 'house'"),
        ({"load": -1}, "meters.0.load.watts - Input should be greater than or equal to 0"),
        ({"relay": "open"}, "meters.0.relay - Input should be 'connected' or 'disconnected'"),
        ({"fault": "moody"}, "meters.0.fault - Input should be 'dead', 'garbage', 'slow' or 'stuck_relay'"),
    ],
)
def test_a_fault_is_one_sentence_with_file_and_key(change: dict, fault: str):
    (told,) = faults_of(a_meter(**change))
    assert told.startswith(f"f.toml: {fault}")


def test_all_faults_are_told_at_once():
    assert faults_of(a_meter(), a_meter(unit=2), a_meter(id="M-2")) == [
        "f.toml: meters.1 - M-1 has the same id as M-1",
        "f.toml: meters.2 - M-2 has the same unit as M-1",
    ]


def test_a_line_has_only_what_its_transport_knows():
    lines = [{"id": "tcp", "transport": "modbus-tcp", "device": "/dev/x"}, *LINES[1:]]
    assert faults_of(a_meter(), lines=lines) == ["f.toml: lines.0 - a modbus-tcp line has no device"]


def test_broken_toml_names_the_line(tmp_path: Path):
    (tmp_path / "f.toml").write_text("lines = [\n  {id = 3,,\n")
    with pytest.raises(FeederError, match=r"f\.toml: .*line 2"):
        load_feeder(tmp_path / "f.toml")
    with pytest.raises(FeederError, match="cannot be read: No such file"):
        load_feeder(tmp_path / "g.toml")


@pytest.mark.parametrize(
    ("meter", "fault"),
    [
        (a_meter(profile="zz"), "meters.0.profile - there is no profile 'zz'; there are"),
        (a_meter(profile="tasmota-plug"), "meters.0.line - tasmota-plug does not speak modbus-tcp"),
        (a_meter(profile=SDM), f"meters.0.relay_unit - {SDM} needs relay_unit"),
        (a_meter(relay_unit=9), f"meters.0.relay_unit - {DDS} has no relay_unit"),
        (
            a_meter(profile=SDM, relay_unit=9, serial="X1"),
            f"meters.0.serial - {SDM} has a serial number of digits",
        ),
    ],
)
def test_a_meter_that_does_not_fit_its_profile(meter: dict, fault: str):
    (told,) = profile_faults(parse_feeder({"lines": LINES, "meters": [meter]}, "f.toml"), PROFILES)
    assert told.startswith(fault)


@pytest.mark.parametrize("profile", [DDS, SDM, "tasmota-plug"])
def test_a_generated_feeder_is_sound_and_repeatable(profile: str):
    transport = PROFILES[profile].transport
    feeder = generated_feeder(profile, transport, 250)
    assert parse_feeder(feeder.model_dump(exclude_unset=True, exclude_none=True), "again") == feeder
    assert list(profile_faults(feeder, PROFILES)) == []
    assert [line.port for line in feeder.lines] == [None] * (1 if transport == "mqtt" else 3)
    assert (feeder.meters[0].id, feeder.meters[-1].id) == ("SIM-0001", "SIM-0250")
    assert feeder == generated_feeder(profile, transport, 250) != generated_feeder(profile, transport, 250, seed=2)


def test_a_feeder_can_be_moved_elsewhere():
    feeder = moved(load_feeder(CONFIG / "sim" / "default.toml"), host="127.0.0.2", broker=("localhost", 1884), seed=9)
    assert {(line.host, line.port) for line in feeder.lines if line.transport == "mqtt"} == {("localhost", 1884)}
    assert {line.host for line in feeder.lines if line.transport == "modbus-tcp"} == {"127.0.0.2"}
    assert {meter.load.seed for meter in feeder.meters} == {9}
