"""Meter profiles: what a model's registers or topics mean, and how its switch is told. TOML files, checked when loaded.

The daemon and the simulated meters use the same profiles. Both iterate over ``Profile.devices``: a plain meter is one
device on one unit, a composite one a meter and a relay board on two units of the same line. The schema and the rules
follow ``meter-protocols`` section 7.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protocols.link import Readout

Table = Literal["holding", "input", "coil", "discrete"]
Role = Literal["meter", "board"]
Transport = Literal["modbus", "mqtt", "composite"]
WordType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64"]
Address = Annotated[int, Field(ge=0, le=0xFFFF)]
PointName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

READ_FUNCTION: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
WORDS: dict[WordType, int] = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4}
_WRITE_TABLE: dict[int, Table] = {5: "coil", 6: "holding", 16: "holding"}
_READOUT_POINTS = frozenset(Readout.__dataclass_fields__) - {"relay", "serial"}
SERIAL_POINT = "serial"


class ProfileError(Exception):
    """A profile cannot be used: one sentence that names the file and the key."""


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

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for fault in _mqtt_faults(self) if self.transport == "mqtt" else _modbus_faults(self):
            raise ValueError(fault)
        return self

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

    @cached_property
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


def _mqtt_faults(profile: Profile) -> Iterator[str]:
    if profile.mqtt is None:
        yield "mqtt - is missing"
        return
    if profile.blocks or profile.points or profile.probe:
        yield "points - an mqtt profile has its points under mqtt.points"
    yield from _point_name_faults(profile.mqtt.points, "mqtt.points")
    for name, topic in profile.mqtt.topics:
        if "{device}" not in topic or "+" in topic or "#" in topic:
            yield f"mqtt.topics.{name} - must contain {{device}} and no wildcard"
    payloads = profile.mqtt.payloads
    if payloads.connect == payloads.disconnect or "TOGGLE" in (payloads.connect.upper(), payloads.disconnect.upper()):
        yield "mqtt.payloads - connect and disconnect must be absolute and differ"


def _point_name_faults(points: dict[str, Any], key: str) -> Iterator[str]:
    if "energy_import_wh" not in points:
        yield f"{key}.energy_import_wh - is missing"


def _modbus_faults(profile: Profile) -> Iterator[str]:
    if profile.mqtt is not None:
        yield f"mqtt - does not belong in a {profile.transport} profile"
    if profile.serial is None:
        yield "serial - is missing"
    if (profile.transport == "composite") != (profile.relay is not None and profile.relay.device == "board"):
        yield 'transport - must be composite exactly when relay.device is "board"'
    yield from _point_name_faults(profile.points, "points")
    yield from _block_faults(profile)
    for name, point in profile.points.items():
        yield from _point_faults(profile, name, point)
    for index, probe in enumerate(profile.probe):
        if probe.point not in profile.points or probe.point not in _READOUT_POINTS:
            yield f"probe.{index}.point - {probe.point} is not a point that polls read"
    if profile.relay is not None:
        yield from _relay_faults(profile, profile.relay)


def _block_faults(profile: Profile) -> Iterator[str]:
    timing = profile.timing
    for index, block in enumerate(profile.blocks):
        if block.table not in ("holding", "input"):
            yield f"blocks.{index}.table - measurements lie in holding or input registers"
        if block.count > timing.max_registers:
            yield f"blocks.{index}.count - {block.count} is more than timing.max_registers {timing.max_registers}"
        if block.address + block.count > 0x10000:
            yield f"blocks.{index}.count - runs past address 0xFFFF"
        if timing.even_alignment and (block.address % 2 or block.count % 2):
            yield f"blocks.{index}.address - address and count must be even (timing.even_alignment)"
    for device in profile.devices:
        sizes = [(block.table, block.count) for block in (*device.blocks, device.relay, device.identity) if block]
        if len(set(sizes)) != len(sizes):
            # A late RTU reply must not pass for the answer to the next question (meter-protocols M2).
            yield "blocks - two reads of the same table and count could be taken for each other on RTU"


def _point_faults(profile: Profile, name: str, point: Point) -> Iterator[str]:
    key, end = f"points.{name}", point.address + WORDS[point.type]
    if end > 0x10000:
        yield f"{key}.address - runs past address 0xFFFF"
    if profile.timing.even_alignment and (point.address % 2 or WORDS[point.type] % 2):
        yield f"{key}.address - address and width must be even (timing.even_alignment)"
    if point.type.startswith("f") and point.counter is not None:
        yield f"{key}.counter - a float does not roll over"
    if point.counter is not None and (name != "energy_import_wh" or point.counter.width_bits != WORDS[point.type] * 16):
        yield f"{key}.counter - must be on energy_import_wh and as wide as its type"
    if name == SERIAL_POINT and point.type not in ("u16", "u32", "u64"):
        yield f"{key}.type - a serial number is unsigned"
    if name in _READOUT_POINTS and not any(covers(block, point) for block in profile.blocks):
        yield f"{key}.address - no block reads it"


def covers(block: Block, point: Point) -> bool:
    """Whether the whole point lies in the block."""
    end = point.address + WORDS[point.type]
    return block.table == point.table and block.address <= point.address and end <= block.address + block.count


def _relay_faults(profile: Profile, relay: Relay) -> Iterator[str]:
    read, command = relay.read, relay.command
    if read is None:
        yield "relay.read - is missing"
        return
    if len(set(read.values.values())) != 2:
        yield "relay.read.values - must give connected and disconnected different values"
    if relay.channels > 1 and read.table not in ("coil", "discrete"):
        yield "relay.channels - only coils come in channels"
    if read.address + relay.channels > 0x10000:
        yield "relay.read.address - runs past address 0xFFFF"
    if command is None:
        return
    last = command.address + max(len(command.connect), relay.channels)
    if last > 0x10000:
        yield "relay.command.address - runs past address 0xFFFF"
    if command.connect == command.disconnect or len(command.connect) != len(command.disconnect):
        yield "relay.command.connect - must differ from disconnect and be as long"
    if command.fc != 16 and len(command.connect) != 1:
        yield f"relay.command.fc - function {command.fc} writes one value"
    most = 1 if command.fc == 5 else 0xFFFF
    if not all(0 <= value <= most for value in (*command.connect, *command.disconnect)):
        yield f"relay.command.connect - values of function {command.fc} are 0 to {most}"
    for name, point in profile.points.items() if relay.device == "meter" and command.table == "holding" else ():
        if point.table == "holding" and point.address < last and command.address < point.address + WORDS[point.type]:
            yield f"relay.command.address - 0x{command.address:04X} lies in {name}, which must never be written"


def load_profile(path: Path, *, allow_unverified_relay: bool = False) -> Profile:
    """Read and check one profile. Raises ProfileError.

    A profile whose provenance is one source or a conflict loses its relay command unless the caller allows it: it can
    be read, and ``can_switch`` is False (``meter-protocols`` section 7, loader rules).
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ProfileError(f"{path}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path.name}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as problem:
        raise ProfileError(f"{path.name}: {problem}") from None
    try:
        profile = Profile.model_validate(_lists_as_tuples(content))
    except ValidationError as problem:
        raise ProfileError(f"{path.name}: {_sentence(problem.errors()[0])}") from None
    unverified = profile.provenance.confidence in ("one_source", "conflict")
    if unverified and not allow_unverified_relay and profile.relay is not None:
        return profile.model_copy(update={"relay": _reading_only(profile)})
    return profile


def _reading_only(profile: Profile) -> Relay | None:
    """The profile's relay without its command; an MQTT relay is its topics, so that none is left."""
    if profile.transport == "mqtt" or profile.relay is None:
        return None
    return profile.relay.model_copy(update={"command": None})


def load_profiles(*directories: Path, allow_unverified_relay: bool = False) -> dict[str, Profile]:
    """Every ``*.toml`` of the directories by id; earlier directories win; a missing directory is empty.

    Raises ProfileError, also when a profile's id is not its file's name.
    """
    profiles: dict[str, Profile] = {}
    for directory in directories:
        for path in sorted(directory.glob("*.toml")):
            profile = load_profile(path, allow_unverified_relay=allow_unverified_relay)
            if profile.id != path.stem:
                raise ProfileError(f"{path.name}: id - {profile.id!r} is not the name of the file")
            profiles.setdefault(profile.id, profile)
    return profiles


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key} - is not a known key"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key} - {message}" if key else message


def _lists_as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_as_tuples(inner) for key, inner in value.items()}
    return tuple(_lists_as_tuples(inner) for inner in value) if isinstance(value, list) else value
