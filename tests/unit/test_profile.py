"""Profiles that ship, and every way in which one can be wrong."""

from pathlib import Path

import pytest

from edge.settings import packaged_config
from protocols.profile import EnergyCounter, ProfileError, load_profile, load_profiles

FOLDER = packaged_config() / "meters"
DDS238 = (FOLDER / "hiking-dds238-2-znsr.toml").read_text()
SDM230 = (FOLDER / "eastron-sdm230-waveshare.toml").read_text()
TASMOTA = (FOLDER / "tasmota-plug.toml").read_text()


def load(tmp_path: Path, text: str, **kwargs: bool):
    path = tmp_path / "some.toml"
    path.write_text(text)
    return load_profile(path, **kwargs)


class TestThoseThatShip:
    def test_all_three_load_and_may_switch(self):
        profiles = load_profiles(FOLDER)
        transports = {name: (profile.transport, profile.can_switch) for name, profile in profiles.items()}
        assert transports["hiking-dds238-2-znsr"] == ("modbus", True)
        assert transports["eastron-sdm230-waveshare"] == ("composite", True)
        assert transports["tasmota-plug"] == ("mqtt", True)

    def test_every_profile_names_its_sources(self):
        for profile in load_profiles(FOLDER).values():
            assert len(profile.provenance.sources) >= 2

    def test_uniform_view(self):
        profiles = load_profiles(FOLDER)
        (meter,) = profiles["hiking-dds238-2-znsr"].devices
        assert (meter.role, meter.relay.address, meter.identity) == ("meter", 0x1A, None)
        meter, board = profiles["eastron-sdm230-waveshare"].devices
        assert (meter.role, meter.relay, meter.identity.address) == ("meter", None, 0xFC00)
        assert (board.role, board.relay.table, board.points) == ("board", "coil", {})
        assert profiles["tasmota-plug"].devices == ()

    def test_only_an_integer_counter_rolls_over(self):
        profiles = load_profiles(FOLDER)
        assert profiles["hiking-dds238-2-znsr"].energy_counter == EnergyCounter((1 << 32) * 10, 10)
        assert profiles["eastron-sdm230-waveshare"].energy_counter is None
        assert profiles["tasmota-plug"].energy_counter is None


# (what is changed in the profile, into what, what the sentence must name)
FAULTS_DDS238 = [
    ("timeout_ms", "time_out_ms", "timing.time_out_ms - is not a known key"),
    ('type = "i16"', 'type = "i15"', "points.power_w.type"),
    ("count = 18", "count = 19", "blocks.0.count"),
    ("count = 18", "count = 17", "points.frequency_mhz.address - no block"),
    ("count = 18", "count = 1", "taken for each other"),
    ("address = 0x000D", "address = 0x000C", "points.current_ma.address - lies over voltage_mv"),
    ("address = 0x0015", "address = 0xFFFF, word_order = 'small'", "points.unit_and_baud.word_order"),
    ("fc = 16, address = 0x001A", "fc = 16, address = 0x0000", "lies in energy_total_wh"),
    ("fc = 16, address = 0x001A", "fc = 16, address = 0x0015", "lies in unit_and_baud"),
    ("fc = 16, address = 0x001A", "fc = 17, address = 0x001A", "relay.command.fc"),
    ("connect = [1] }", "connect = [0] }", "relay.command.connect"),
    ("disconnect = [0], connect = [1]", "disconnect = [0, 0], connect = [1]", "relay.command.connect"),
    ("disconnected = 0, connected = 1", "disconnected = 1, connected = 1", "relay.read.values"),
    ("disconnected = 0, connected = 1", "disconnected = 1", "relay.read.values"),
    ("width_bits = 32", "width_bits = 16", "points.energy_import_wh.counter"),
    ('transport = "modbus"', 'transport = "composite"', "transport"),
    ('device = "meter"', 'device = "board"', "transport"),
    ('point = "frequency_mhz"', 'point = "unit_and_baud"', "probe.1.point"),
    ("baud = 9600", 'baud = "fast"', "serial.baud"),
    ("energy_import_wh", "energy_wh", "points.energy_import_wh - is missing"),
    ("schema = 1", "schema = 2", "schema"),
    ('id = "hiking', 'id = "Hiking', "id"),
    ("[serial]", "[serial", "line"),
]
FAULTS_SDM230 = [
    ("address = 0x0046\ncount = 6", "address = 0x0045\ncount = 7", "even_alignment"),
    ("address = 0x000C, type", "address = 0x000B, type", "points.power_w.address"),
    ("address = 0x0046\ncount = 6", "address = 0x003E\ncount = 14", "taken for each other"),
    ("address = 0xFC00", "address = 0xFFFF", "points.serial.address"),
    ("max = 10_000_000_000", "counter = { width_bits = 32, resolution_wh = 1 }", "does not roll over"),
    ("disconnect = [0], connect = [1]", "disconnect = [0], connect = [2]", "relay.command.connect"),
    ('read = { table = "coil"', 'read = { table = "holding"', "relay.channels"),
]
FAULTS_TASMOTA = [
    ('"cmnd/{device}/POWER"', '"cmnd/plug/POWER"', "mqtt.topics.command"),
    ('"cmnd/{device}/POWER"', '"cmnd/{device}/#"', "mqtt.topics.command"),
    ('connect = "ON"', 'connect = "TOGGLE"', "mqtt.payloads"),
    ("energy_import_wh", "energy_kwh", "mqtt.points.energy_import_wh - is missing"),
    ('transport = "mqtt"', 'transport = "modbus"', "mqtt"),
]


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "old", "new", "named"),
        [(DDS238, *fault) for fault in FAULTS_DDS238]
        + [(SDM230, *fault) for fault in FAULTS_SDM230]
        + [(TASMOTA, *fault) for fault in FAULTS_TASMOTA],
    )
    def test_each_is_one_sentence_with_file_and_key(self, tmp_path, text, old, new, named):
        assert old in text
        with pytest.raises(ProfileError) as refused:
            load(tmp_path, text.replace(old, new))
        assert str(refused.value).startswith("some.toml: ")
        assert named in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_a_missing_file_and_one_that_is_no_text(self, tmp_path):
        with pytest.raises(ProfileError, match="cannot be read"):
            load_profile(tmp_path / "none.toml")
        (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(ProfileError, match=r"bytes\.toml: is not UTF-8"):
            load_profile(tmp_path / "bytes.toml")


class TestUnverifiedRelay:
    @pytest.mark.parametrize("confidence", ["one_source", "conflict"])
    def test_it_is_read_but_not_switched_unless_allowed(self, tmp_path, confidence):
        text = DDS238.replace('confidence = "two_sources"', f'confidence = "{confidence}"')
        profile = load(tmp_path, text)
        assert not profile.can_switch
        assert profile.devices[0].relay is not None
        assert load(tmp_path, text, allow_unverified_relay=True).can_switch

    def test_an_mqtt_device_too(self, tmp_path):
        text = TASMOTA.replace('confidence = "vendor"', 'confidence = "one_source"')
        assert not load(tmp_path, text).can_switch
        assert load(tmp_path, text, allow_unverified_relay=True).can_switch


class TestFolders:
    def test_the_earlier_folder_wins_and_a_missing_one_is_empty(self, tmp_path):
        own = DDS238.replace("version = 1", "version = 7")
        (tmp_path / "hiking-dds238-2-znsr.toml").write_text(own)
        profiles = load_profiles(tmp_path, FOLDER, tmp_path / "nowhere")
        assert profiles["hiking-dds238-2-znsr"].version == 7
        assert "tasmota-plug" in profiles

    def test_the_file_bears_the_name_of_the_profile(self, tmp_path):
        (tmp_path / "other.toml").write_text(DDS238)
        with pytest.raises(ProfileError, match=r"other\.toml: id"):
            load_profiles(tmp_path)
