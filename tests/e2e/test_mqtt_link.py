"""The head end's session and MQTT meters, on a real mosquitto."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from edge.clock import SystemClock, pause
from edge.settings import packaged_config
from meter_sim.faults import FaultKind
from meter_sim.household import ConstantLoad
from meter_sim.meter import SimulatedMeter
from meter_sim.mqtt_meter import TasmotaPlug
from protocols.link import HeadEndMessage, LinkDown, LinkGarbled, LinkRefused, LinkTimeout, RelayState, SwitchAction
from protocols.mqtt import Broker, HeadEndSession, MqttMeters
from protocols.profile import load_profiles
from protocols.tasmota import TasmotaMeter
from tests.brokers import RunningBroker, mosquitto

ON, OFF = RelayState.CONNECTED, RelayState.DISCONNECTED
CLOCK = SystemClock("always")
PROFILE = load_profiles(packaged_config() / "meters")["tasmota-plug"]
PROFILE = PROFILE.model_copy(update={"timing": PROFILE.timing.model_copy(update={"timeout_ms": 1000})})


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(15):
        while not condition():
            await pause(0.01)


@asynccontextmanager
async def client_of(broker: RunningBroker) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(broker.host, broker.port, timeout=5) as client:
        yield client


class Consumer:
    """Takes messages from a session, as the daemon does, until it is killed."""

    def __init__(self, broker: RunningBroker, *, acknowledge: bool, keepalive_s: int = 10) -> None:
        address = Broker(broker.host, broker.port, keepalive_s=keepalive_s)
        self.session = HeadEndSession(address, "gw1", pause=pause)
        self.got: list[HeadEndMessage] = []
        self._acknowledge = acknowledge
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Consumer":
        self._task = asyncio.create_task(self._run())
        await until(lambda: self.session.connected)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with aclosing(self.session.messages()) as messages:  # type: ignore[type-var]
            async for message in messages:
                self.got.append(message)
                if self._acknowledge:
                    await self.session.acknowledge(message)

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.got]


class TestHeadEnd:
    async def test_messages_come_with_their_kind(self, broker: RunningBroker):
        async with Consumer(broker, acknowledge=True) as consumer, client_of(broker) as head_end:
            await head_end.publish("ami/v1/gw1/in/payments", b"{}", qos=1)
            await head_end.publish("ami/v1/gw2/in/payments", b"other", qos=1)
            await head_end.publish("ami/v1/gw1/in/weather/forecast", b"x", qos=1)
            await until(lambda: len(consumer.got) == 2)
            assert [message.kind for message in consumer.got] == ["payments", "weather/forecast"]
            assert not consumer.got[0].retained

    async def test_what_was_not_acknowledged_comes_again_after_the_consumer_was_killed(self, broker: RunningBroker):
        async with Consumer(broker, acknowledge=False) as consumer, client_of(broker) as head_end:
            for number in range(3):
                await head_end.publish("ami/v1/gw1/in/payments", str(number), qos=1)
            await until(lambda: len(consumer.got) == 3)
            await consumer.session.acknowledge(consumer.got[0])
        async with Consumer(broker, acknowledge=True) as consumer:
            await until(lambda: len(consumer.got) == 2)
            assert consumer.payloads() == [b"1", b"2"]
            await consumer.session.acknowledge(consumer.got[0])  # twice: harmless
        async with Consumer(broker, acknowledge=True) as consumer, client_of(broker) as head_end:
            await head_end.publish("ami/v1/gw1/in/payments", "last", qos=1)
            await until(lambda: consumer.got)
            assert consumer.payloads() == [b"last"]

    async def test_what_came_while_the_gateway_was_away_is_kept(self, broker: RunningBroker):
        async with Consumer(broker, acknowledge=True):
            pass
        async with client_of(broker) as head_end:
            await head_end.publish("ami/v1/gw1/in/payments", b"meanwhile", qos=1)
        async with Consumer(broker, acknowledge=True) as consumer:
            await until(lambda: consumer.got)
            assert consumer.payloads() == [b"meanwhile"]

    async def test_a_broker_that_goes_and_comes_back(self, tmp_path: Path):
        with mosquitto(tmp_path, persistence=True) as broker:
            async with Consumer(broker, acknowledge=False) as consumer:
                async with client_of(broker) as head_end:
                    await head_end.publish("ami/v1/gw1/in/payments", b"first", qos=1)
                    await until(lambda: consumer.got)
                lost = consumer.got[0]
                broker.stop()
                await until(lambda: not consumer.session.connected)
                with pytest.raises(LinkDown):
                    await consumer.session.publish("events", b"x")
                await consumer.session.acknowledge(lost)  # harmless
                broker.start()
                await until(lambda: len(consumer.got) == 2)
                await consumer.session.acknowledge(lost)  # of another connection: it must not acknowledge a new one
                assert consumer.payloads() == [b"first", b"first"]

    async def test_a_broker_that_is_not_there_yet(self, tmp_path: Path):
        with mosquitto(tmp_path) as broker:
            broker.stop()
            session = HeadEndSession(Broker(broker.host, broker.port), "gw1", pause=pause)

            async def consume() -> None:
                async for _ in session.messages():
                    pass

            task = asyncio.create_task(consume())
            await pause(0.3)
            assert not session.connected
            broker.start()
            await until(lambda: session.connected)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def test_a_broker_that_hangs_is_noticed(self, broker: RunningBroker):
        assert broker._process is not None
        async with Consumer(broker, acknowledge=True, keepalive_s=2) as consumer:
            broker._process.send_signal(19)  # SIGSTOP
            try:
                await until(lambda: not consumer.session.connected)
            finally:
                broker._process.send_signal(18)  # SIGCONT
            await until(lambda: consumer.session.connected)

    async def test_publishes_are_not_retained_and_delivered(self, broker: RunningBroker):
        async with Consumer(broker, acknowledge=True) as consumer, client_of(broker) as head_end:
            await head_end.subscribe("ami/v1/gw1/out/#", qos=1)
            await consumer.session.publish("receipts", b'{"a":1}')
            message = await asyncio.wait_for(anext(head_end.messages), 5)
            assert (str(message.topic), message.payload) == ("ami/v1/gw1/out/receipts", b'{"a":1}')
            await head_end.unsubscribe("ami/v1/gw1/out/#")
            await head_end.subscribe("ami/v1/gw1/out/#", qos=1)
            await consumer.session.publish("receipts", b"second")
            message = await asyncio.wait_for(anext(head_end.messages), 5)
            assert (message.payload, message.retain) == (b"second", False)

    async def test_no_delay_on_the_socket(self, broker: RunningBroker):
        async with Consumer(broker, acknowledge=True) as consumer:
            assert consumer.session._client is not None
            connection = consumer.session._client._client.socket()
            assert isinstance(connection, socket.socket)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


class Plugs:
    """Simulated plugs P1 and P2, and links to them on one connection."""

    def __init__(self, broker: RunningBroker) -> None:
        self.simulated = {
            name: SimulatedMeter(
                name,
                at=CLOCK.now(),
                load=ConstantLoad(600),
                initial_register_wh=5000,
                nominal_voltage_mv=120_000,
            )
            for name in ("P1", "P2")
        }
        address = (broker.host, broker.port)
        self.plugs = [
            TasmotaPlug(meter, f"plug-{name}", broker=address, now=CLOCK.now, pause=pause, tele_period_s=0)
            for name, meter in self.simulated.items()
        ]
        self.telemetry: list[tuple[str, int | None]] = []
        self.meters = MqttMeters(
            Broker(broker.host, broker.port),
            "gw1",
            pause=pause,
            on_telemetry=lambda meter_id, readout: self.telemetry.append((meter_id, readout.energy_import_wh)),
        )
        self.links: dict[str, TasmotaMeter] = {
            name: self.meters.add(name, PROFILE, f"plug-{name}") for name in (*self.simulated, "nobody")
        }

    def moved(self, name: str) -> RelayState:
        self.simulated[name].advance(CLOCK.now())
        return self.simulated[name].relay


@asynccontextmanager
async def plugs_on(broker: RunningBroker) -> AsyncIterator[Plugs]:
    plugs = Plugs(broker)
    tasks = [asyncio.create_task(plug.run()) for plug in plugs.plugs] + [asyncio.create_task(plugs.meters.run())]
    try:
        await until(lambda: plugs.meters.connected and all(plug.connected.is_set() for plug in plugs.plugs))
        yield plugs
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def plugs(broker: RunningBroker) -> AsyncIterator[Plugs]:
    async with plugs_on(broker) as running:
        yield running


@asynccontextmanager
async def refusing_version_5(broker: RunningBroker) -> AsyncIterator[int]:
    """A port behind which the broker speaks 3.1.1 only."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(4096)
        if first[8:9] == b"\x05":
            writer.write(b"\x20\x03\x00\x84\x00")
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(broker.host, broker.port)
        there_writer.write(first)
        async with asyncio.TaskGroup() as pumps:
            pumps.create_task(pump(reader, there_writer))
            pumps.create_task(pump(there_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class TestTasmota:
    async def test_a_broker_that_does_not_speak_version_5(self, plugs: Plugs, broker: RunningBroker):
        async with refusing_version_5(broker) as port:
            meters = MqttMeters(Broker(broker.host, port), "gw2", pause=pause)
            link = meters.add("P1", PROFILE, "plug-P1")
            task = asyncio.create_task(meters.run())
            await until(lambda: meters.connected)
            await link.command(SwitchAction.DISCONNECT, expires_in_s=5)
            await until(lambda: plugs.moved("P1") is OFF)
            assert (await link.read()).relay is OFF
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def test_reads_both(self, plugs: Plugs):
        first, second = await asyncio.gather(plugs.links["P1"].read(), plugs.links["P2"].read())
        assert first.energy_import_wh == 5000
        assert (first.power_w, first.voltage_mv, first.relay) == (600, 120_000, ON)
        assert second.relay is ON

    async def test_disconnects_and_connects(self, plugs: Plugs):
        link = plugs.links["P1"]
        await link.command(SwitchAction.DISCONNECT, expires_in_s=5)
        await until(lambda: plugs.moved("P1") is OFF)
        assert await link.read_relay() is OFF
        readout = await link.read()
        assert (readout.power_w, readout.voltage_mv, readout.relay) == (0, 0, OFF)
        await link.command(SwitchAction.CONNECT, expires_in_s=5)
        await until(lambda: plugs.moved("P1") is ON)
        assert await link.read_relay() is ON
        assert plugs.moved("P2") is ON

    async def test_a_silent_device_and_one_that_talks_nonsense(self, plugs: Plugs):
        plugs.simulated["P1"].fault = FaultKind.DEAD
        with pytest.raises(LinkTimeout, match="P1"):
            await plugs.links["P1"].read()
        with pytest.raises(LinkTimeout):
            await plugs.links["P1"].command(SwitchAction.DISCONNECT, expires_in_s=5)
        plugs.simulated["P1"].fault = FaultKind.GARBAGE
        with pytest.raises(LinkGarbled, match="P1"):
            await plugs.links["P1"].read()
        plugs.simulated["P1"].fault = None
        assert (await plugs.links["P1"].read()).relay is ON

    async def test_an_offline_device_is_never_commanded(self, plugs: Plugs, broker: RunningBroker):
        await plugs.links["P1"].read()
        async with client_of(broker) as client:
            await client.publish("tele/plug-P1/LWT", "Offline", qos=1, retain=True)
            await until(lambda: plugs.links["P1"]._online is False)
            with pytest.raises(LinkDown, match="offline"):
                await plugs.links["P1"].command(SwitchAction.DISCONNECT, expires_in_s=5)
            assert plugs.moved("P1") is ON
            await client.publish("tele/plug-P1/LWT", "Online", qos=1, retain=True)
            await until(lambda: plugs.links["P1"]._online)
        await plugs.links["P1"].command(SwitchAction.DISCONNECT, expires_in_s=5)

    async def test_nobody_there(self, plugs: Plugs):
        for action in SwitchAction:
            with pytest.raises(LinkTimeout):
                await plugs.links["nobody"].command(action, expires_in_s=5)

    async def test_commands_are_never_retained_and_sent_once(self, plugs: Plugs, broker: RunningBroker):
        async with client_of(broker) as client:
            await client.subscribe("cmnd/plug-P1/POWER")
            await plugs.links["P1"].read()
            await plugs.links["P1"].command(SwitchAction.DISCONNECT, expires_in_s=5)
            await plugs.links["P1"].read_relay()
            seen = [await asyncio.wait_for(anext(client.messages), 5) for _ in range(3)]
            assert [message.payload for message in seen] == [b"", b"OFF", b""]
        async with client_of(broker) as client:
            await client.subscribe("cmnd/#")
            await client.subscribe("ping")
            await client.publish("ping", b"end")
            assert str((await asyncio.wait_for(anext(client.messages), 5)).topic) == "ping"

    async def test_a_retained_command_stops_disconnects_until_it_is_cleared(self, broker: RunningBroker):
        async with client_of(broker) as client:
            await client.publish("cmnd/plug-P1/POWER", "ON", qos=1, retain=True)
            async with plugs_on(broker) as plugs:
                link = plugs.links["P1"]
                assert (await link.read()).relay is ON
                with pytest.raises(LinkRefused, match="retained message stands on cmnd/plug-P1/POWER"):
                    await link.command(SwitchAction.DISCONNECT, expires_in_s=5)
                await link.command(SwitchAction.CONNECT, expires_in_s=5)
                await plugs.links["P2"].command(SwitchAction.DISCONNECT, expires_in_s=5)
                assert plugs.moved("P1") is ON
                await client.publish("cmnd/plug-P1/POWER", b"", qos=1, retain=True)
                await link.command(SwitchAction.DISCONNECT, expires_in_s=5)
                await until(lambda: plugs.moved("P1") is OFF)

    async def test_an_old_retained_state_is_no_answer(self, plugs: Plugs, broker: RunningBroker):
        async with client_of(broker) as client:
            await client.publish("stat/plug-nobody/POWER", "ON", qos=1, retain=True)
            await client.publish("stat/plug-nobody/STATUS10", json.dumps({"StatusSNS": {}}), qos=1, retain=True)
        with pytest.raises(LinkTimeout):
            await plugs.links["nobody"].read_relay()

    async def test_telemetry(self, plugs: Plugs, broker: RunningBroker):
        async with client_of(broker) as client:
            await client.publish("tele/plug-nobody/SENSOR", b"nonsense")
            await client.publish("tele/plug-nobody/SENSOR", json.dumps({"ENERGY": {"Total": 1.5}}))
            await client.publish("cmnd/plug-P2/TelePeriod", b"")
            await until(lambda: {("P2", 5000), ("nobody", 1500)} <= set(plugs.telemetry))
        assert [told for told in plugs.telemetry if told[0] == "nobody"] == [("nobody", 1500)]

    async def test_a_broker_that_goes_and_comes_back(self, tmp_path: Path):
        with mosquitto(tmp_path) as broker:
            async with plugs_on(broker) as plugs:
                plugs.simulated["P1"].fault = FaultKind.DEAD
                waiting = asyncio.create_task(plugs.links["P1"].read())
                await pause(0.1)
                broker.stop()
                with pytest.raises(LinkDown):
                    await waiting
                with pytest.raises(LinkDown):
                    await plugs.links["P2"].read()
                broker.start()
                await until(lambda: plugs.meters.connected and plugs.plugs[1].connected.is_set())
                assert (await plugs.links["P2"].read()).relay is ON
