"""One simulated meter: a supply relay, a load behind it and a register that counts. Pure: time is passed in.

Energy is summed in whole watt-microseconds, so no reading depends on how often the meter was asked. Where the clock is
stepped back, the meter's own time stands still until the clock has caught up: registers never run backwards.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import heappop, heappush

from meter_sim.faults import BACK_AFTER_MS, SPIKE_WH, FaultKind
from meter_sim.household import Load
from protocols.link import RelayState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
WH_IN_WATT_US = 3_600_000_000
CONTACT_DELAY_MS = 50  # latching relays take 20 to 200 ms (meter-protocols, M13)
TRANSITIONS_KEPT = 1000
POWER_FACTOR_PERMILLE = 980


class Cause(StrEnum):
    """Why a relay stands as it does."""

    INITIAL = "initial"  # it stood so when the simulator started
    COMMAND = "command"  # somebody commanded it over the wire
    FOREIGN = "foreign"  # a hand at the meter, or the meter itself


@dataclass(frozen=True, slots=True)
class Transition:
    """One physical change of a relay."""

    at: datetime
    relay: RelayState
    cause: Cause


@dataclass(frozen=True, slots=True)
class MeterValues:
    """What the meter measures at an instant, in engineering units; ``commanded``: where its relay was told to be."""

    energy_import_wh: int
    power_w: int
    voltage_mv: int
    current_ma: int
    frequency_mhz: int
    power_factor_permille: int
    relay: RelayState
    commanded: RelayState
    serial: str


def microseconds(at: datetime) -> int:
    """An aware instant as integer microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def instant(at_us: int) -> datetime:
    """Integer microseconds since 1970 as an aware instant, UTC."""
    return EPOCH + at_us * MICROSECOND


_OF_ITSELF: dict[FaultKind | None, RelayState] = {
    FaultKind.SELF_OPEN: RelayState.DISCONNECTED,
    FaultKind.SELF_CLOSE: RelayState.CONNECTED,
}


class SimulatedMeter:
    """A meter with a remote-disconnect relay. ``relay`` is the contact, ``commanded`` what it was last told."""

    def __init__(
        self,
        meter_id: str,
        *,
        at: datetime,
        load: Load,
        serial: str = "",
        initial_register_wh: int = 0,
        relay: RelayState = RelayState.CONNECTED,
        contact_delay_ms: int = CONTACT_DELAY_MS,
        nominal_voltage_mv: int = 240_000,
        register_modulo_wh: int | None = None,
    ) -> None:
        """``register_modulo_wh``: the register shows 0 again on reaching this many Wh; None: it never does."""
        self.meter_id = meter_id
        self.serial = serial
        self.fault: FaultKind | None = None
        self.fault_changed: Callable[[], None] = lambda: None
        self._frozen_wh = 0
        self._others_serial = ""
        self.relay = relay
        self.commanded = relay
        self.version = 0  # grows whenever somebody does something to the meter; mere time leaves it alone
        self.transitions: deque[Transition] = deque([Transition(at, relay, Cause.INITIAL)], TRANSITIONS_KEPT)
        self._load = load
        self._energy = initial_register_wh * WH_IN_WATT_US
        self._at_us = microseconds(at)
        self._moves: list[tuple[int, int, RelayState, Cause]] = []
        self._order = 0
        self._contact_delay_us = contact_delay_ms * 1000
        self._nominal_voltage_mv = nominal_voltage_mv
        self._modulo_wh = register_modulo_wh

    def advance(self, at: datetime) -> None:
        """Let time pass until ``at``: count energy, and move the contact where a command has fallen due."""
        now_us = microseconds(at)
        while self._moves and self._moves[0][0] <= now_us:
            due_us, _, relay, cause = heappop(self._moves)
            self._count_until(due_us)
            self._move(relay, cause)
        self._count_until(now_us)

    def _count_until(self, to_us: int) -> None:
        if to_us <= self._at_us:
            return
        if self.relay is RelayState.CONNECTED:
            self._energy += self._load.energy(self._at_us, to_us)
        self._at_us = to_us

    def _move(self, relay: RelayState, cause: Cause) -> None:
        if cause is Cause.FOREIGN:
            self.commanded = relay  # the device knows what it did itself
        if relay is not self.relay and not (cause is Cause.COMMAND and self.fault is FaultKind.STUCK_RELAY):
            self.relay = relay
            self.transitions.append(Transition(instant(self._at_us), relay, cause))

    def command(self, relay: RelayState, at: datetime, *, back_after_ms: int | None = None) -> None:
        """Accept a switch command from the wire; the contact follows after the contact delay.

        ``back_after_ms``: the device returns to the other state by itself so many milliseconds later.
        """
        if back_after_ms is None and _OF_ITSELF.get(self.fault) not in (None, relay):
            back_after_ms = BACK_AFTER_MS
        self.advance(at)
        self.version += 1
        self.commanded = relay
        self._moves.clear()
        self._schedule(self._contact_delay_us, relay, Cause.COMMAND)
        if back_after_ms is not None:
            other = RelayState.DISCONNECTED if relay is RelayState.CONNECTED else RelayState.CONNECTED
            self._schedule(self._contact_delay_us + back_after_ms * 1000, other, Cause.FOREIGN)

    def _schedule(self, delay_us: int, relay: RelayState, cause: Cause) -> None:
        self._order += 1
        heappush(self._moves, (self._at_us + delay_us, self._order, relay, cause))

    def set_relay(self, relay: RelayState, at: datetime, cause: Cause = Cause.FOREIGN) -> None:
        """Move the contact at this instant, as a hand at the meter would; commands under way are forgotten."""
        self.advance(at)
        self.version += 1
        self.commanded = relay
        self._moves.clear()
        self._move(relay, cause)

    def set_load(self, load: Load, at: datetime) -> None:
        """Another load from this instant on."""
        self.advance(at)
        self.version += 1
        self._load = load

    def set_register(self, energy_wh: int, at: datetime) -> None:
        """Preset the register from this instant on: 0 is what clearing the counters does."""
        self.advance(at)
        self.version += 1
        self._energy = energy_wh * WH_IN_WATT_US

    def begin_fault(self, kind: FaultKind, at: datetime, others_serial: str = "") -> None:
        """Misbehave from this instant on, instead of in any other way. ``others_serial``: for ``wrong_serial``."""
        self.advance(at)
        self.version += 1
        self.fault, self._frozen_wh, self._others_serial = kind, self.energy_import_wh, others_serial
        if (relay := _OF_ITSELF.get(kind)) is not None:
            self.set_relay(relay, at)
        self.fault_changed()

    def end_fault(self) -> None:
        """Behave again; a relay that moved stays where it is."""
        self.fault = None
        self.version += 1
        self.fault_changed()

    def touch(self) -> None:
        """Somebody changed something about the device that its values do not show: answers must be made anew."""
        self.version += 1

    def _shown_wh(self) -> int:
        """What the register shows at present, as a fault of it may have it."""
        match self.fault:
            case FaultKind.FROZEN_REGISTER:
                return self._frozen_wh
            case FaultKind.ZERO_REGISTER:
                return 0
            case FaultKind.SPIKE:
                return self.energy_import_wh + SPIKE_WH
        return self.energy_import_wh

    @property
    def energy_import_wh(self) -> int:
        """What was counted by the time up to which the meter was advanced, in whole Wh."""
        counted = self._energy // WH_IN_WATT_US
        return counted if self._modulo_wh is None else counted % self._modulo_wh

    def power_w(self) -> int:
        """Power through the contact at the time up to which the meter was advanced, W."""
        return self._load.watts(self._at_us) if self.relay is RelayState.CONNECTED else 0

    def values(self, at: datetime) -> MeterValues:
        """Advance to ``at`` and measure; what the meter tells, its faults included."""
        self.advance(at)
        power = self.power_w()
        voltage = self._nominal_voltage_mv - power * 200 // 1000  # 0.2 V a kW along the service drop
        return MeterValues(
            energy_import_wh=self._shown_wh(),
            power_w=power,
            voltage_mv=voltage,
            current_ma=power * 1_000_000_000 // (voltage * POWER_FACTOR_PERMILLE),
            frequency_mhz=60_000,
            power_factor_permille=POWER_FACTOR_PERMILLE if power else 1000,
            relay=self.relay,
            commanded=self.commanded,
            serial=self._others_serial if self.fault is FaultKind.WRONG_SERIAL else self.serial,
        )

    def steady_until(self) -> datetime:
        """The first instant, after the one advanced to, at which ``values`` may differ. Commands come sooner."""
        changes = [self._load.next_change_us(self._at_us)]
        if self._moves:
            changes.append(self._moves[0][0])
        if power := self.power_w():
            missing = WH_IN_WATT_US - self._energy % WH_IN_WATT_US
            changes.append(self._at_us - (-missing // power))
        return instant(min(min(changes), self._at_us + 86_400_000_000))
