"""The shape of a meter profile: what a model's registers or topics mean, and how its switch is told.

The daemon and the simulated meters use the same profiles. Both iterate over ``Profile.devices``: a plain meter is one
device on one unit, a composite one a meter and a relay board on two units of the same line. The schema follows
``meter-protocols`` section 7. What else must hold is checked where profiles are loaded, in ``protocols.profile``.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Table = Literal["holding", "input", "coil", "discrete"]
Role = Literal["meter", "board"]
Transport = Literal["modbus", "mqtt", "composite"]
WordType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]
Address = Annotated[int, Field(ge=0, le=0xFFFF)]
PointName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

READ_FUNCTION: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
WORDS: dict[WordType, int] = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4}
_WRITE_TABLE: dict[int, Table] = {5: "coil", 6: "holding", 16: "holding"}
SERIAL_POINT = "serial"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Provenance(_Part):
    """Where the profile's facts come from. ``conflict`` and ``one_source``: the relay is not trusted unasked."""

    confidence: Literal["vendor", "two_sources", "one_source", "conflict"]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    notes: str = ""


class Serial(_Part):
    """How the unit's serial port is set when it leaves the factory."""

    baud: Annotated[int, Field(ge=300, le=921_600)]
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    default_unit: Annotated[int, Field(ge=1, le=247)] = 1


class Timing(_Part):
    """How patient to be with the device, and how much it gives at once."""

    timeout_ms: Annotated[int, Field(ge=50, le=60_000)] = 1000
    min_gap_ms: Annotated[int, Field(ge=0, le=5_000)] = 0
    quiet_after_timeout_ms: Annotated[int, Field(ge=0, le=60_000)] = 0
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    even_alignment: bool = False


class Block(_Part):
    """A stretch of one table that is read in one request."""

    table: Table
    address: Address
    count: Annotated[int, Field(ge=1, le=2000)]


class Counter(_Part):
    """How the energy register counts: raw width in bits, and Wh per count."""

    width_bits: Literal[16, 32, 64]
    resolution_wh: Annotated[int, Field(ge=1)]


class Point(_Part):
    """One value in registers. ``scale``: units of the point's name per count; min and max in the same units."""

    table: Literal["holding", "input"]
    address: Address
    type: WordType
    word_order: Literal["big", "little"] = "big"
    scale: Annotated[int, Field(ge=1)] = 1
    min: int | None = None
    max: int | None = None
    counter: Counter | None = None


class ProbeRange(_Part):
    """Limits outside of which the register map is not believed: no disconnect then."""

    point: PointName
    min: int
    max: int


class RelayRead(_Part):
    """Where the switch tells its state; any other raw value is an unknown state."""

    table: Table
    address: Address
    values: dict[Literal["connected", "disconnected"], int]


class RelayCommand(_Part):
    """The one write that is allowed. For function 5 a value of 1 is the wire's FF00."""

    fc: Literal[5, 6, 16]
    address: Address
    disconnect: Annotated[tuple[int, ...], Field(min_length=1, max_length=8)]
    connect: Annotated[tuple[int, ...], Field(min_length=1, max_length=8)]

    @property
    def table(self) -> Table:
        """The table that the function writes."""
        return _WRITE_TABLE[self.fc]


class Confirm(_Part):
    """When a command counts as carried out: relay read back, and power below a limit after a disconnect."""

    read_after_ms: Annotated[int, Field(ge=0)] = 300
    poll_ms: Annotated[int, Field(ge=10)] = 500
    deadline_ms: Annotated[int, Field(ge=100)] = 5000
    require_power_below_w: Annotated[int, Field(ge=1)] | None = None


class Behaviour(_Part):
    """What the switch does by itself."""

    power_up: Literal["last", "open", "closed", "unknown"] = "unknown"
    auto_reclose: bool = False
    min_switch_interval_s: Annotated[int, Field(ge=0)] = 0


class Relay(_Part):
    """The supply switch. ``channels``: how many like it stand on one board, one address after the other."""

    device: Role = "meter"
    channels: Annotated[int, Field(ge=1, le=32)] = 1
    read: RelayRead | None = None
    command: RelayCommand | None = None
    confirm: Confirm = Confirm()
    behaviour: Behaviour = Behaviour()


class MqttTopics(_Part):
    """The device's topics; ``{device}`` stands for its own part."""

    presence: str
    telemetry: str
    query: str
    reply: str
    command: str
    relay_state: str


class MqttPayloads(_Part):
    """What is said on the topics. Switch payloads are absolute, never a toggle."""

    online: str
    offline: str
    query: str
    relay_query: str
    disconnect: str
    connect: str


class MqttPoint(_Part):
    """A value in the device's JSON; ``scale``: units of the point's name per unit of the device."""

    path: Annotated[tuple[str, ...], Field(min_length=1)]
    scale: Annotated[int, Field(ge=1)] = 1


class Mqtt(_Part):
    """How an MQTT device is asked and told. ``reply_root``: the key around a reply's telemetry."""

    reply_root: str
    topics: MqttTopics
    payloads: MqttPayloads
    points: dict[PointName, MqttPoint]


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """The import register shows 0 again on reaching ``modulo_wh``; it moves in steps of ``resolution_wh``."""

    modulo_wh: int
    resolution_wh: int


@dataclass(frozen=True, slots=True)
class Device:
    """One Modbus unit of a profile: what a poll reads there, what is read rarely, and the values that lie there.

    ``relay``: the block with the switch's state, None where the switch is on the other device.
    """

    role: Role
    blocks: tuple[Block, ...]
    relay: Block | None
    identity: Block | None
    points: dict[str, Point]


class Profile(_Part):
    """A meter model."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    version: Annotated[int, Field(ge=1)]
    vendor: str
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    transport: Transport
    provenance: Provenance
    serial: Serial | None = None
    timing: Timing = Timing()
    blocks: tuple[Block, ...] = ()
    probe: tuple[ProbeRange, ...] = ()
    points: dict[PointName, Point] = {}
    relay: Relay | None = None
    mqtt: Mqtt | None = None

    @property
    def can_switch(self) -> bool:
        """Whether the daemon may operate the switch through this profile."""
        return self.relay is not None and (self.transport == "mqtt" or self.relay.command is not None)

    @property
    def confirm(self) -> Confirm:
        """When a command counts as carried out."""
        return self.relay.confirm if self.relay is not None else Confirm()

    @property
    def energy_counter(self) -> EnergyCounter | None:
        """How the import register rolls over; None where it does not (a float) or nobody knows."""
        point = self.points.get("energy_import_wh")
        if point is None or point.counter is None:
            return None
        return EnergyCounter((1 << point.counter.width_bits) * point.scale, point.counter.resolution_wh)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The Modbus units of the profile, the meter first; none for MQTT."""
        if self.transport == "mqtt":
            return ()
        serial = self.points.get(SERIAL_POINT)
        identity = Block(table=serial.table, address=serial.address, count=WORDS[serial.type]) if serial else None
        relay = _relay_block(self.relay)
        on_meter = self.relay is not None and self.relay.device == "meter"
        meter = Device("meter", self.blocks, relay if on_meter else None, identity, self.points)
        return (meter,) if on_meter or relay is None else (meter, Device("board", (), relay, None, {}))


def _relay_block(relay: Relay | None) -> Block | None:
    if relay is None or relay.read is None:
        return None
    return Block(table=relay.read.table, address=relay.read.address, count=relay.channels)


def covers(block: Block, point: Point) -> bool:
    """Whether the whole point lies in the block."""
    end = point.address + WORDS[point.type]
    return block.table == point.table and block.address <= point.address and end <= block.address + block.count
