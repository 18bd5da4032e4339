"""Which simulated Modbus devices a meter is made of: its profile, and habits of the real ones that no profile tells.

Sources: meter-protocols 1.2 (DDS238), 1.3 (SDM230), 1.8 (Waveshare).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from meter_sim.feeder import Meter
from meter_sim.meter import MeterValues, SimulatedMeter
from meter_sim.modbus_devices import (
    ILLEGAL_VALUE,
    WRITE_REGISTERS,
    Manner,
    ModbusError,
    RegisterDevice,
    RelayBoard,
    Words,
    Write,
)
from meter_sim.modbus_server import Device
from protocols.link import RelayState
from protocols.profile import Profile
from protocols.register_map import RegisterMap

DDS238 = "hiking-dds238-2-znsr"
SDM230 = "eastron-sdm230-waveshare"
_DDS238_UNIT_AND_BAUD = 0x0015
_BAUD_CODES = (1, 2, 3, 4)  # 9600, 4800, 2400, 1200
_BOARD_SIZES = (8, 16, 32)

# DDS238: one read of 0x0000 to 0x0011 covers the table, so its reserved registers answer. SDM230: what lies between two
# documented values of a block answers 0; at most 40 values a request, and only whole values.
_MANNERS = {
    DDS238: Manner(reserved={"holding": range(0x0012)}),
    SDM230: Manner(reserved={"input": range(0x0050)}, registers_max=80, even=True),
}


def units_of(
    here: Iterable[Meter], meters: Mapping[str, SimulatedMeter], profiles: Mapping[str, Profile], at: datetime
) -> dict[int, Device]:
    """What answers at the unit addresses of one line. A DDS238 whose address is rewritten moves in this table."""
    units: dict[int, Device] = {}
    boards: dict[int, dict[int, SimulatedMeter]] = {}
    for placed in here:
        assert placed.unit is not None
        meter, profile = meters[placed.id], profiles[placed.profile]
        if profile.id == DDS238:
            units[placed.unit] = _Dds238(meter, profile, placed.unit, units).device
        else:
            units[placed.unit] = RegisterDevice(
                meter, _Encoder(profile), _MANNERS.get(profile.id, Manner()), _relay_writes(meter, profile)
            )
        if placed.relay_unit is not None:
            boards.setdefault(placed.relay_unit, {})[placed.relay_channel or 0] = meter
    for unit, channels in boards.items():
        size = next(size for size in _BOARD_SIZES if size > max(channels))
        units[unit] = RelayBoard(channels, at, size=size)
    return units


def _relay_writes(meter: SimulatedMeter, profile: Profile) -> dict[tuple[int, int], Write]:
    """The switch command of a meter whose relay is its own: exactly the two writes of the profile, no other value."""
    if profile.relay is None or profile.relay.command is None or profile.relay.device != "meter":
        return {}
    command = profile.relay.command

    def switch(written: tuple[int, ...], at: datetime) -> None:
        if written == command.connect:
            meter.command(RelayState.CONNECTED, at)
        elif written == command.disconnect:
            meter.command(RelayState.DISCONNECTED, at)
        else:
            raise ModbusError(ILLEGAL_VALUE)

    return {(command.fc, command.address): switch}


class _Dds238:
    """A DDS238-2 ZN/SR: beside its relay, 0 to register 0 clears the counters, and register 0x15 moves it away."""

    def __init__(self, meter: SimulatedMeter, profile: Profile, unit: int, units: dict[int, Device]) -> None:
        self._meter = meter
        self._units = units
        self._unit = unit
        self._encoder = _Encoder(profile, {"unit_and_baud": unit << 8 | _BAUD_CODES[0]})
        self.device = RegisterDevice(
            meter,
            self._encoder,
            _MANNERS[DDS238],
            _relay_writes(meter, profile)
            | {(WRITE_REGISTERS, 0x0000): self._clear, (WRITE_REGISTERS, _DDS238_UNIT_AND_BAUD): self._readdress},
        )

    def _clear(self, written: tuple[int, ...], at: datetime) -> None:
        if len(written) > 2 or any(written):
            raise ModbusError(ILLEGAL_VALUE)
        self._meter.set_register(0, at)

    def _readdress(self, written: tuple[int, ...], at: datetime) -> None:  # noqa: ARG002 - every write has a time
        unit, baud = divmod(written[0], 0x100)
        taken = unit != self._unit and unit in self._units  # two on one address: the bench refuses what a bus garbles
        if len(written) != 1 or not 1 <= unit <= 247 or baud not in _BAUD_CODES or taken:
            raise ModbusError(ILLEGAL_VALUE)
        self._units[unit] = self._units.pop(self._unit)
        self._unit = unit
        self._encoder.fixed["unit_and_baud"] = written[0]
        self._meter.touch()


class _Encoder:
    """What the meter unit of a profile shows; ``fixed``: points that do not come from the meter's values."""

    def __init__(self, profile: Profile, fixed: dict[str, int] | None = None) -> None:
        self._map = RegisterMap(profile)
        self.fixed = fixed or {}

    def __call__(self, values: MeterValues) -> Words:
        return self._map.encode("meter", points_of(values) | self.fixed, values.relay)


def points_of(values: MeterValues) -> dict[str, int]:
    """What a meter measures, under the names that profiles give to points. It exports nothing."""
    points = {
        "energy_import_wh": values.energy_import_wh,
        "energy_export_wh": 0,
        "energy_total_wh": values.energy_import_wh,
        "power_w": values.power_w,
        "voltage_mv": values.voltage_mv,
        "current_ma": values.current_ma,
        "frequency_mhz": values.frequency_mhz,
        "power_factor_permille": values.power_factor_permille,
        "reactive_power_var": values.power_w * 203 // 1000,  # the tangent that belongs to a power factor of 0.98
    }
    if values.serial.isascii() and values.serial.isdigit():
        points["serial"] = int(values.serial)
    return points
