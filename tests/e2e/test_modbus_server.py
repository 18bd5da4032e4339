"""Simulated meters as any Modbus client sees them: raw frames over TCP and over a serial line, and pymodbus."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import serial
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

from edge.clock import pause
from edge.settings import packaged_config
from meter_sim.faults import FaultKind
from meter_sim.feeder import parse_feeder
from meter_sim.modbus_server import crc16
from meter_sim.running import LineUnavailable, RunningFeeder, running_feeder
from protocols.link import RelayState
from protocols.profile import load_profiles
from protocols.register_map import RegisterMap

PROFILES = load_profiles(packaged_config() / "meters")
DDS, SDM = "hiking-dds238-2-znsr", "eastron-sdm230-waveshare"
ON, OFF = RelayState.CONNECTED, RelayState.DISCONNECTED


class Bench:
    """A running feeder and the time of its meters, which stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 7, 1, 12, tzinfo=UTC)
        self.running: RunningFeeder

    def now(self) -> datetime:
        return self.time

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def relay(self, meter_id: str) -> RelayState:
        self.running.meters[meter_id].advance(self.time)
        return self.running.meters[meter_id].relay

    @property
    def port(self) -> int:
        return self.running.ready[0]["port"]


FEEDER = {
    "lines": [{"id": "tcp", "transport": "modbus-tcp"}],
    "meters": [
        {"id": "A", "profile": DDS, "line": "tcp", "unit": 1, "load": 1178, "initial_register_wh": 123450},
        {"id": "B", "profile": DDS, "line": "tcp", "unit": 2, "load": 0, "relay": "disconnected"},
        {"id": "C", "profile": SDM, "line": "tcp", "unit": 3, "relay_unit": 4, "load": 500, "serial": "12345678"},
    ],
}


@asynccontextmanager
async def bench(feeder: dict = FEEDER) -> AsyncIterator[Bench]:
    bench = Bench()
    parsed = parse_feeder(feeder, "test.toml")
    async with running_feeder(parsed, profiles=PROFILES, now=bench.now, pause=pause) as bench.running:
        yield bench


def pdu(text: str) -> bytes:
    return bytes.fromhex(text)


def frame(unit: int, body: str, transaction: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu(body)) + 1, unit) + pdu(body)


class Wire:
    """A raw TCP connection to a Modbus server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator["Wire"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def answer(self) -> tuple[int, int, bytes]:
        """The next answer: transaction, unit, body."""
        async with asyncio.timeout(5):
            transaction, protocol, length, unit = struct.unpack(">HHHB", await self.reader.readexactly(7))
            assert protocol == 0
            return transaction, unit, await self.reader.readexactly(length - 1)

    async def ask(self, unit: int, body: str) -> str:
        self.writer.write(frame(unit, body))
        transaction, answering, answer = await self.answer()
        assert (transaction, answering) == (1, unit)
        return answer.hex(" ").upper()


async def test_a_dds238_shows_its_table_in_one_read():
    async with bench() as b, Wire.to(b.port) as wire:
        b.later(3600)
        answer = pdu(await wire.ask(1, "03 00 00 00 12"))
        words = struct.unpack(">18H", answer[2:])
        readout = RegisterMap(PROFILES[DDS]).decode([words], [1])
    assert words[:2] == words[10:12] == (0, (123450 + 1178) // 10)
    assert (readout.energy_import_wh, readout.power_w, readout.relay) == (124620, 1178, ON)


async def test_a_dds238_is_switched_by_function_16_and_no_other():
    async with bench() as b, Wire.to(b.port) as wire:
        assert await wire.ask(1, "06 00 1A 00 00") == "86 01"
        assert await wire.ask(1, "05 00 1A 00 00") == "85 01"
        assert await wire.ask(1, "10 00 1A 00 01 02 00 00") == "10 00 1A 00 01"
        assert b.relay("A") is ON  # the contact has not moved yet
        b.later(1)
        assert b.relay("A") is OFF
        assert await wire.ask(1, "03 00 1A 00 01") == "03 02 00 00"
        assert await wire.ask(1, "03 00 0E 00 01") == "03 02 00 00"
        assert await wire.ask(1, "10 00 1A 00 01 02 00 01") == "10 00 1A 00 01"
        b.later(1)
        assert await wire.ask(1, "03 00 1A 00 01") == "03 02 00 01"
        assert [change.cause.value for change in b.running.meters["A"].transitions] == ["initial", "command", "command"]


@pytest.mark.parametrize(
    ("unit", "request_body", "answer"),
    [
        (1, "03 00 12 00 01", "83 02"),  # undefined
        (1, "03 00 11 00 02", "83 02"),  # runs off the table
        (1, "03 00 00 00 00", "83 03"),
        (1, "03 00 00 00 7E", "83 03"),
        (1, "04 00 00 00 02", "84 01"),
        (1, "01 00 00 00 01", "81 01"),
        (1, "2B 0E 01 00", "AB 01"),
        (1, "10 00 1A 00 01 02 00 02", "90 03"),
        (1, "10 00 1A 00 01 04 00 00", "90 03"),
        (1, "10 00 1A 00 00 00", "90 03"),
        (1, "10 00 0A 00 02 04 00 00 00 00", "90 02"),  # the energy itself cannot be written
        (1, "10 00 00 00 02 04 00 00 00 01", "90 03"),
        (1, "10 00 15 00 01 02 00 01", "90 03"),  # unit 0
        (1, "10 00 15 00 01 02 02 01", "90 03"),  # unit 2 is taken
        (1, "03 00 00", "83 03"),
        (3, "04 00 01 00 02", "84 02"),  # odd start
        (3, "04 00 00 00 03", "84 03"),  # odd count
        (3, "04 00 00 00 52", "84 03"),  # more than 80
        (3, "04 01 00 00 02", "84 02"),
        (3, "06 00 14 00 01", "86 01"),
        (4, "01 00 00 00 09", "81 02"),
        (4, "01 00 00 00 00", "81 03"),
        (4, "05 00 08 FF 00", "85 02"),
        (4, "05 00 00 12 34", "85 03"),
        (4, "05 02 00 00 00", "85 03"),
        (4, "0F 00 00 00 08 02 00 00", "8F 03"),
        (4, "03 00 00 00 01", "83 01"),
        (99, "03 00 00 00 01", "83 0B"),
    ],
)
async def test_what_is_refused(unit: int, request_body: str, answer: str):
    async with bench() as b, Wire.to(b.port) as wire:
        assert await wire.ask(unit, request_body) == answer


async def test_a_dds238_clears_its_counters_and_moves_to_another_address_as_documented():
    async with bench() as b, Wire.to(b.port) as wire:
        assert await wire.ask(1, "10 00 00 00 02 04 00 00 00 00") == "10 00 00 00 02"
        assert await wire.ask(1, "03 00 00 00 02") == "03 04 00 00 00 00"
        assert await wire.ask(1, "03 00 15 00 01") == "03 02 01 01"
        assert await wire.ask(1, "10 00 15 00 01 02 07 02") == "10 00 15 00 01"
        assert await wire.ask(1, "03 00 15 00 01") == "83 0B"
        assert await wire.ask(7, "03 00 15 00 01") == "03 02 07 02"


async def test_pipelined_questions_are_all_answered_in_order_however_they_are_cut():
    async with bench() as b, Wire.to(b.port) as wire:
        asked = b"".join(frame(unit, "03 00 1A 00 01", number) for number, unit in enumerate((1, 2, 99, 1) * 25))
        wire.writer.write(asked[:1003])
        await wire.writer.drain()
        answers = [await wire.answer() for _ in range(70)]
        wire.writer.write(asked[1003:])
        answers += [await wire.answer() for _ in range(30)]
    assert [transaction for transaction, _, _ in answers] == list(range(100))
    assert [body[-1] for _, _, body in answers[:4]] == [1, 0, 0x0B, 1]


async def test_frames_that_are_none_are_dropped():
    async with bench() as b:
        async with Wire.to(b.port) as wire:
            wire.writer.write(pdu("00 05 00 01 00 06 01 03 00 00 00 01"))  # another protocol
            assert await wire.ask(1, "03 00 1A 00 01") == "03 02 00 01"
        async with Wire.to(b.port) as wire:
            wire.writer.write(pdu("00 05 00 00 FF FF 01 03 00 00 00 01"))  # a length that cannot be
            assert await wire.reader.read() == b""


async def test_an_sdm230_answers_floats_and_its_serial_number():
    async with bench() as b, Wire.to(b.port) as wire:
        b.later(7200)
        low = struct.unpack(">14H", pdu(await wire.ask(3, "04 00 00 00 0E"))[2:])
        high = struct.unpack(">6H", pdu(await wire.ask(3, "04 00 46 00 06"))[2:])
        assert struct.unpack(">I", pdu(await wire.ask(3, "03 FC 00 00 02"))[2:]) == (12345678,)
        readout = RegisterMap(PROFILES[SDM]).decode([low, high], [1] + [0] * 7)
    assert (readout.energy_import_wh, readout.power_w, readout.frequency_mhz) == (1000, 500, 60000)
    assert readout.voltage_mv == 239_900


async def test_a_relay_board_switches_flashes_and_tells_the_true_contact():
    async with bench() as b, Wire.to(b.port) as wire:
        assert await wire.ask(4, "01 00 00 00 08") == "01 01 01"
        assert await wire.ask(4, "05 00 00 00 00") == "05 00 00 00 00"
        assert await wire.ask(4, "01 00 00 00 08") == "01 01 00"  # the coil is what was commanded,
        assert await wire.ask(4, "02 00 00 00 08") == "02 01 01"  # the input is where the contactor stands
        b.later(1)
        assert await wire.ask(4, "02 00 00 00 08") == "02 01 00"
        assert b.relay("C") is OFF
        assert await wire.ask(4, "05 02 00 00 07") == "05 02 00 00 07"  # on for 700 ms
        b.later(0.5)
        assert b.relay("C") is ON
        b.later(1)
        assert await wire.ask(4, "01 00 00 00 08") == "01 01 00"
        assert await wire.ask(4, "0F 00 00 00 08 01 81") == "0F 00 00 00 08"
        b.later(1)
        assert (b.relay("C"), await wire.ask(4, "01 00 00 00 08")) == (ON, "01 01 81")
        assert await wire.ask(4, "05 00 FF 00 00") == "05 00 FF 00 00"
        assert await wire.ask(4, "01 00 00 00 08") == "01 01 00"


async def test_pymodbus_reads_and_switches():
    async with bench() as b, AsyncModbusTcpClient("127.0.0.1", port=b.port, retries=0) as client:
        answer = await client.read_holding_registers(0, count=18, device_id=1)
        assert answer.registers[11] == 12345
        assert (await client.write_register(0x1A, 0, device_id=1)).exception_code == 1
        assert not (await client.write_registers(0x1A, [0], device_id=1)).isError()
        b.later(1)
        assert (await client.read_holding_registers(0x1A, count=1, device_id=1)).registers == [0]
        assert (await client.read_coils(0, count=8, device_id=4)).bits == [True] + [False] * 7


async def test_faults_are_silence_rubbish_and_a_contact_that_sticks():
    async with bench() as b, Wire.to(b.port) as wire:
        b.running.meters["A"].fault = FaultKind.DEAD
        wire.writer.write(frame(1, "03 00 1A 00 01", 7))
        assert await wire.ask(2, "03 00 1A 00 01") == "03 02 00 00"  # unit 1 has kept silent
        b.running.meters["A"].fault = FaultKind.GARBAGE
        garbled = pdu(await wire.ask(1, "03 00 1A 00 01"))
        assert garbled[1] != len(garbled) - 2
        b.running.meters["A"].fault = FaultKind.STUCK_RELAY
        await wire.ask(1, "10 00 1A 00 01 02 00 00")
        b.later(1)
        assert await wire.ask(1, "03 00 1A 00 01") == "03 02 00 01"
        b.running.meters["C"].fault = FaultKind.STUCK_RELAY
        await wire.ask(4, "05 00 00 00 00")
        b.later(1)
        assert await wire.ask(4, "01 00 00 00 08") == "01 01 00"  # a board claims success
        assert struct.unpack(">f", pdu(await wire.ask(3, "04 00 0C 00 02"))[2:]) == (500.0,)  # the power knows better
        b.running.meters["A"].fault = FaultKind.SLOW
        wire.writer.write(frame(1, "03 00 1A 00 01", 8))
        assert await wire.ask(2, "03 00 1A 00 01") == "03 02 00 00"
        assert (await wire.answer())[0] == 8  # late, and to the right question


async def test_a_port_that_is_taken_is_named():
    async with bench() as b:
        taken = {**FEEDER, "lines": [{"id": "tcp", "transport": "modbus-tcp", "port": b.port}]}
        with pytest.raises(LineUnavailable, match=rf"line tcp: 127.0.0.1:{b.port} cannot be opened: Address already"):
            async with bench(taken):
                pass


def rtu(text: str) -> bytes:
    body = pdu(text)
    return body + crc16(body)


def serial_feeder(link: Path, **line) -> dict:
    return {
        "lines": [{"id": "bus", "transport": "modbus-rtu", "device": str(link), **line}],
        "meters": [
            {"id": "A", "profile": DDS, "line": "bus", "unit": 1, "load": 1178, "initial_register_wh": 123450},
            {"id": "B", "profile": DDS, "line": "bus", "unit": 2, "load": 0},
        ],
    }


@pytest.mark.parametrize(
    "published",
    [
        "01 03 00 00 00 12 C5 C7",
        "01 10 00 1A 00 01 02 00 00 A4 6A",
        "01 04 04 43 66 33 34 1B 38",
        "01 05 02 00 00 07 8D B0",
    ],
)
def test_checksums_are_those_of_published_frames(published: str):
    assert rtu(published[:-6]) == pdu(published)


class SerialWire:
    """The client's end of a serial line, raw."""

    def __init__(self, device: str) -> None:
        self.port = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    async def ask(self, *chunks: bytes, length: int) -> bytes:
        for chunk in chunks:
            os.write(self.port, chunk)
        answer = b""
        async with asyncio.timeout(5):
            while len(answer) < length:
                readable = asyncio.Event()
                asyncio.get_running_loop().add_reader(self.port, readable.set)
                await readable.wait()
                asyncio.get_running_loop().remove_reader(self.port)
                answer += os.read(self.port, 4096)
        return answer

    def close(self) -> None:
        os.close(self.port)


async def test_two_units_share_a_serial_line(tmp_path: Path):
    link = tmp_path / "rs485" / "line-1"
    async with bench(serial_feeder(link)) as b:
        assert [entry["device"] for entry in b.running.ready] == [str(link)] * 2
        wire = SerialWire(str(link))
        assert await wire.ask(rtu("01 03 00 1A 00 01"), length=7) == rtu("01 03 02 00 01")
        off = pdu("01 10 00 1A 00 01 02 00 00 A4 6A")
        assert await wire.ask(off[:3], off[3:], length=8) == pdu("01 10 00 1A 00 01 20 0E")
        b.later(1)
        # Nobody at 9, a bad checksum, noise: silence. What follows after a silence is understood again.
        os.write(wire.port, rtu("09 03 00 1A 00 01"))
        os.write(wire.port, pdu("01 03 00 1A 00 01 00 00"))
        await pause(0.1)
        both = await wire.ask(rtu("01 03 00 1A 00 01"), rtu("02 03 00 1A 00 01"), length=14)
        assert both == rtu("01 03 02 00 00") + rtu("02 03 02 00 01")
        assert await wire.ask(rtu("01 2B 0E 01 00"), length=5) == rtu("01 AB 01")
        wire.close()
    assert not link.is_symlink()


async def test_pymodbus_reads_over_a_serial_line_at_its_pace(tmp_path: Path):
    link = tmp_path / "line-1"
    async with bench(serial_feeder(link, baud=9600)) as b:
        client = AsyncModbusSerialClient(str(link), baudrate=9600, timeout=3, retries=0)
        assert await client.connect()
        answer = await client.read_holding_registers(0, count=18, device_id=1)
        assert answer.registers[11] == 12345
        client.close()
        assert b.relay("A") is ON


async def test_a_file_in_the_links_place_is_left_alone(tmp_path: Path):
    (tmp_path / "line-1").write_text("precious")
    with pytest.raises(LineUnavailable, match="File exists"):
        async with bench(serial_feeder(tmp_path / "line-1")):
            pass
    assert (tmp_path / "line-1").read_text() == "precious"


def test_pyserial_can_open_the_line(tmp_path: Path):
    async def open_and_close() -> bool:
        async with bench(serial_feeder(tmp_path / "line-1")):
            with serial.Serial(str(tmp_path / "line-1"), 9600, exclusive=True) as port:
                return port.is_open

    assert asyncio.run(open_and_close())
