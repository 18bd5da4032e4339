"""The Modbus link against simulated meters on real sockets and a serial line, and against servers that misbehave."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.clock import SystemClock, pause
from edge.settings import packaged_config
from meter_sim.faults import FaultKind
from meter_sim.feeder import parse_feeder
from meter_sim.running import RunningFeeder, running_feeder
from protocols.link import LinkDown, LinkGarbled, LinkRefused, LinkTimeout, RelayState, SwitchAction
from protocols.modbus import ModbusLine
from protocols.modbus_meter import ModbusMeter
from protocols.profile import Profile, load_profiles

PROFILES = load_profiles(packaged_config() / "meters")
DDS, SDM = "hiking-dds238-2-znsr", "eastron-sdm230-waveshare"
ON, OFF = RelayState.CONNECTED, RelayState.DISCONNECTED
CLOCK = SystemClock("always")
METERS = [
    {"id": "A", "profile": DDS, "unit": 1, "load": 1178, "initial_register_wh": 123450},
    {"id": "B", "profile": DDS, "unit": 2, "load": 0, "relay": "disconnected"},
    {"id": "C", "profile": SDM, "unit": 3, "relay_unit": 9, "relay_channel": 2, "load": 500, "serial": "12345678"},
    {"id": "D", "profile": SDM, "unit": 4, "relay_unit": 9, "relay_channel": 10, "load": 0, "serial": "87654321"},
]


def impatient(profile: Profile, timeout_ms: int = 200, quiet_ms: int = 300) -> Profile:
    """The profile with short time-outs, so that tests need not wait long."""
    shorter = {"timeout_ms": timeout_ms, "quiet_after_timeout_ms": quiet_ms, "min_gap_ms": 5}
    timing = profile.timing.model_copy(update=shorter)
    return profile.model_copy(update={"timing": timing})


class Bench:
    """A line of four meters, and links to them."""

    def __init__(self, running: RunningFeeder, line: ModbusLine) -> None:
        self.line = line
        self.simulated = running.meters
        self.links = {
            str(meter["id"]): ModbusMeter(
                line,
                impatient(PROFILES[str(meter["profile"])]),
                int(str(meter["unit"])),
                meter.get("relay_unit"),  # type: ignore[arg-type]
                meter.get("relay_channel"),  # type: ignore[arg-type]
                serial=meter.get("serial"),  # type: ignore[arg-type]
            )
            for meter in METERS
        }

    async def until_relay(self, meter_id: str, state: RelayState) -> None:
        """Wait until the contact has moved."""
        async with asyncio.timeout(5):
            while self.simulated[meter_id].relay is not state:
                self.simulated[meter_id].advance(CLOCK.now())
                await pause(0.01)


@asynccontextmanager
async def bench(transport: str) -> AsyncIterator[Bench]:
    feeder = parse_feeder(
        {"lines": [{"id": "L", "transport": transport}], "meters": [meter | {"line": "L"} for meter in METERS]}, "f"
    )
    async with running_feeder(feeder, profiles=PROFILES, now=CLOCK.now, pause=pause) as running:
        ready = running.ready[0]
        if transport == "modbus-tcp":
            line = ModbusLine(host=ready["host"], port=ready["port"], pause=pause)
        else:
            line = ModbusLine(device=ready["device"], pause=pause)
        try:
            yield Bench(running, line)
        finally:
            line.close()


@pytest.fixture(params=["modbus-tcp", "modbus-rtu"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with bench(request.param) as running:
        yield running


class TestBothTransports:
    async def test_reads_every_meter(self, either: Bench):
        first = await either.links["A"].read()
        assert first.energy_import_wh is not None
        assert 123_450 <= first.energy_import_wh < 123_550
        assert (first.power_w, first.relay, first.frequency_mhz, first.serial) == (1178, ON, 60_000, None)
        composite = await either.links["C"].read()
        assert (composite.power_w, composite.relay, composite.serial) == (500, ON, "12345678")
        assert (await either.links["B"].read()).relay is OFF
        assert (await either.links["D"].read()).relay is ON

    @pytest.mark.parametrize("meter_id", ["A", "C", "D"])
    async def test_disconnects_and_connects(self, either: Bench, meter_id: str):
        link = either.links[meter_id]
        await link.read()
        await link.command(SwitchAction.DISCONNECT, expires_in_s=5)
        await either.until_relay(meter_id, OFF)
        assert await link.read_relay() is OFF
        assert (await link.read()).power_w == 0
        await link.command(SwitchAction.CONNECT, expires_in_s=5)
        await either.until_relay(meter_id, ON)
        assert await link.read_relay() is ON
        others = [other for other in "ACD" if other != meter_id]
        assert all(len(either.simulated[other].transitions) == 1 for other in others)

    async def test_a_dead_meter_times_out_and_the_others_answer(self, either: Bench):
        either.simulated["A"].fault = FaultKind.DEAD
        for _ in range(6):  # more than pymodbus stands by itself
            with pytest.raises(LinkTimeout, match="unit 1"):
                await either.links["A"].read()
        assert (await either.links["B"].read()).relay is OFF
        either.simulated["A"].fault = None
        assert (await either.links["A"].read()).relay is ON

    async def test_garbage_is_told_and_the_line_recovers(self, either: Bench):
        either.simulated["A"].fault = FaultKind.GARBAGE
        with pytest.raises(LinkGarbled):
            await either.links["A"].read()
        assert (await either.links["B"].read()).relay is OFF
        either.simulated["A"].fault = None
        assert (await either.links["A"].read()).power_w == 1178

    async def test_a_disconnect_needs_the_right_serial_number(self, either: Bench):
        stranger = ModbusMeter(either.line, impatient(PROFILES[SDM]), 3, 9, 2, serial="999")
        assert (await stranger.read()).serial == "12345678"
        with pytest.raises(LinkRefused, match="12345678 answers where 999 was expected"):
            await stranger.command(SwitchAction.DISCONNECT, expires_in_s=5)
        assert await stranger.read_relay() is ON
        await stranger.command(SwitchAction.CONNECT, expires_in_s=5)  # nobody is kept in the dark for it

    async def test_a_dead_meter_beside_a_live_relay_board_is_reconnected(self, either: Bench):
        link = either.links["C"]
        await link.read()
        await link.command(SwitchAction.DISCONNECT, expires_in_s=5)
        await either.until_relay("C", OFF)
        fresh = ModbusMeter(either.line, impatient(PROFILES[SDM]), 33, 9, 2)  # nobody answers at 33
        with pytest.raises(LinkTimeout):
            await fresh.command(SwitchAction.DISCONNECT, expires_in_s=5)
        await fresh.command(SwitchAction.CONNECT, expires_in_s=5)
        await either.until_relay("C", ON)


async def test_a_late_rtu_answer_is_never_taken_for_another():
    async with bench("modbus-rtu") as running:
        slow = ModbusMeter(running.line, impatient(PROFILES[DDS], timeout_ms=300, quiet_ms=1500), 1)
        running.simulated["A"].fault = FaultKind.SLOW  # 1.5 s late
        with pytest.raises(LinkTimeout):
            await slow.read()
        assert (await running.links["B"].read()).power_w == 0
        running.simulated["A"].fault = None
        assert (await running.links["A"].read()).power_w == 1178


class Server:
    """A TCP server that answers (unit, PDU) as a test tells it: a PDU, raw bytes in a tuple, or None for nothing."""

    def __init__(self, answer: Callable[[int, bytes], bytes | tuple[bytes] | None]) -> None:
        self.answer = answer
        self.requests: list[tuple[int, bytes]] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(7)
                pdu = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
                self.requests.append((head[6], pdu))
                answer = self.answer(head[6], pdu)
                if answer == (b"",):
                    break
                if isinstance(answer, tuple):
                    writer.write(answer[0])
                elif answer is not None:
                    writer.write(head[:4] + (len(answer) + 1).to_bytes(2, "big") + head[6:7] + answer)
        writer.close()


DDS_WORDS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12345, 2301, 512, 1178, 33, 998, 5001]


def healthy(unit: int, pdu: bytes) -> bytes:
    """A DDS238 that answers as it should."""
    if pdu[0] == 16:
        return pdu[:5]
    words = DDS_WORDS if pdu[1:3] == b"\0\0" else [1]
    return bytes([3, 2 * len(words)]) + b"".join(word.to_bytes(2, "big") for word in words)


def meter_at(server: Server, **kwargs: int) -> ModbusMeter:
    line = ModbusLine(host="127.0.0.1", port=server.port, connect_timeout_s=1, pause=pause)
    return ModbusMeter(line, impatient(PROFILES[DDS], **kwargs), 7)


def writes(server: Server) -> list[bytes]:
    return [pdu for _, pdu in server.requests if pdu[0] == 16]


class TestMisbehaviour:
    async def test_a_write_that_nobody_answers_is_sent_once(self):
        async with Server(lambda unit, pdu: None if pdu[0] == 16 else healthy(unit, pdu)) as server:
            meter = meter_at(server)
            await meter.read()
            with pytest.raises(LinkTimeout):
                await meter.command(SwitchAction.DISCONNECT, expires_in_s=5)
            await meter.read()  # whatever a client would re-send has been sent before this
            assert writes(server) == [bytes.fromhex("10 00 1A 00 01 02 00 00")]

    @pytest.mark.parametrize(
        ("code", "error"),
        [(1, LinkRefused), (4, LinkRefused), (6, LinkRefused), (0x0B, LinkTimeout), (99, LinkRefused)],
    )
    async def test_exceptions_name_their_code(self, code: int, error: type[Exception]):
        async with Server(lambda unit, pdu: bytes([pdu[0] | 0x80, code])) as server:
            with pytest.raises(error, match=f"unit 7: exception {code}"):
                await meter_at(server).read()

    @pytest.mark.parametrize(
        "answer",
        [
            (b"\xde\xad\xbe\xef" * 4,),
            (b"GET / HTTP/1.1\r\n\r\n",),
            b"\x03",
            b"\x03\x24\x00",
            b"\x03\x02\x00\x01",
            b"\x03\x00",
            b"\x04" + healthy(7, b"\x03\x00\x00")[1:],
            b"\x55\x01\x02",
            b"\x00",
        ],
    )
    async def test_garbage_is_garbled_and_the_next_answer_counts(self, answer: bytes | tuple[bytes]):
        spoilt = [True]
        async with Server(lambda unit, pdu: answer if spoilt[0] else healthy(unit, pdu)) as server:
            meter = meter_at(server)
            with pytest.raises(LinkGarbled):
                await meter.read()
            spoilt[0] = False
            assert (await meter.read()).energy_import_wh == 123_450

    async def test_a_late_answer_is_not_taken_for_the_next(self):
        held: list[bytes] = []

        def one_behind(unit: int, pdu: bytes) -> tuple[bytes] | None:
            tid = len(server.requests).to_bytes(2, "big")  # pymodbus counts from 1 on each connection
            body = healthy(unit, pdu)
            held.append(tid + b"\0\0" + (len(body) + 1).to_bytes(2, "big") + bytes([unit]) + body)
            return (held[-2],) if len(held) > 1 else None

        async with Server(one_behind) as server:
            meter = meter_at(server)
            for _ in range(3):
                with pytest.raises(LinkTimeout):
                    await meter.read()

    async def test_a_connection_that_is_cut_is_told_at_once_and_made_again(self):
        cut = [True]
        async with Server(lambda unit, pdu: (b"",) if cut[0] else healthy(unit, pdu)) as server:
            meter = meter_at(server, timeout_ms=60_000)
            async with asyncio.timeout(5):
                with pytest.raises(LinkDown):
                    await meter.read()
            cut[0] = False
            assert (await meter.read()).relay is ON
            assert server.connections == 2

    async def test_a_gateway_that_is_away_and_comes_back(self):
        async with Server(healthy) as server:
            meter = meter_at(server)
            await meter.read()
            meter._line.close()
        for _ in range(5):
            with pytest.raises(LinkDown):
                await meter.read()
        async with server:
            await meter.command(SwitchAction.CONNECT, expires_in_s=5)  # urgent: does not wait for the back-off
            assert len(writes(server)) == 1
            assert (await meter.read()).relay is ON

    async def test_a_connection_on_which_all_is_silent_is_made_anew(self):
        async with Server(lambda unit, pdu: None) as server:
            meter = meter_at(server, timeout_ms=50)
            for _ in range(9):
                with pytest.raises(LinkTimeout):
                    await meter.read()
            assert server.connections == 2

    async def test_implausible_values_stop_a_disconnect(self):
        def low(unit: int, pdu: bytes) -> bytes:
            answer = bytearray(healthy(unit, pdu))
            if len(answer) > 30:
                answer[26:28] = (700).to_bytes(2, "big")  # 70 V
            return bytes(answer)

        async with Server(low) as server:
            meter = meter_at(server)
            for action in SwitchAction:
                with pytest.raises(LinkRefused, match="voltage_mv is 70000"):
                    await meter.command(action, expires_in_s=5)
            server.answer = healthy
            await meter.read()
            server.answer = low
            await meter.read()
            with pytest.raises(LinkRefused, match="nothing was sent"):
                await meter.command(SwitchAction.DISCONNECT, expires_in_s=5)
            assert writes(server) == []
            await meter.command(SwitchAction.CONNECT, expires_in_s=5)  # the map has proved right before
            assert len(writes(server)) == 1

    async def test_an_expired_command_is_not_sent(self):
        async with Server(lambda unit, pdu: None) as server:
            meter = meter_at(server, timeout_ms=500)
            poll = asyncio.create_task(meter.read())
            async with asyncio.timeout(5):
                while not server.requests:
                    await pause(0.01)
            with pytest.raises(LinkTimeout, match="nothing was sent"):
                await meter.command(SwitchAction.CONNECT, expires_in_s=0.05)
            with pytest.raises(LinkTimeout):
                await poll
            assert writes(server) == []

    async def test_a_cancelled_read_leaves_the_line_usable(self):
        silent = [True]
        async with Server(lambda unit, pdu: None if silent[0] else healthy(unit, pdu)) as server:
            meter = meter_at(server, timeout_ms=10_000)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await meter.read()
            silent[0] = False
            async with asyncio.timeout(5):
                assert (await meter.read()).relay is ON

    async def test_unit_zero_and_others_that_do_not_exist(self):
        line = ModbusLine(host="127.0.0.1", port=1, pause=pause)
        for unit in (0, 248, -1):
            with pytest.raises(ValueError, match="1 to 247"):
                ModbusMeter(line, PROFILES[DDS], unit)
        with pytest.raises(ValueError, match="relay board"):
            ModbusMeter(line, PROFILES[SDM], 1)
        with pytest.raises(ValueError, match="channels 0 to 29"):
            ModbusMeter(line, PROFILES[SDM], 1, 2, 31)

    async def test_a_serial_line_that_is_not_there(self, tmp_path: Path):
        line = ModbusLine(device=str(tmp_path / "ttyUSB9"), pause=pause)
        with pytest.raises(LinkDown, match="ttyUSB9"):
            await ModbusMeter(line, PROFILES[DDS], 1).read()

    async def test_no_delay_on_the_socket(self):
        async with Server(healthy) as server:
            meter = meter_at(server)
            await meter.read()
            transport = meter._line._client.ctx.transport
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
