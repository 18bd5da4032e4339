"""One simulated meter: its register, its relay, and what it measures."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meter_sim.faults import FaultKind
from meter_sim.household import HOUSEHOLDS, ConstantLoad, HouseholdLoad
from meter_sim.meter import CONTACT_DELAY_MS, Cause, SimulatedMeter, microseconds
from protocols.link import RelayState

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
ON, OFF = RelayState.CONNECTED, RelayState.DISCONNECTED


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_meter(watts: int = 1000, **options) -> SimulatedMeter:
    return SimulatedMeter("M-1", at=START, load=ConstantLoad(watts), **options)


def changes(meter: SimulatedMeter) -> list[tuple[datetime, RelayState, str]]:
    return [(change.at, change.relay, change.cause.value) for change in meter.transitions]


def test_a_constant_load_counts_exactly():
    meter = a_meter(1234, initial_register_wh=5000)
    assert meter.values(after(3600)).energy_import_wh == 5000 + 1234
    assert meter.values(after(3600 * 1000)).energy_import_wh == 5000 + 1_234_000


@given(cuts=st.lists(st.integers(1, 90_000_000), max_size=30), kind=st.sampled_from(HOUSEHOLDS))
@settings(deadline=None, max_examples=40)
def test_how_often_it_is_asked_changes_nothing(cuts: list[int], kind: str):
    asked, left_alone = (SimulatedMeter("M-1", at=START, load=HouseholdLoad(kind, "7")) for _ in range(2))
    at = START
    for milliseconds in cuts:
        at += timedelta(milliseconds=milliseconds)
        asked.advance(at)
    assert asked.values(at) == left_alone.values(at)


def test_a_household_is_the_same_for_the_same_seed_and_other_for_another():
    registers = [
        SimulatedMeter("M-1", at=START, load=HouseholdLoad("house", seed)).values(after(86400 * 30)).energy_import_wh
        for seed in ("1", "1", "2")
    ]
    assert registers[0] == registers[1] != registers[2]
    assert 600_000 < registers[0] < 2_500_000  # Wh in a July: a house, not a factory


def test_a_command_moves_the_contact_after_its_delay_and_stops_the_register():
    meter = a_meter()
    meter.command(OFF, after(3600))
    assert (meter.commanded, meter.relay) == (OFF, ON)
    values = meter.values(after(7200))
    moved_at = after(3600) + timedelta(milliseconds=CONTACT_DELAY_MS)
    assert (values.relay, values.power_w, values.current_ma, values.energy_import_wh) == (OFF, 0, 0, 1000)
    assert changes(meter) == [(START, ON, "initial"), (moved_at, OFF, "command")]


def test_the_same_command_again_is_no_transition():
    meter = a_meter()
    for seconds in (10, 20, 30):
        meter.command(OFF, after(seconds))
    meter.advance(after(40))
    assert len(meter.transitions) == 2


def test_a_later_command_replaces_one_under_way():
    meter = a_meter()
    meter.command(OFF, after(10))
    meter.command(ON, after(10.01))
    meter.advance(after(20))
    assert (meter.relay, len(meter.transitions)) == (ON, 1)


def test_a_flash_comes_back_by_itself():
    meter = a_meter()
    meter.command(OFF, after(10), back_after_ms=2000)
    meter.advance(after(20))
    assert [(relay, cause) for _, relay, cause in changes(meter)[1:]] == [(OFF, "command"), (ON, "foreign")]
    assert meter.transitions[-1].at - meter.transitions[-2].at == timedelta(seconds=2)


def test_a_hand_at_the_meter_moves_it_at_once():
    meter = a_meter()
    meter.set_relay(OFF, after(10))
    assert meter.transitions[-1] == type(meter.transitions[-1])(after(10), OFF, Cause.FOREIGN)
    assert meter.commanded is OFF


def test_a_stuck_relay_accepts_the_command_and_stays():
    meter = a_meter()
    meter.fault = FaultKind.STUCK_RELAY
    meter.command(OFF, after(10))
    values = meter.values(after(20))
    assert (values.commanded, values.relay, values.power_w) == (OFF, ON, 1000)


def test_a_register_rolls_over_and_can_be_cleared():
    meter = a_meter(initial_register_wh=9_999_500, register_modulo_wh=10_000_000)
    assert meter.values(after(3600)).energy_import_wh == 500
    meter.set_register(0, after(3600))
    assert meter.values(after(7200)).energy_import_wh == 1000


def test_a_clock_stepped_back_never_turns_the_register_back():
    meter = a_meter()
    before = meter.values(after(7200)).energy_import_wh
    assert meter.values(after(3600)).energy_import_wh == before
    assert meter.values(after(10800)).energy_import_wh == before + 1000


def test_another_load_counts_from_then_on():
    meter = a_meter(1000)
    meter.set_load(ConstantLoad(3000), after(3600))
    assert meter.values(after(7200)).energy_import_wh == 4000


@given(at=st.integers(0, 10**9), watts=st.integers(0, 25_000))
@settings(deadline=None, max_examples=60)
def test_steady_until_is_the_first_change(at: int, watts: int):
    meter = a_meter(watts)
    now = START + timedelta(microseconds=at)
    values, until = meter.values(now), meter.steady_until()
    assert until > now
    assert meter.values(until - timedelta(microseconds=1)) == values
    if watts and microseconds(until) - microseconds(now) < 86_400_000_000:
        assert meter.values(until) != values


@pytest.mark.parametrize(
    ("kind", "register", "serial"),
    [
        (FaultKind.FROZEN_REGISTER, 1_000, "1"),
        (FaultKind.ZERO_REGISTER, 0, "1"),
        (FaultKind.SPIKE, 5_000_002_000, "1"),
        (FaultKind.WRONG_SERIAL, 2_000, "2"),
    ],
)
def test_a_meter_tells_wrong_things_while_a_fault_lasts_and_counts_on(kind: FaultKind, register: int, serial: str):
    meter = SimulatedMeter("M-1", at=START, load=ConstantLoad(1_000), serial="1", initial_register_wh=1_000)
    meter.begin_fault(kind, START, "2")
    told = meter.values(after(3600))
    assert (told.energy_import_wh, told.serial) == (register, serial)
    meter.end_fault()
    told = meter.values(after(3600))
    assert (told.energy_import_wh, told.serial) == (2_000, "1")


@pytest.mark.parametrize(
    ("kind", "own"), [(FaultKind.SELF_OPEN, RelayState.DISCONNECTED), (FaultKind.SELF_CLOSE, RelayState.CONNECTED)]
)
def test_a_relay_with_a_will_of_its_own_moves_back_after_every_command(kind: FaultKind, own: RelayState):
    other = RelayState.CONNECTED if own is RelayState.DISCONNECTED else RelayState.DISCONNECTED
    meter = SimulatedMeter("M-1", at=START, load=ConstantLoad(1_000), relay=other)
    meter.begin_fault(kind, START)
    assert meter.values(after(1)).relay is own
    meter.command(other, after(2))
    assert meter.values(after(3)).relay is other
    assert meter.values(after(5)).relay is own
    assert [change.cause for change in meter.transitions] == [
        Cause.INITIAL,
        Cause.FOREIGN,
        Cause.COMMAND,
        Cause.FOREIGN,
    ]
