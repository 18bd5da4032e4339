"""What the simulated Modbus devices answer: registers of a meter, coils of a relay board. Bytes in, bytes out.

Which register holds what comes from the meter's profile, the very file by which the daemon reads the real device. What
a profile does not say is told here by ``Manner``: functions the device understands, reserved registers, its limits.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from meter_sim.faults import FaultKind
from meter_sim.household import ConstantLoad
from meter_sim.meter import MeterValues, SimulatedMeter
from protocols.link import RelayState
from protocols.profile import Table

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_READS: dict[int, Table] = {READ_HOLDING: "holding", READ_INPUT: "input"}
_ANSWERS_KEPT = 32

Words = dict[tuple[Table, int], int]  # (table, address) -> word
Write = Callable[[tuple[int, ...], datetime], None]  # raises ModbusError where the device refuses the values


class ModbusError(Exception):
    """A request that the device refuses; ``code`` is the exception code of the answer."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exception {code}")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a device behaves where its profile is silent."""

    reserved: Mapping[Table, range] = field(default_factory=dict)  # undocumented, read as 0
    registers_max: int = 125
    even: bool = False  # start and count must be even


class RegisterDevice:
    """A meter that answers with registers. ``writes``: (function, address) -> what a write there does.

    Answers are kept until the meter's values can have changed, so a poll costs little however many meters there are.
    """

    def __init__(
        self,
        meter: SimulatedMeter,
        encode: Callable[[MeterValues], Words],
        manner: Manner,
        writes: Mapping[tuple[int, int], Write],
    ) -> None:
        self._meter = meter
        self._encode = encode
        self._manner = manner
        self._writes = writes
        self._writing = frozenset(function for function, _ in writes)
        self._answers: dict[bytes, bytes] = {}
        self._blank = {(table, address): 0 for table, part in manner.reserved.items() for address in part}
        self._words: Words = {}
        self._version = -1
        self._from = self._until = datetime.min.replace(tzinfo=UTC)

    @property
    def fault(self) -> FaultKind | None:
        """How the meter misbehaves at present."""
        return self._meter.fault

    def answer(self, request: bytes, at: datetime) -> bytes:
        """The answer to one request."""
        if self._version == self._meter.version and self._from <= at < self._until:
            known = self._answers.get(request)
            if known is not None:
                return known
        else:
            self._renew(at)
        try:
            answer = self._carry_out(request, at)
        except ModbusError as refused:
            return bytes((request[0] | 0x80, refused.code))
        if len(self._answers) < _ANSWERS_KEPT and request[0] in _READS:
            self._answers[request] = answer
        return answer

    def _renew(self, at: datetime) -> None:
        self._answers.clear()
        self._words = self._blank | self._encode(self._meter.values(at))
        self._from, self._until = at, self._meter.steady_until()
        self._version = self._meter.version

    def _carry_out(self, request: bytes, at: datetime) -> bytes:
        function = request[0]
        if (table := _READS.get(function)) and any(where[0] == table for where in self._words):
            return self._read(request, table)
        if function in self._writing:
            return self._write(request, at)
        raise ModbusError(ILLEGAL_FUNCTION)

    def _read(self, request: bytes, table: Table) -> bytes:
        start, count = _two_words(request)
        if not 1 <= count <= self._manner.registers_max or (self._manner.even and count % 2):
            raise ModbusError(ILLEGAL_VALUE)
        if self._manner.even and start % 2:
            raise ModbusError(ILLEGAL_ADDRESS)
        try:
            found = [self._words[table, address] for address in range(start, start + count)]
        except KeyError:
            raise ModbusError(ILLEGAL_ADDRESS) from None
        return struct.pack(f">BB{count}H", request[0], 2 * count, *found)

    def _write(self, request: bytes, at: datetime) -> bytes:
        function = request[0]
        start, count = _two_words(request[:5])
        if function == WRITE_REGISTER:
            written: tuple[int, ...] = (_two_words(request)[1],)
        elif 1 <= count <= 123 and len(request) == 6 + 2 * count and request[5] == 2 * count:
            written = struct.unpack(f">{count}H", request[6:])
        else:
            raise ModbusError(ILLEGAL_VALUE)
        if (function, start) not in self._writes:
            raise ModbusError(ILLEGAL_ADDRESS)
        self._writes[function, start](written, at)
        return request[:5]


def _two_words(request: bytes) -> tuple[int, int]:
    """The two words that follow the function code. Raises ModbusError where there is anything else."""
    if len(request) != 5:
        raise ModbusError(ILLEGAL_VALUE)
    first, second = struct.unpack(">HH", request[1:])
    return first, second


class RelayBoard:
    """A Waveshare relay board: coils 0 to ``size - 1``, some of which switch a meter's supply (meter-protocols 1.8).

    Coils read as commanded; the digital inputs read the contactors' auxiliary contacts, which is what is true.
    """

    def __init__(
        self, channels: Mapping[int, SimulatedMeter], at: datetime, *, size: int = 8, normally_open: bool = True
    ) -> None:
        spare = {n: SimulatedMeter(f"spare-{n}", at=at, load=ConstantLoad(0), relay=_OFF) for n in range(size)}
        self._channels = [*(spare | dict(channels)).values()]
        self._own = tuple(channels.values())
        self._on = RelayState.CONNECTED if normally_open else RelayState.DISCONNECTED
        self._off = RelayState.DISCONNECTED if normally_open else RelayState.CONNECTED

    @property
    def fault(self) -> FaultKind | None:
        """A board misbehaves when every meter that it switches does so in the same way."""
        faults = {meter.fault for meter in self._own}
        return faults.pop() if len(faults) == 1 else None

    def answer(self, request: bytes, at: datetime) -> bytes:
        """The answer to one request."""
        try:
            return self._carry_out(request, at)
        except ModbusError as refused:
            return bytes((request[0] | 0x80, refused.code))

    def _carry_out(self, request: bytes, at: datetime) -> bytes:
        function = request[0]
        for meter in self._channels:
            meter.advance(at)
        if function == READ_COILS:
            return self._bits(request, [meter.commanded is self._on for meter in self._channels])
        if function == READ_DISCRETE:
            return self._bits(request, [meter.relay is RelayState.CONNECTED for meter in self._channels])
        if function == WRITE_COIL:
            return self._write_one(request, at)
        if function == WRITE_COILS:
            return self._write_several(request, at)
        raise ModbusError(ILLEGAL_FUNCTION)

    def _bits(self, request: bytes, states: list[bool]) -> bytes:
        start, count = _two_words(request)
        if not 1 <= count <= 2000:
            raise ModbusError(ILLEGAL_VALUE)
        if start + count > len(states):
            raise ModbusError(ILLEGAL_ADDRESS)
        packed = sum(1 << place for place, state in enumerate(states[start : start + count]) if state)
        size = (count + 7) // 8
        return bytes((request[0], size)) + packed.to_bytes(size, "little")

    def _write_one(self, request: bytes, at: datetime) -> bytes:
        address, value = _two_words(request)
        kind, channel = address & 0xFF00, address & 0x00FF
        if kind == 0 and channel == 0xFF:
            chosen = self._channels
        elif kind in (0, _FLASH_ON, _FLASH_OFF) and channel < len(self._channels):
            chosen = [self._channels[channel]]
        else:
            raise ModbusError(ILLEGAL_ADDRESS)
        if kind:
            if not 1 <= value <= 0x7FFF:
                raise ModbusError(ILLEGAL_VALUE)
            chosen[0].command(self._on if kind == _FLASH_ON else self._off, at, back_after_ms=value * 100)
        else:
            if value not in (0x0000, 0xFF00):
                raise ModbusError(ILLEGAL_VALUE)
            for meter in chosen:
                meter.command(self._on if value else self._off, at)
        return request

    def _write_several(self, request: bytes, at: datetime) -> bytes:
        start, count = _two_words(request[:5])
        size = (count + 7) // 8
        if not 1 <= count <= 1968 or len(request) != 6 + size or request[5] != size:
            raise ModbusError(ILLEGAL_VALUE)
        if start + count > len(self._channels):
            raise ModbusError(ILLEGAL_ADDRESS)
        bits = int.from_bytes(request[6:], "little")
        for place, meter in enumerate(self._channels[start : start + count]):
            meter.command(self._on if bits >> place & 1 else self._off, at)
        return request[:5]


_OFF = RelayState.DISCONNECTED
_FLASH_ON, _FLASH_OFF = 0x0200, 0x0400
