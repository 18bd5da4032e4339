"""Registers and values are two sides of one thing, whatever the registers hold."""

from hypothesis import given
from hypothesis import strategies as st

from edge.settings import packaged_config
from protocols.link import LinkGarbled, Readout, RelayState
from protocols.profile import Profile, load_profiles
from protocols.profile_schema import Point
from protocols.register_map import RegisterMap

PROFILES = load_profiles(packaged_config() / "meters")
DDS238 = RegisterMap(PROFILES["hiking-dds238-2-znsr"])
SDM230 = RegisterMap(PROFILES["eastron-sdm230-waveshare"])
WORD = st.integers(0, 0xFFFF)
STATES = st.sampled_from([RelayState.CONNECTED, RelayState.DISCONNECTED])


def values_of(readout: Readout) -> dict[str, int]:
    names = ("energy_import_wh", "power_w", "voltage_mv", "current_ma", "frequency_mhz")
    return {name: getattr(readout, name) for name in names}


def again(registers: RegisterMap, readout: Readout) -> Readout:
    """The readout of the registers that show a readout."""
    tables = registers.encode("meter", values_of(readout))
    blocks = [
        [tables[block.table, block.address + offset] for offset in range(block.count)]
        for block in registers.profile.blocks
    ]
    return registers.decode(blocks, None)


@given(block=st.lists(WORD, min_size=18, max_size=18))
def test_a_readout_survives_its_own_registers(block):
    try:
        readout = DDS238.decode([block], None)
    except LinkGarbled:
        return
    assert again(DDS238, readout) == readout


@given(first=st.lists(WORD, min_size=14, max_size=14), second=st.lists(WORD, min_size=6, max_size=6))
def test_any_floats_are_a_readout_or_garbled(first, second):
    try:
        readout = SDM230.decode([first, second], None)
    except LinkGarbled:
        return
    assert 0 <= readout.energy_import_wh <= 10_000_000_000


@given(
    energy=st.integers(0, 16_000_000),
    power=st.integers(-30_000, 30_000),
    voltage=st.integers(0, 300_000),
    state=STATES,
    channel=st.integers(0, 29),
)
def test_what_a_float32_can_hold_comes_back_exactly(energy, power, voltage, state, channel):
    values = {"energy_import_wh": energy, "power_w": power, "voltage_mv": voltage, "frequency_mhz": 50_000}
    tables = SDM230.encode("meter", values) | SDM230.encode("board", {}, state, channel)
    blocks = [
        [tables[block.table, block.address + offset] for offset in range(block.count)]
        for block in SDM230.profile.blocks
    ]
    coils = [tables.get(("coil", coil), 0) for coil in range(30)]
    readout = SDM230.decode(blocks, coils, channel=channel)
    assert (readout.energy_import_wh, readout.power_w, readout.voltage_mv) == (energy, power, voltage)
    assert readout.relay is state


@given(value=st.integers(0, (1 << 32) - 1), order=st.sampled_from(["big", "little"]))
def test_word_order(value, order):
    profile = PROFILES["hiking-dds238-2-znsr"]
    point: Point = profile.points["energy_import_wh"].model_copy(update={"word_order": order})
    changed: Profile = profile.model_copy(update={"points": {**profile.points, "energy_import_wh": point}})
    registers = RegisterMap(changed)
    tables = registers.encode("meter", {"energy_import_wh": value * 10})
    block = [tables["holding", address] for address in range(18)]
    high, low = (10, 11) if order == "big" else (11, 10)
    assert (block[high] << 16 | block[low]) == value
    assert registers.decode([block], None).energy_import_wh == value * 10
