"""Meter profiles from TOML files: read, checked against what could do harm, and handed out by id.

The rules beyond the schema are those of ``meter-protocols`` section 7: types fit their blocks, the relay's address is
the only one that is ever written and lies in no other value, and a switch that rests on one source is not operated
unless the site says so.
"""

import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from protocols.link import Readout
from protocols.profile_schema import (
    SERIAL_POINT,
    WORDS,
    Block,
    Confirm,
    Device,
    EnergyCounter,
    Point,
    Profile,
    Relay,
    Role,
    Table,
    covers,
)
from protocols.toml_values import lists_as_tuples

__all__ = [
    "Block",
    "Confirm",
    "Device",
    "EnergyCounter",
    "Point",
    "Profile",
    "ProfileError",
    "Relay",
    "Role",
    "Table",
    "load_profile",
    "load_profiles",
]

_READOUT_POINTS = frozenset(Readout.__dataclass_fields__) - {"relay", SERIAL_POINT}


class ProfileError(Exception):
    """A profile cannot be used: one sentence that names the file and the key."""


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
        profile = Profile.model_validate(lists_as_tuples(content))
    except ValidationError as problem:
        raise ProfileError(f"{path.name}: {_sentence(problem.errors()[0])}") from None
    for fault in _mqtt_faults(profile) if profile.transport == "mqtt" else _modbus_faults(profile):
        raise ProfileError(f"{path.name}: {fault}")
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
    return f"{key} - {error['msg']}"


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
    yield from _overlaps(profile)
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


def _overlaps(profile: Profile) -> Iterator[str]:
    by_place = sorted(profile.points.items(), key=lambda item: (item[1].table, item[1].address))
    for (name, point), (other, following) in pairwise(by_place):
        if point.table == following.table and following.address < point.address + WORDS[point.type]:
            yield f"points.{other}.address - lies over {name}"


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
