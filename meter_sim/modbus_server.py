"""Serves simulated devices over Modbus: TCP with any number of pipelined requests, and RTU on a pseudo-terminal.

A server of our own: pymodbus's answers one of several pipelined requests, says 4 where an unknown unit is meant (11 is
right), and is several times slower (performance.md, 1).
"""

import asyncio
import os
import tty
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast

from meter_sim.faults import SLOW_ANSWER_S, FaultKind

GATEWAY_TARGET_SILENT = 0x0B
_MBAP_BYTES = 7
_SILENCE_S = 0.02  # a pseudo-terminal hands a frame over at once; on a wire 3.5 characters would do
_RUBBISH = b"\xff\x00\xde\xad\xbe\xef"

Now = Callable[[], datetime]


class Device(Protocol):
    """What answers at one unit address."""

    @property
    def fault(self) -> FaultKind | None:
        """How the device misbehaves at present."""
        ...

    def answer(self, request: bytes, at: datetime) -> bytes:
        """The answer to a request, both without address and checksum (function code first)."""
        ...


class _TcpConnection(asyncio.Protocol):
    """One client of a TCP server; it answers in the order of the questions."""

    def __init__(self, units: Mapping[int, Device], now: Now, connections: set["_TcpConnection"]) -> None:
        self._units = units
        self._now = now
        self._connections = connections
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went is all the same
        """The client has gone."""
        self._transport = None
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """The client does not fetch its answers: read no further questions."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client fetches its answers again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer every whole frame; keep the beginning of the next one."""
        if self._rest:
            data = self._rest + data
        at = self._now()
        answers: list[bytes] = []
        start, available = 0, len(data)
        while available - start > _MBAP_BYTES:
            length = data[start + 4] << 8 | data[start + 5]
            if not 2 <= length <= 254:  # where the next frame begins cannot be known any more
                self.close()
                return
            end = start + 6 + length
            if end > available:
                break
            if not (data[start + 2] or data[start + 3]):
                answer = self._answer(data, start, end, at)
                if answer is not None:
                    answers.append(answer)
            start = end
        self._rest = data[start:]
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))

    def _answer(self, data: bytes, start: int, end: int, at: datetime) -> bytes | None:
        device = self._units.get(data[start + 6])
        request = data[start + 7 : end]
        if device is None:
            body = bytes((request[0] | 0x80, GATEWAY_TARGET_SILENT))
        elif device.fault is FaultKind.DEAD:
            return None
        elif device.fault is FaultKind.GARBAGE:
            body = request[:1] + _RUBBISH
        else:
            body = device.answer(request, at)
        frame = data[start : start + 4] + (len(body) + 1).to_bytes(2, "big") + data[start + 6 : start + 7] + body
        if device is not None and device.fault is FaultKind.SLOW:
            asyncio.get_running_loop().call_later(SLOW_ANSWER_S, self._write_late, frame)
            return None
        return frame

    def _write_late(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)


class ModbusTcpServer:
    """Many units behind one TCP port, as behind a gateway. An unknown unit gets exception 11."""

    def __init__(self, units: Mapping[int, Device], now: Now) -> None:
        self._units = units
        self._now = now
        self._connections: set[_TcpConnection] = set()
        self._server: asyncio.Server | None = None
        self.host = ""
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one, ``port`` tells which. Raises OSError where that is impossible."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _TcpConnection(self._units, self._now, self._connections), host, port, backlog=1024
        )
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening and hang up on every client."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self._connections):
                connection.close()
            await self._server.wait_closed()


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(frame: bytes) -> bytes:
    """The two checksum bytes of an RTU frame, as they follow it on the wire."""
    value = 0xFFFF
    for byte in frame:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def _request_length(buffer: bytes | bytearray) -> int | None:
    """How long the RTU request at the head of the buffer is; None: not known yet, or its function is not known."""
    if len(buffer) < 2:
        return None
    if 1 <= buffer[1] <= 6:
        return 8
    if buffer[1] in (15, 16) and len(buffer) >= 7:
        return 9 + buffer[6]
    return None


class ModbusRtuServer:
    """Several units on one serial line, whose other end is a pseudo-terminal. Who is not meant keeps silent.

    ``baud``: answers take the time that question and answer take on a wire of that speed (8N1); None: no time at all.
    """

    def __init__(self, units: Mapping[int, Device], now: Now, baud: int | None = None) -> None:
        self._units = units
        self._now = now
        self._baud = baud
        self._buffer = bytearray()
        self._silence: asyncio.TimerHandle | None = None
        self._ours = self._theirs = -1
        self._link: Path | None = None
        self.device = ""

    def start(self, link: Path | None = None) -> None:
        """Open the line; ``device`` is the path for its clients, ``link`` a symbolic link to make to it.

        Raises OSError where the link cannot be made, FileExistsError where something else stands there.
        """
        self._ours, self._theirs = os.openpty()  # our hold on their end keeps the line up between clients
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self.device = os.ttyname(self._theirs)
        if link is not None:
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink():
                link.unlink()
            link.symlink_to(self.device)
            self._link = link
        asyncio.get_running_loop().add_reader(self._ours, self._readable)

    def stop(self) -> None:
        """Close the line and remove the link that was made."""
        if self._ours >= 0:
            asyncio.get_running_loop().remove_reader(self._ours)
            os.close(self._ours)
            os.close(self._theirs)
            self._ours = self._theirs = -1
        if self._silence is not None:
            self._silence.cancel()
        if self._link is not None and self._link.is_symlink() and str(self._link.readlink()) == self.device:
            self._link.unlink()
        self._link = None

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self._ours, 4096)
        except OSError:
            return
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        while (length := _request_length(self._buffer)) is not None and len(self._buffer) >= length:
            frame = bytes(self._buffer[:length])
            if crc16(frame[:-2]) != frame[-2:]:
                break  # no frame begins here: wait for silence, as a device does
            del self._buffer[:length]
            self._receive(frame)
        if self._buffer:
            self._silence = asyncio.get_running_loop().call_later(_SILENCE_S, self._fall_silent)

    def _fall_silent(self) -> None:
        """Silence ends a frame, of whatever length: answer it if it is whole, forget it if it is not."""
        frame = bytes(self._buffer)
        self._buffer.clear()
        if len(frame) >= 4 and crc16(frame[:-2]) == frame[-2:]:
            self._receive(frame)

    def _receive(self, frame: bytes) -> None:
        device = self._units.get(frame[0])
        if device is None or device.fault is FaultKind.DEAD:
            return
        if device.fault is FaultKind.GARBAGE:
            answer = frame[:2] + _RUBBISH
        else:
            body = frame[:1] + device.answer(frame[1:-2], self._now())
            answer = body + crc16(body)
        delay = (len(frame) + len(answer) + 3.5) * 10 / self._baud if self._baud else 0.0
        if device.fault is FaultKind.SLOW:
            delay += SLOW_ANSWER_S
        if delay:
            asyncio.get_running_loop().call_later(delay, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._ours >= 0:
            try:
                os.write(self._ours, answer)
            except BlockingIOError:
                return  # nobody has fetched anything for long: on a wire this would be lost too
