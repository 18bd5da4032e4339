"""Simulated Tasmota plugs on a real broker."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomqtt

from edge.clock import pause
from edge.settings import packaged_config
from meter_sim.faults import FaultKind
from meter_sim.feeder import parse_feeder
from meter_sim.mqtt_meter import TasmotaPlug
from meter_sim.running import RunningFeeder, running_feeder
from protocols.link import RelayState
from protocols.profile import load_profiles

PROFILES = load_profiles(packaged_config() / "meters")


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@asynccontextmanager
async def mosquitto(folder: Path, port: int) -> AsyncIterator[None]:
    """A broker of the test's own; it listens when the block begins."""
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = await asyncio.create_subprocess_exec(
        "/usr/sbin/mosquitto", "-c", str(folder / "mosquitto.conf"), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await pause(0.02)
                else:
                    writer.close()
                    break
        yield
    finally:
        process.terminate()
        await process.wait()


class Bench:
    """Two plugs on a broker, somebody who listens to everything, and a time that stands still."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.time = datetime(2026, 7, 1, 12, tzinfo=UTC)
        self.running: RunningFeeder
        self.client: aiomqtt.Client

    def now(self) -> datetime:
        return self.time

    def feeder(self):
        return parse_feeder(
            {
                "lines": [{"id": "mq", "transport": "mqtt", "port": self.port, "tele_period_seconds": 0}],
                "meters": [
                    {
                        "id": f"P{number}",
                        "profile": "tasmota-plug",
                        "line": "mq",
                        "topic": f"plug-{number}",
                        "load": 600,
                        "initial_register_wh": 5000,
                        "serial": f"0000{number}",
                    }
                    for number in (1, 2)
                ],
            },
            "test.toml",
        )

    def run(self):
        return running_feeder(self.feeder(), profiles=PROFILES, now=self.now, pause=pause)

    async def next(self, topic: str) -> str:
        """The next message on ``topic``; others are passed over."""
        async with asyncio.timeout(5):
            async for message in self.client.messages:
                if str(message.topic) == topic:
                    return message.payload.decode()
        raise AssertionError

    async def send(self, command: str, payload: str, plug: str = "plug-1", **options) -> None:
        await self.client.publish(f"cmnd/{plug}/{command}", payload, **options)

    async def ask(self, command: str, payload: str, answer: str) -> dict:
        await self.send(command, payload)
        return json.loads(await self.next(f"stat/plug-1/{answer}"))


@asynccontextmanager
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    b = Bench(a_free_port())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(mosquitto(tmp_path, b.port))
        b.client = await stack.enter_async_context(aiomqtt.Client("127.0.0.1", b.port))
        await b.client.subscribe("#", qos=1)
        b.running = await stack.enter_async_context(b.run())
        yield b


async def test_power_is_switched_asked_and_toggled_and_answered_twice(tmp_path: Path):
    async with bench(tmp_path) as b:
        plug = b.running.meters["P1"]
        for payload, state, relay in (
            ("OFF", "OFF", RelayState.DISCONNECTED),
            ("", "OFF", RelayState.DISCONNECTED),
            ("on", "ON", RelayState.CONNECTED),
            ("TOGGLE", "OFF", RelayState.DISCONNECTED),
            ("nonsense", "OFF", RelayState.DISCONNECTED),
        ):
            assert await b.ask("POWER", payload, "RESULT") == {"POWER": state}
            assert await b.next("stat/plug-1/POWER") == state
            b.time += timedelta(seconds=1)
            assert plug.values(b.time).relay is relay
        assert b.running.meters["P2"].relay is RelayState.CONNECTED
        assert [change.cause.value for change in plug.transitions] == ["initial", "command", "command", "command"]


async def test_status_tells_sensors_state_and_network(tmp_path: Path):
    async with bench(tmp_path) as b:
        b.time += timedelta(hours=2)
        energy = (await b.ask("Status", "10", "STATUS10"))["StatusSNS"]["ENERGY"]
        assert (energy["Total"], energy["Today"], energy["Power"], energy["Voltage"]) == (6.2, 1.2, 600, 120)
        assert (await b.ask("Status", "8", "STATUS8"))["StatusSNS"]["ENERGY"] == energy
        assert (await b.ask("Status", "11", "STATUS11"))["StatusSTS"]["POWER"] == "ON"
        assert (await b.ask("Status", "5", "STATUS5"))["StatusNET"]["Mac"] == "02:30:30:30:30:31"
        assert await b.ask("Foo", "", "RESULT") == {"Command": "Unknown"}
        await b.ask("POWER", "OFF", "RESULT")
        b.time += timedelta(seconds=1)
        energy = (await b.ask("Status", "10", "STATUS10"))["StatusSNS"]["ENERGY"]
        assert (energy["Total"], energy["Power"], energy["Current"], energy["Voltage"]) == (6.2, 0, 0, 0)


async def test_tele_period_is_told_set_and_sends_telemetry_at_once(tmp_path: Path):
    async with bench(tmp_path) as b:
        assert await b.next("tele/plug-1/SENSOR")  # at start
        for payload, period in (("", 0), ("60", 60), ("3", 10), ("1", 300), ("9999", 300), ("many", 300)):
            assert await b.ask("TelePeriod", payload, "RESULT") == {"TelePeriod": period}
            assert json.loads(await b.next("tele/plug-1/STATE"))["POWER"] == "ON"
            assert json.loads(await b.next("tele/plug-1/SENSOR"))["ENERGY"]["Total"] == 5.0


async def test_telemetry_comes_every_tele_period(tmp_path: Path):
    async with bench(tmp_path) as b:
        plug = TasmotaPlug(
            b.running.meters["P1"], "plug-9", broker=("127.0.0.1", b.port), now=b.now, pause=pause, tele_period_s=1
        )
        serving = asyncio.create_task(plug.run())
        for _ in range(3):
            assert await b.next("tele/plug-9/SENSOR")
        serving.cancel()
        await asyncio.wait([serving])


async def test_presence_is_retained_and_a_broken_session_is_told_by_the_will(tmp_path: Path):
    async with bench(tmp_path) as b:
        assert await b.next("tele/plug-1/LWT") == "Online"
        async with aiomqtt.Client("127.0.0.1", b.port, identifier="tasmota-plug-1"):  # the broker throws the plug out
            assert await b.next("tele/plug-1/LWT") == "Offline"
        assert await b.next("tele/plug-1/LWT") == "Online"
        assert await b.ask("POWER", "", "RESULT") == {"POWER": "ON"}
        async with aiomqtt.Client("127.0.0.1", b.port) as late:
            await late.subscribe("tele/+/LWT")
            kept = [await anext(late.messages) for _ in range(2)]
        assert {(str(one.topic), one.payload, one.retain) for one in kept} == {
            ("tele/plug-1/LWT", b"Online", True),
            ("tele/plug-2/LWT", b"Online", True),
        }


async def test_a_plug_that_is_stopped_says_goodbye(tmp_path: Path):
    async with bench(tmp_path) as b:
        async with running_feeder(
            parse_feeder(json.loads(b.feeder().model_dump_json(exclude_unset=True).replace("plug-", "other-")), "t"),
            profiles=PROFILES,
            now=b.now,
            pause=pause,
        ):
            assert await b.next("tele/other-1/LWT") == "Online"
        assert await b.next("tele/other-1/LWT") == "Offline"


async def test_a_retained_command_is_obeyed_as_the_device_does(tmp_path: Path):
    b = Bench(a_free_port())
    async with mosquitto(tmp_path, b.port), aiomqtt.Client("127.0.0.1", b.port) as b.client:
        await b.send("POWER", "OFF", retain=True)
        await b.client.subscribe("stat/#")
        async with b.run() as b.running:
            assert await b.next("stat/plug-1/POWER") == "OFF"


async def test_a_broker_may_come_late_and_go_away(tmp_path: Path):
    b = Bench(a_free_port())
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def serve() -> None:
        async with b.run():
            entered.set()
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        await pause(0.5)  # long enough to be refused more than once
        assert not entered.is_set()
        for _ in range(2):
            async with mosquitto(tmp_path, b.port), aiomqtt.Client("127.0.0.1", b.port) as b.client:
                async with asyncio.timeout(10):
                    await entered.wait()
                    await b.client.subscribe("tele/plug-2/LWT")
                    async for message in b.client.messages:
                        if message.payload == b"Online":
                            break
        leave.set()


async def test_a_dead_plug_is_silent_and_a_garbled_one_talks_rubbish(tmp_path: Path):
    async with bench(tmp_path) as b:
        b.running.meters["P1"].fault = FaultKind.DEAD
        await b.send("POWER", "OFF")
        await b.send("POWER", "", "plug-2")
        assert await b.next("stat/plug-2/POWER") == "ON"
        assert b.running.meters["P1"].commanded is RelayState.CONNECTED
        b.running.meters["P1"].fault = FaultKind.GARBAGE
        await b.send("Status", "10")
        answer = await b.next("stat/plug-1/STATUS10")
        assert answer.startswith('{"StatusSNS"')
        assert not answer.endswith("}")
        b.running.meters["P1"].fault = FaultKind.STUCK_RELAY
        assert await b.ask("POWER", "OFF", "RESULT") == {"POWER": "OFF"}
        b.time += timedelta(seconds=1)
        assert (await b.ask("Status", "10", "STATUS10"))["StatusSNS"]["ENERGY"]["Power"] == 600


async def test_a_plug_out_of_reach_loses_its_session_and_comes_back(tmp_path: Path):
    async with bench(tmp_path) as b:
        assert await b.next("tele/plug-1/LWT") == "Online"
        b.running.meters["P1"].begin_fault(FaultKind.OFFLINE, b.time)
        assert await b.next("tele/plug-1/LWT") == "Offline"
        b.running.meters["P1"].end_fault()
        assert await b.next("tele/plug-1/LWT") == "Online"
        assert await b.ask("POWER", "OFF", "RESULT") == {"POWER": "OFF"}


async def test_small_answers_are_not_held_back_by_the_socket(tmp_path: Path):
    async with bench(tmp_path) as b:
        plug = TasmotaPlug(
            b.running.meters["P1"], "plug-9", broker=("127.0.0.1", b.port), now=b.now, pause=pause, tele_period_s=0
        )
        async with plug._client() as client:
            assert client._client.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
