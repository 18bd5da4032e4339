"""A Modbus line, TCP or RTU. The only module that knows pymodbus on this side; its API changes often, so pin it.

Every question is asked once: pymodbus's own retries would send a switch command twice (``meter-protocols`` M1). All of
its ways to fail end in ``exchange``, as one of the ``LinkError`` family.
"""

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.framer import FramerSocket
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteSingleCoilRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from protocols.link import LinkDown, LinkError, LinkGarbled, LinkRefused, LinkTimeout
from protocols.mbap import READS, read_answer, read_question
from protocols.profile_schema import READ_FUNCTION, Block, Timing
from protocols.register_map import RelayWrite
from protocols.turns import Turns

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it would log as errors comes to the caller as LinkError

Pause = Callable[[float], Awaitable[None]]

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
_READ_ANSWER: dict[int, type[ModbusPDU]] = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}


class _Framer(FramerSocket):
    """pymodbus's framer for TCP, with a short way for reads of registers; its own takes 14 us of each."""

    def buildFrame(self, message: ModbusPDU) -> bytes:  # noqa: N802 - pymodbus's name
        if message.function_code not in READS:
            return super().buildFrame(message)
        return read_question(
            message.transaction_id, message.dev_id, message.function_code, message.address, message.count
        )

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:  # noqa: N802
        plain = read_answer(data, exp_tid, exp_devid)
        if plain is None:
            return super().handleFrame(data, exp_devid, exp_tid)
        function, registers = plain
        return len(data), _READ_ANSWER[function](dev_id=exp_devid, transaction_id=exp_tid, registers=registers)


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
        self._protocol.callback_data = self._on_bytes  # type: ignore[method-assign]
        if not self._rtu:
            self._protocol.framer = _Framer(self._protocol.framer.decoder)
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._connect_timeout_s = connect_timeout_s
        self._failures = 0  # connections that failed in a row
        self._silent = 0  # questions in a row that nobody answered
        self._retry_at = 0.0
        self._quiet_until = 0.0
        self._heard = b""
        self._question: ModbusPDU | None = None
        self._answer: asyncio.Future[ModbusPDU] = self._loop.create_future()
        self.turns = Turns()

    def _on_bytes(self, data: bytes, addr: tuple[str, int] | None = None) -> int:  # noqa: ARG002 - none on a line
        """Look for the answer in what came; pymodbus raises in the event loop's callback where there is none."""
        self._heard = data
        if self._question is None:
            return len(data)  # nobody asked
        try:
            asked = self._question
            used, answer = self._protocol.framer.handleFrame(data, asked.dev_id, asked.transaction_id)
        except (ModbusException, struct.error, ValueError, IndexError) as problem:
            self._fail(ModbusIOException(str(problem)))
            return len(data)
        if answer is not None and not self._answer.done():
            self._answer.set_result(answer)
        return used

    def _on_connection(self, connected: bool) -> None:
        """A lost connection ends the question at once; pymodbus would wait for its time-out."""
        if not connected:
            self._fail(ConnectionException("the connection was closed"))

    def _fail(self, problem: ModbusException) -> None:
        if self._question is not None and not self._answer.done():
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

    async def _ask(self, question: ModbusPDU, timeout_s: float) -> ModbusPDU:
        """Send a question and wait for its answer. Raises ModbusException.

        As pymodbus's own ``execute``, less what a line with turns has no need of: its lock, its retries, its count of
        silent units (which takes the line from the living, M12), and a waiter of its own for the time-out.
        """
        protocol = self._protocol
        if protocol.transport is None:
            raise ConnectionException("the connection was closed")
        question.transaction_id = protocol.getNextTID()
        self._question, self._answer = question, self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._fail, ModbusIOException("no answer in time"))
        self._heard = protocol.recv_buffer = b""
        try:
            protocol.send(protocol.framer.buildFrame(question))
            return await self._answer
        finally:
            timer.cancel()
            self._question = None

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


def read_request(block: Block, unit: int) -> ModbusPDU:
    """The request that reads a block; it is used again and again, one use at a time."""
    return _READ_REQUEST[READ_FUNCTION[block.table]](address=block.address, count=block.count, dev_id=unit)


def write_request(write: RelayWrite, unit: int) -> ModbusPDU:
    """The request that carries a switch command."""
    if write.fc == 5:
        return WriteSingleCoilRequest(address=write.address, bits=[bool(write.values[0])], dev_id=unit)
    if write.fc == 6:
        return WriteSingleRegisterRequest(address=write.address, registers=list(write.values), dev_id=unit)
    return WriteMultipleRegistersRequest(address=write.address, registers=list(write.values), dev_id=unit)
