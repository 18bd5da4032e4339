"""Golden frames of each Modbus profile (meter-protocols 1.2, 1.3, 1.8): bytes in, values out; action in, PDU out."""

import struct

import pytest

from edge.settings import packaged_config
from protocols.link import LinkGarbled, LinkRefused, RelayState, SwitchAction
from protocols.profile import load_profiles
from protocols.register_map import RegisterMap

PROFILES = load_profiles(packaged_config() / "meters")
DDS238 = RegisterMap(PROFILES["hiking-dds238-2-znsr"])
SDM230 = RegisterMap(PROFILES["eastron-sdm230-waveshare"])
ON, OFF, UNKNOWN = RelayState.CONNECTED, RelayState.DISCONNECTED, RelayState.UNKNOWN

# 123.45 kWh import, 230.1 V, 5.12 A, 1178 W, 33 var, 0.998, 50.01 Hz
DDS238_BLOCK = [0, 12345, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12345, 2301, 512, 1178, 33, 998, 5001]


def sdm_blocks(energy: float = 1234.5, voltage: float = 230.2) -> list[tuple[int, ...]]:
    first = struct.pack(">7f", voltage, 0, 0, 5.12, 0, 0, 1178.0)
    second = struct.pack(">3f", 50.01, energy, 0)
    return [struct.unpack(">14H", first), struct.unpack(">6H", second)]


class TestDds238:
    def test_reads_the_block_of_the_document(self):
        readout = DDS238.decode([DDS238_BLOCK], [1])
        assert readout.energy_import_wh == 123_450
        assert readout.voltage_mv == 230_100
        assert readout.current_ma == 5_120
        assert readout.power_w == 1_178
        assert readout.frequency_mhz == 50_010
        assert readout.relay is ON

    def test_energy_uses_the_high_word_first(self):
        block = [*DDS238_BLOCK[:10], 1, 0, *DDS238_BLOCK[12:]]
        assert DDS238.decode([block], [1]).energy_import_wh == 655_360

    def test_power_is_signed(self):
        block = [*DDS238_BLOCK[:14], 0xFFFE, *DDS238_BLOCK[15:]]
        assert DDS238.decode([block], [1]).power_w == -2

    @pytest.mark.parametrize(("raw", "state"), [(0, OFF), (1, ON), (2, UNKNOWN), (0xFFFF, UNKNOWN)])
    def test_relay_states(self, raw, state):
        assert DDS238.relay_state([raw]) is state

    @pytest.mark.parametrize(
        ("action", "body"),
        [
            (SwitchAction.DISCONNECT, "10 00 1A 00 01 02 00 00"),
            (SwitchAction.CONNECT, "10 00 1A 00 01 02 00 01"),
        ],
    )
    def test_command_is_the_one_of_the_document(self, action, body):
        write = DDS238.relay_write(action)
        frame = struct.pack(">BHHB", write.fc, write.address, len(write.values), 2 * len(write.values))
        frame += b"".join(value.to_bytes(2, "big") for value in write.values)
        assert frame == bytes.fromhex(body)
        assert DDS238.relay_action(write.fc, write.address, write.values) is action

    @pytest.mark.parametrize("write", [(16, 0x1A, [2]), (6, 0x1A, [0]), (16, 0x00, [0]), (16, 0x1A, [0, 0])])
    def test_no_other_write_is_a_switch_command(self, write):
        assert DDS238.relay_action(*write) is None

    @pytest.mark.parametrize("count", [0, 1, 17, 19])
    def test_an_answer_of_another_length_is_garbled(self, count):
        with pytest.raises(LinkGarbled, match="18"):
            DDS238.decode([[0] * count], [1])

    def test_an_impossible_voltage_is_garbled(self):
        with pytest.raises(LinkGarbled, match="voltage_mv"):
            DDS238.decode([[*DDS238_BLOCK[:12], 0xFFFF, *DDS238_BLOCK[13:]]], [1])

    def test_encoding_gives_the_registers_of_the_document(self):
        values = {
            "energy_total_wh": 123_450,
            "energy_import_wh": 123_450,
            "energy_export_wh": 0,
            "voltage_mv": 230_100,
            "current_ma": 5_120,
            "power_w": 1_178,
            "reactive_power_var": 33,
            "power_factor_permille": 998,
            "frequency_mhz": 50_010,
            "unit_and_baud": 0x0701,
        }
        tables = DDS238.encode("meter", values, ON)
        assert [tables["holding", address] for address in range(18)] == DDS238_BLOCK
        assert tables["holding", 0x15] == 0x0701
        assert tables["holding", 0x1A] == 1

    def test_the_counter_rolls_over_and_power_stops_at_its_limit(self):
        tables = DDS238.encode("meter", {"energy_import_wh": (1 << 32) * 10 + 70, "power_w": 40_000})
        readout = DDS238.decode([[tables["holding", address] for address in range(18)]], None)
        assert readout.energy_import_wh == 70
        assert readout.power_w == 32_767
        assert readout.relay is UNKNOWN


class TestSdm230:
    def test_the_vendors_test_vector_is_230_2_volts(self):
        first = [0x4366, 0x3334, *[0] * 12]
        assert SDM230.decode([first, sdm_blocks()[1]], [0] * 8).voltage_mv == 230_200

    def test_energy_is_rounded_once_from_the_exact_float(self):
        assert SDM230.decode(sdm_blocks(energy=1234.5), [1]).energy_import_wh == 1_234_500
        step = struct.unpack(">f", struct.pack(">f", 100_000.007))[0]  # the step is 7.8 Wh there
        assert SDM230.decode(sdm_blocks(energy=100_000.007), [1]).energy_import_wh == round(step * 1000)

    @pytest.mark.parametrize("energy", [float("nan"), float("inf"), -0.5, 3e9])
    def test_energy_that_cannot_be_is_garbled(self, energy):
        with pytest.raises(LinkGarbled, match="energy_import_wh"):
            SDM230.decode(sdm_blocks(energy=energy), [1])

    def test_serial_number(self):
        tables = SDM230.encode("meter", {"serial": 12_345_678})
        assert SDM230.serial([tables["holding", 0xFC00], tables["holding", 0xFC01]]) == "12345678"

    @pytest.mark.parametrize("channel", [0, 7, 29])
    def test_each_channel_is_one_coil(self, channel):
        write = SDM230.relay_write(SwitchAction.CONNECT, channel)
        assert (write.role, write.fc, write.address, write.values) == ("board", 5, channel, (1,))
        coils = [0] * 32
        coils[channel] = 1
        assert SDM230.relay_state(coils, channel) is ON
        assert SDM230.relay_state(coils, (channel + 1) % 32) is OFF
        assert SDM230.encode("board", {}, ON, channel) == {("coil", channel): 1}

    @pytest.mark.parametrize(("channel", "count"), [(0, 8), (7, 8), (8, 16), (29, 30)])
    def test_a_board_is_asked_for_whole_groups(self, channel, count):
        block = SDM230.relay_block(channel)
        assert block is not None
        assert (block.table, block.address, block.count) == ("coil", 0, count)

    def test_a_channel_that_is_not_there_is_refused(self):
        with pytest.raises(LinkRefused, match="channel 30"):
            SDM230.relay_write(SwitchAction.CONNECT, 30)
        with pytest.raises(ValueError, match="channels 0 to 29"):
            SDM230.relay_block(30)
        with pytest.raises(LinkGarbled, match="channel 8"):
            SDM230.relay_state([0] * 8, 8)
