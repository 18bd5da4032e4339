"""Registers to engineering units and back, by a profile. Pure: no I/O.

Energy never passes through inexact arithmetic: integer registers are scaled as integers, and a float32 of kWh is
rounded once, from its exact value, to whole Wh (half away from zero).
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from protocols.link import LinkGarbled, LinkRefused, Readout, RelayState, SwitchAction
from protocols.profile_schema import SERIAL_POINT, WORDS, Block, Point, Profile, Role, Table, WordType, covers

Words = Sequence[int]
"""Registers as 0..65535, or coils as 0/1 (or bools), in the order of their addresses."""

_CODE: dict[WordType, str] = {
    "u16": "H",
    "i16": "h",
    "u32": "I",
    "i32": "i",
    "u64": "Q",
    "i64": "q",
    "f32": "f",
    "f64": "d",
}
_NOT_NEGATIVE = ("energy_import_wh", "voltage_mv", "frequency_mhz")


@dataclass(frozen=True, slots=True)
class RelayWrite:
    """A switch command as it goes on the wire: function code, 0-based address, values (function 5: 0 or 1)."""

    role: Role
    fc: int
    address: int
    values: tuple[int, ...]


class RegisterMap:
    """One profile's registers, prepared once for many readouts."""

    def __init__(self, profile: Profile) -> None:
        """``profile``: a Modbus or composite one."""
        self.profile = profile
        self._devices = {device.role: device for device in profile.devices}
        measured = {
            name: point
            for name, point in profile.points.items()
            if name in Readout.__dataclass_fields__ and name != SERIAL_POINT
        }
        self._readers = tuple(
            _block_reader(block, {name: point for name, point in measured.items() if covers(block, point)})
            for block in profile.blocks
        )
        serial = profile.points.get(SERIAL_POINT)
        self._serial = None
        if serial is not None:
            block = Block(table=serial.table, address=serial.address, count=WORDS[serial.type])
            self._serial = _block_reader(block, {SERIAL_POINT: serial})
        relay = profile.relay.read if profile.relay else None
        self._relay_states = {raw: RelayState(state) for state, raw in relay.values.items()} if relay else {}

    def decode(
        self, measurements: Sequence[Words], relay: Words | None, *, channel: int = 0, serial: str | None = None
    ) -> Readout:
        """The readout that answers to ``profile.blocks`` (in that order) and to the relay block give together.

        Raises LinkGarbled where an answer has another length, or a value cannot be right.
        """
        values: dict[str, int] = {}
        for words, read in zip(measurements, self._readers, strict=True):
            read(words, values)
        state = RelayState.UNKNOWN if relay is None else self.relay_state(relay, channel)
        return Readout(relay=state, serial=serial, **values)

    def relay_state(self, relay: Words, channel: int = 0) -> RelayState:
        """The switch's state from the relay block; a raw value that the profile does not name is unknown.

        Raises LinkGarbled where the answer is too short. (Coils come in whole bytes: more may follow.)
        """
        if len(relay) <= channel:
            raise LinkGarbled(f"the answer has {len(relay)} relay values and none for channel {channel}")
        return self._relay_states.get(relay[channel], RelayState.UNKNOWN)

    def relay_block(self, channel: int = 0) -> Block | None:
        """What to read for the switch's state: of a board, the groups of eight up to the channel's, so that boards of
        8, 16, 30 or 32 relays all answer. None: the profile has no switch. Raises ValueError for a channel it lacks.
        """
        relay = self.profile.relay
        if relay is None or relay.read is None:
            return None
        if not 0 <= channel < relay.channels:
            raise ValueError(f"profile {self.profile.id} has relay channels 0 to {relay.channels - 1}, not {channel}")
        count = min(relay.channels, (channel // 8 + 1) * 8)
        return Block(table=relay.read.table, address=relay.read.address, count=count)

    def serial(self, identity: Words) -> str:
        """The serial number from the identity block. Raises LinkGarbled."""
        values: dict[str, int] = {}
        if self._serial is None:
            raise LinkGarbled(f"profile {self.profile.id} has no serial number")
        self._serial(identity, values)
        return str(values[SERIAL_POINT])

    def relay_write(self, action: SwitchAction, channel: int = 0) -> RelayWrite:
        """The one write that carries ``action`` out. Raises LinkRefused where the profile has none."""
        relay = self.profile.relay
        if relay is None or relay.command is None:
            raise LinkRefused(f"profile {self.profile.id} gives no command for the relay")
        if not 0 <= channel < relay.channels:
            raise LinkRefused(f"profile {self.profile.id} has no relay channel {channel}")
        values = relay.command.disconnect if action is SwitchAction.DISCONNECT else relay.command.connect
        return RelayWrite(relay.device, relay.command.fc, relay.command.address + channel, values)

    def relay_action(self, fc: int, address: int, values: Sequence[int], channel: int = 0) -> SwitchAction | None:
        """What a write to the relay's device means (function 5: values 0 or 1); None: it is no switch command."""
        relay = self.profile.relay
        if relay is None or relay.command is None:
            return None
        for action in SwitchAction:
            write = self.relay_write(action, channel)
            if (write.fc, write.address, write.values) == (fc, address, tuple(values)):
                return action
        return None

    def encode(
        self, role: Role, values: Mapping[str, int], relay: RelayState | None = None, channel: int = 0
    ) -> dict[tuple[Table, int], int]:
        """What one device's tables show for ``values`` (by point name, in its units; ``serial`` as a number).

        Every address that a poll reads is there, 0 where no value lies; coils are 0 or 1. Counters roll over, other
        values stop at the limit of their type, as devices do. A relay state that the profile cannot tell is left out.
        """
        device = self._devices[role]
        tables: dict[tuple[Table, int], int] = {}
        for block in device.blocks:
            tables.update({(block.table, block.address + offset): 0 for offset in range(block.count)})
        for name, point in device.points.items():
            if name in values:
                for offset, word in enumerate(_words(name, point, values[name])):
                    tables[point.table, point.address + offset] = word
        raw = {state: raw for raw, state in self._relay_states.items()}
        if device.relay is not None and relay in raw:
            tables[device.relay.table, device.relay.address + channel] = raw[relay]
        return tables


def _block_reader(block: Block, points: Mapping[str, Point]) -> Callable[[Words, dict[str, int]], None]:
    """A function that adds the values of a block's words to a dict, in their units. It raises LinkGarbled.

    One unpacking reads the whole block: a sweep of ten thousand meters passes here.
    """
    count, order = block.count, list(range(block.count))
    layout, at = ">", 0
    plan: list[tuple[str, int, bool, int | None, int | None]] = []
    for name, point in sorted(points.items(), key=lambda item: item[1].address):
        offset, width = point.address - block.address, WORDS[point.type]
        if point.word_order == "little":
            order[offset : offset + width] = reversed(order[offset : offset + width])
        layout += f"{2 * (offset - at)}x{_CODE[point.type]}"
        at = offset + width
        least = point.min if point.min is not None else (0 if name in _NOT_NEGATIVE else None)
        plan.append((name, point.scale, point.type.startswith("f"), least, point.max))
    pack = struct.Struct(f">{count}H").pack
    unpack = struct.Struct(layout).unpack_from
    in_order = order == list(range(count))

    def read(words: Words, values: dict[str, int]) -> None:
        if len(words) != count:
            raise LinkGarbled(f"the answer has {len(words)} registers where {count} were asked")
        raws = unpack(pack(*words) if in_order else pack(*(words[index] for index in order)))
        for (name, scale, is_float, least, most), raw in zip(plan, raws, strict=True):
            value = _scaled(name, raw, scale) if is_float else raw * scale
            if (least is not None and value < least) or (most is not None and value > most):
                raise LinkGarbled(f"{name} cannot be {value}")
            values[name] = value

    return read


def _scaled(name: str, raw: float, scale: int) -> int:
    """A float times an integer, rounded from its exact value to an integer. Raises LinkGarbled for NaN and infinity."""
    if not math.isfinite(raw):
        raise LinkGarbled(f"{name} is not a number")
    numerator, denominator = raw.as_integer_ratio()
    magnitude = (2 * abs(numerator) * scale + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude


def _words(name: str, point: Point, value: int) -> Sequence[int]:
    """The registers that show ``value``; energy rolls over, other values stop at the limit of their type."""
    width = WORDS[point.type]
    if point.type.startswith("f"):
        packed = struct.pack(">" + _CODE[point.type], value / point.scale)
    else:
        bits = width * 16
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if point.type.startswith("i") else (0, (1 << bits) - 1)
        count = value // point.scale
        count = count % (high + 1) if name.startswith("energy_") and low == 0 else max(low, min(count, high))
        packed = struct.pack(">" + _CODE[point.type], count)
    words = struct.unpack(f">{width}H", packed)
    return words if point.word_order == "big" else words[::-1]
