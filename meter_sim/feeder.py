"""The feeder file of ``meter-sim run``: which meters there are, on which lines, with what behind them.

TOML in, frozen records out. Every fault is one sentence that names the file and the key; all are told at once.
"""

import random
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from meter_sim.faults import FaultKind
from meter_sim.household import ConstantLoad, HouseholdLoad, Load
from protocols.toml_values import lists_as_tuples

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Topic = Annotated[str, Field(pattern=r"^[^/+#\s]{1,64}$")]
Unit = Annotated[int, Field(ge=1, le=247)]
UNITS_A_PORT = 100


class FeederError(Exception):
    """The feeder cannot be used. ``faults``: one sentence each, naming file and key."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Line(_Part):
    """A TCP port (0 or absent: a free one), a serial line on a pseudo-terminal, or a broker."""

    id: Identifier
    transport: Literal["modbus-tcp", "modbus-rtu", "mqtt"]
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    device: str | None = None
    baud: Annotated[int, Field(ge=300, le=1_000_000)] | None = None
    tele_period_seconds: Annotated[int, Field(ge=0, le=3600)] = 300

    @model_validator(mode="after")
    def _fits_its_transport(self) -> Self:
        given = self.model_fields_set - {"id", "transport"}
        allowed = {
            "modbus-tcp": {"host", "port"},
            "modbus-rtu": {"device", "baud"},
            "mqtt": {"host", "port", "tele_period_seconds"},
        }[self.transport]
        if foreign := sorted(given - allowed):
            raise ValueError(f"a {self.transport} line has no {' or '.join(foreign)}")
        return self


class HouseholdPart(_Part):
    """A household instead of constant watts."""

    household: Literal["apartment", "house", "all_electric"]
    seed: int = 1


LoadPart = Annotated[
    Annotated[int, Field(ge=0, le=25_000), Tag("watts")] | Annotated[HouseholdPart, Tag("household")],
    Discriminator(lambda value: "household" if isinstance(value, dict | HouseholdPart) else "watts"),
]


class Meter(_Part):
    """One meter: its profile, where it is reached, and what it starts with."""

    id: Identifier
    profile: str
    line: str
    unit: Unit | None = None
    relay_unit: Unit | None = None
    relay_channel: Annotated[int, Field(ge=0, le=31)] | None = None
    topic: Topic | None = None
    serial: str = ""
    initial_register_wh: Annotated[int, Field(ge=0)] = 0
    load: LoadPart = HouseholdPart(household="house")
    relay: Literal["connected", "disconnected"] = "connected"
    fault: Literal["dead", "garbage", "slow", "stuck_relay"] | None = None

    def new_load(self) -> Load:
        """The load behind the meter; a household's chance belongs to this meter alone."""
        if isinstance(self.load, int):
            return ConstantLoad(self.load)
        return HouseholdLoad(self.load.household, f"{self.load.seed}/{self.id}")

    def new_fault(self) -> FaultKind | None:
        """What is wrong with the meter from the start."""
        return FaultKind(self.fault) if self.fault else None


class Feeder(_Part):
    """The content of a feeder file."""

    lines: tuple[Line, ...]
    meters: tuple[Meter, ...]


def load_feeder(file: Path) -> Feeder:
    """Read a feeder file. Raises FeederError with every fault found in it."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise FeederError([f"{file}: cannot be read: {problem.strerror}"]) from None
    except UnicodeDecodeError:
        raise FeederError([f"{file}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as problem:
        raise FeederError([f"{file}: {problem}"]) from None
    return parse_feeder(tables, str(file))


def parse_feeder(tables: dict[str, Any], name: str) -> Feeder:
    """Check the tables of a feeder file. Raises FeederError with every fault."""
    try:
        feeder = Feeder.model_validate(lists_as_tuples(tables))
    except ValidationError as problem:
        raise FeederError(f"{name}: {_sentence(error)}" for error in problem.errors()) from None
    faults = [f"{name}: {fault}" for fault in _cross_check(feeder)]
    if faults:
        raise FeederError(faults)
    return feeder


def generated_feeder(
    profile: str, transport: Literal["modbus", "composite", "mqtt"], count: int, *, seed: int = 1
) -> Feeder:
    """``count`` meters SIM-0001, SIM-0002, … of one profile: 100 a free TCP port, or on the default broker.

    A composite meter has a relay board of its own, 100 unit addresses above it.
    """
    if transport == "mqtt":
        lines: tuple[Line, ...] = (Line(id="broker", transport="mqtt"),)
    else:
        ports = -(-count // UNITS_A_PORT)
        lines = tuple(Line(id=f"port-{port + 1}", transport="modbus-tcp") for port in range(ports))
    kinds: tuple[Literal["house", "apartment"], ...] = ("house", "apartment")
    meters = []
    for place in range(count):
        unit = place % UNITS_A_PORT + 1
        common = {
            "id": f"SIM-{place + 1:04}",
            "profile": profile,
            "line": lines[0 if transport == "mqtt" else place // UNITS_A_PORT].id,
            "serial": f"{20_000_001 + place}",
            "initial_register_wh": random.Random(f"{seed}/register/{place}").randrange(1_000_000, 40_000_000),
            "load": HouseholdPart(household=kinds[place % 2], seed=seed),
        }
        address: dict[str, Any] = {"topic": f"sim-{place + 1:04}"} if transport == "mqtt" else {"unit": unit}
        if transport == "composite":
            address |= {"relay_unit": UNITS_A_PORT + unit, "relay_channel": 0}
        meters.append(Meter.model_validate(common | address))
    return Feeder(lines=lines, meters=tuple(meters))


def moved(
    feeder: Feeder, *, host: str | None = None, broker: tuple[str, int] | None = None, seed: int | None = None
) -> Feeder:
    """The feeder with its TCP lines on another host, its MQTT lines on another broker, its households otherwise."""
    lines = []
    for line in feeder.lines:
        if line.transport == "modbus-tcp" and host is not None:
            line = line.model_copy(update={"host": host})
        if line.transport == "mqtt" and broker is not None:
            line = line.model_copy(update={"host": broker[0], "port": broker[1]})
        lines.append(line)
    meters = []
    for meter in feeder.meters:
        if seed is not None and isinstance(meter.load, HouseholdPart):
            meter = meter.model_copy(update={"load": meter.load.model_copy(update={"seed": seed})})
        meters.append(meter)
    return feeder.model_copy(update={"lines": tuple(lines), "meters": tuple(meters)})


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "file"
    if error["type"] == "extra_forbidden":
        return f"{key} - is not a known key"
    return f"{key} - {error['msg'].removeprefix('Value error, ')}"


def _cross_check(feeder: Feeder) -> Iterable[str]:
    lines = {line.id: line for line in feeder.lines}
    if len(lines) != len(feeder.lines):
        yield "lines - two lines have the same id"
    taken: dict[tuple[object, ...], str] = {}
    for index, meter in enumerate(feeder.meters):
        line = lines.get(meter.line)
        if line is None:
            yield f"meters.{index}.line - there is no line {meter.line!r}"
            continue
        if line.transport == "mqtt" and meter.topic is None:
            yield f"meters.{index}.topic - a meter on an mqtt line needs topic"
        if line.transport != "mqtt" and meter.unit is None:
            yield f"meters.{index}.unit - a meter on a {line.transport} line needs unit"
        for address in _addresses(meter, line):
            if address in taken:
                yield f"meters.{index} - {meter.id} has the same {address[0]} as {taken[address]}"
            taken[address] = meter.id
    yield from _shared_units(feeder)


def _addresses(meter: Meter, line: Line) -> Iterable[tuple[object, ...]]:
    yield ("id", meter.id)
    if line.transport == "mqtt":
        yield ("topic", line.host, line.port, meter.topic)
    else:
        yield ("unit", meter.line, meter.unit)
        if meter.relay_unit is not None:
            yield ("relay channel", meter.line, meter.relay_unit, meter.relay_channel or 0)


def _shared_units(feeder: Feeder) -> Iterable[str]:
    meters = {(meter.line, meter.unit) for meter in feeder.meters if meter.unit is not None}
    for index, meter in enumerate(feeder.meters):
        if meter.relay_unit is not None and (meter.line, meter.relay_unit) in meters:
            yield f"meters.{index}.relay_unit - unit {meter.relay_unit} of line {meter.line!r} is a meter"
