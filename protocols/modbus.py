"""Meters over Modbus TCP and RTU. The only module that knows pymodbus on this side; its API changes often, so pin it.

Every question is asked once: pymodbus's own retries would send a switch command twice (``meter-protocols`` M1). All of
its ways to fail end in ``_exchange``, as one of the ``LinkError`` family.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from protocols.link import (
    LinkDown,
    LinkError,
    LinkGarbled,
    LinkRefused,
    LinkTimeout,
    Readout,
    RelayState,
    SwitchAction,
)
from protocols.profile_schema import READ_FUNCTION, Block, Profile, Role, Timing
from protocols.register_map import RegisterMap, RelayWrite
from protocols.turns import Turns

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it would log as errors comes to the caller as LinkError

Pause = Callable[[float], Awaitable[None]]
Request = Callable[[], ModbusPDU]

_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_SILENT_UNTIL_RECONNECT = 8  # questions in a row without an answer: the connection itself may be dead
_GATEWAY_TARGET_SILENT = 0x0B
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, still working",
    6: "device busy",
    8: "memory parity error",
    0x0A: "gateway path unavailable",
    _GATEWAY_TARGET_SILENT: "gateway target device failed to respond",
}
_READ_REQUEST: dict[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}


class ModbusLine:
    """One TCP gateway or one RS-485 bus. It connects when it is first used, and again when it has been lost.

    After a question that was not answered on RTU the line is left quiet before the next one, and what comes meanwhile
    is thrown away: a late answer would pass for the next one (``meter-protocols`` M2).
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        port: int = 502,
        device: str | None = None,
        baud: int = 9600,
        parity: str = "N",
        stopbits: int = 1,
        connect_timeout_s: float = 3.0,
        pause: Pause,
    ) -> None:
        """Either ``host`` and ``port`` (TCP) or ``device`` and its port settings (RTU). Needs a running event loop.

        ``pause`` waits a number of seconds of the event loop.
        """
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient
        # No reconnection by the library: it would be a task without an owner. asyncio sets TCP_NODELAY by itself.
        if host is not None and device is None:
            self._rtu, self.name = False, f"{host}:{port}"
            self._client = AsyncModbusTcpClient(
                host, port=port, retries=0, reconnect_delay=0, trace_connect=self._on_connection
            )
        elif device is not None and host is None:
            self._rtu, self.name = True, device
            self._client = AsyncModbusSerialClient(
                device,
                baudrate=baud,
                parity=parity,
                stopbits=stopbits,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._on_connection,
            )
        else:
            raise ValueError("a line has either host or device")
        self._protocol = self._client.ctx
        self._take_bytes = self._protocol.callback_data
        self._protocol.callback_data = self._on_bytes  # type: ignore[method-assign]
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._connect_timeout_s = connect_timeout_s
        self._failures = 0  # connections that failed in a row
        self._silent = 0  # questions in a row that nobody answered
        self._retry_at = 0.0
        self._quiet_until = 0.0
        self._heard = b""
        self._answer: asyncio.Future[ModbusPDU] | None = None
        self.turns = Turns()

    def _on_bytes(self, data: bytes, addr: tuple[str, int] | None = None) -> int:
        """Let pymodbus look for an answer in what came; it raises in the event loop's callback where there is none."""
        self._heard = data
        try:
            return self._take_bytes(data, addr)
        except (ModbusException, struct.error, ValueError, IndexError) as problem:
            self._fail(ModbusIOException(str(problem)))
            return len(data)

    def _on_connection(self, connected: bool) -> None:
        """A lost connection ends the question at once; pymodbus would wait for its time-out."""
        if not connected:
            self._fail(ConnectionException("the connection was closed"))

    def _fail(self, problem: ModbusException) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem)

    async def ready(self, *, urgent: bool) -> None:
        """Inside a turn: wait until the line may be used, and connect if need be. Raises LinkDown.

        After a failed connection, ordinary questions are refused for a while; urgent ones try at once.
        """
        if (remaining := self._quiet_until - self._loop.time()) > 0:
            await self._pause(remaining)
        if self._client.connected:
            return
        if not urgent and self._loop.time() < self._retry_at:
            raise LinkDown(f"{self.name}: no connection")
        self._protocol.comm_params.timeout_connect = self._connect_timeout_s
        if not await self._client.connect():
            self._retry_at = self._loop.time() + _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            self._failures += 1
            raise LinkDown(f"{self.name}: cannot be connected")
        self._failures = self._silent = 0

    async def exchange(self, request: ModbusPDU, timing: Timing, *, urgent: bool = False) -> ModbusPDU:
        """Inside a turn: ask once and return the answer. Raises LinkError, always naming line and unit."""
        if not 1 <= request.dev_id <= 247:  # 0 is everybody (M6)
            raise LinkRefused(f"{self.name}: {request.dev_id} is no unit address; they are 1 to 247")
        if self._rtu or not self._client.connected:
            await self.ready(urgent=urgent)
        answered = False
        try:
            answer = await self._ask(request, timing.timeout_ms / 1000)
            answered = True
        except ModbusException as problem:
            raise self._failure(request, problem, timing) from None
        finally:
            if self._rtu:  # also when cancelled: the answer may still be under way
                quiet_ms = timing.min_gap_ms if answered else timing.quiet_after_timeout_ms
                self._quiet_until = self._loop.time() + quiet_ms / 1000
        self._silent = 0
        if answer.function_code == request.function_code:
            return answer
        where = f"{self.name} unit {request.dev_id}"
        if answer.function_code & 0x7F != request.function_code:
            raise LinkGarbled(f"{where}: function {answer.function_code} answered to {request.function_code}")
        name = _EXCEPTIONS.get(answer.exception_code, "unknown exception")
        kind = LinkTimeout if answer.exception_code == _GATEWAY_TARGET_SILENT else LinkRefused
        raise kind(f"{where}: exception {answer.exception_code}, {name}")

    async def _ask(self, request: ModbusPDU, timeout_s: float) -> ModbusPDU:
        """Send a question and wait for its answer. Raises ModbusException.

        As pymodbus's own ``execute``, less what a line with turns has no need of: its lock, its retries, its count of
        silent units (which takes the line from the living, M12), and a waiter of its own for the time-out.
        """
        protocol = self._protocol
        if protocol.transport is None:
            raise ConnectionException("the connection was closed")
        request.transaction_id = protocol.getNextTID()
        self._answer = self._loop.create_future()
        protocol.response_future = self._answer
        timer = self._loop.call_later(timeout_s, self._fail, ModbusIOException("no answer in time"))
        self._heard = protocol.recv_buffer = b""
        try:
            protocol.pdu_send(request)
            return await self._answer
        finally:
            timer.cancel()

    def _failure(self, request: ModbusPDU, problem: ModbusException, timing: Timing) -> LinkError:
        """What a question that pymodbus gave up has met: no connection, silence, or bytes that are no answer."""
        where, heard = f"{self.name} unit {request.dev_id}", self._heard
        if isinstance(problem, ConnectionException):
            return LinkDown(f"{where}: {problem.string}")
        late = not self._rtu and heard[2:4] == b"\0\0" and int.from_bytes(heard[:2], "big") != request.transaction_id
        if heard and not late:
            if not self._rtu:
                self.close()  # where the next frame begins cannot be known any more
            return LinkGarbled(f"{where}: what came is no answer to the question: {heard[:16].hex(' ')}")
        self._silent += 1
        if not self._rtu and self._silent >= _SILENT_UNTIL_RECONNECT:
            self.close()
        return LinkTimeout(f"{where}: no answer within {timing.timeout_ms} ms")

    def close(self) -> None:
        """Hang up; the next question connects again."""
        self._client.close()


class ModbusMeter:
    """One meter on a line, alone or with a relay board of its own unit; a ``MeterLink``.

    A disconnect is sent only if the last read passed the profile's probe and, where ``serial`` is given and the device
    tells its own, if the two agree (``meter-protocols`` M5, M8). A reconnect is held back only while nothing but
    implausible values has ever come from the device; a meter that does not answer does not keep a customer in the dark.
    """

    def __init__(
        self,
        line: ModbusLine,
        profile: Profile,
        unit: int,
        relay_unit: int | None = None,
        relay_channel: int | None = None,
        *,
        serial: str | None = None,
    ) -> None:
        """``unit``, ``relay_unit``: addresses on the line, 1 to 247; ``relay_channel``: 0-based, 0 if None.

        Raises ValueError where they do not fit the profile.
        """
        self._line = line
        self._name = f"{line.name} unit {unit}"
        self._timing = profile.timing
        self._map = RegisterMap(profile)
        self._probes = profile.probe
        self._channel = relay_channel or 0
        self._units: dict[Role, int] = {"meter": unit}
        if profile.transport == "composite":
            if relay_unit is None:
                raise ValueError(f"profile {profile.id} needs the relay board's unit")
            self._units["board"] = relay_unit
        for address in self._units.values():
            if not 1 <= address <= 247:
                raise ValueError(f"{address} is no unit address; they are 1 to 247")
        meter = profile.devices[0]
        self._blocks = [_read_request(block, unit) for block in meter.blocks]
        self._identity = _read_request(meter.identity, unit) if meter.identity else None
        relay = self._map.relay_block(self._channel)
        self._relay = _read_request(relay, self._units[profile.devices[-1].role]) if relay else None
        self._expected_serial = serial
        self._serial: str | None = None
        self._identified = self._identity is None
        self._last: Readout | None = None
        self._proven = False

    async def read(self) -> Readout:
        """Ask for register, power and relay once. Raises LinkError."""
        await self._line.turns.take(urgent=False)
        try:
            return await self._read(urgent=False)
        finally:
            self._line.turns.give_back()

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone, before waiting polls. Raises LinkError."""
        await self._line.turns.take(urgent=True)
        try:
            return self._map.relay_state(await self._ask_relay(urgent=True), self._channel)
        finally:
            self._line.turns.give_back()

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Write the one allowed command exactly once. Raises LinkError; LinkTimeout unsent when it expired."""
        write = self._map.relay_write(action, self._channel)
        request = _write_request(write, self._units[write.role])
        loop = asyncio.get_running_loop()
        deadline = loop.time() + expires_in_s
        try:
            async with asyncio.timeout(max(0.0, expires_in_s)):
                await self._line.turns.take(urgent=True)
        except TimeoutError:
            raise LinkTimeout(
                f"{self._name}: the line was not free within {expires_in_s} s; nothing was sent"
            ) from None
        try:
            await self._check_before(action)
            await self._line.ready(urgent=True)
            if loop.time() >= deadline:
                raise LinkTimeout(f"{self._name}: the command expired before it could be sent; nothing was sent")
            answer = await self._line.exchange(request, self._timing, urgent=True)
        finally:
            self._line.turns.give_back()
        if answer.address != request.address:
            raise LinkGarbled(f"{self._name}: address {answer.address} answered to a command to {request.address}")

    async def _read(self, *, urgent: bool) -> Readout:
        try:
            if not self._identified:
                await self._identify(urgent=urgent)
            exchange, timing = self._line.exchange, self._timing
            measured = [(await exchange(request(), timing, urgent=urgent)).registers for request in self._blocks]
            relay = await self._ask_relay(urgent=urgent) if self._relay else None
            self._last = self._map.decode(measured, relay, channel=self._channel, serial=self._serial)
        except LinkError:
            self._last = None
            self._identified = self._identity is None  # whoever answers next says first who it is
            raise
        self._proven = self._proven or self._implausible(self._last) is None
        return self._last

    async def _identify(self, *, urgent: bool) -> None:
        """Learn the serial number; a device that refuses to tell has none."""
        assert self._identity is not None
        self._serial = None
        try:
            answer = await self._line.exchange(self._identity(), self._timing, urgent=urgent)
            self._serial = self._map.serial(answer.registers)
        except LinkRefused:
            pass
        self._identified = True

    async def _ask_relay(self, *, urgent: bool) -> Sequence[int]:
        if self._relay is None:
            raise LinkRefused(f"{self._name}: the profile has no relay to read")
        answer = await self._line.exchange(self._relay(), self._timing, urgent=urgent)
        return answer.registers or answer.bits

    async def _check_before(self, action: SwitchAction) -> None:
        """Whether the device is the one the profile describes. Raises LinkError; nothing was switched then."""
        if action is SwitchAction.CONNECT:
            if not self._proven:
                await self._look_before_connecting()
            return
        if fault := self._implausible(self._last or await self._read(urgent=True)):
            raise LinkRefused(f"{self._name}: {fault}; nothing was sent")
        if self._expected_serial is not None and self._identity is not None:
            await self._identify(urgent=True)
            if self._serial != self._expected_serial:
                raise LinkRefused(
                    f"{self._name}: serial number {self._serial} answers where {self._expected_serial} was expected; "
                    "nothing was sent"
                )

    async def _look_before_connecting(self) -> None:
        """Refuse only on evidence: a read that failed is none, and a dark meter behind an open switch is none."""
        try:
            seen = self._last or await self._read(urgent=True)
        except LinkError:
            return
        fault = self._implausible(seen)
        if fault and not (seen.relay is RelayState.DISCONNECTED and not seen.voltage_mv):
            raise LinkRefused(f"{self._name}: {fault}; nothing was sent")

    def _implausible(self, readout: Readout) -> str | None:
        """Which value is outside of the profile's probe, if any: the register map may be another one (M8)."""
        for probe in self._probes:
            value = getattr(readout, probe.point)
            if value is None or not probe.min <= value <= probe.max:
                return f"{probe.point} is {value}, not {probe.min} to {probe.max}: not the device of this profile?"
        return None


def _read_request(block: Block, unit: int) -> Request:
    """Makes the request that reads a block. pymodbus keeps the transaction's number in it: a new one each time."""
    kind, address, count = _READ_REQUEST[READ_FUNCTION[block.table]], block.address, block.count
    return lambda: kind(address=address, count=count, dev_id=unit)


def _write_request(write: RelayWrite, unit: int) -> ModbusPDU:
    if write.fc == 5:
        return WriteSingleCoilRequest(address=write.address, bits=[bool(write.values[0])], dev_id=unit)
    if write.fc == 6:
        return WriteSingleRegisterRequest(address=write.address, registers=list(write.values), dev_id=unit)
    return WriteMultipleRegistersRequest(address=write.address, registers=list(write.values), dev_id=unit)
