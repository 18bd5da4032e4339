"""MQTT: the session with the head end, and meters on a broker. The only module that knows aiomqtt on this side.

Both keep a connection for as long as they run: after a loss they wait a little longer each time and connect anew.
TCP_NODELAY is set on every socket; without it a command and its answer take 88 ms instead of 1 (performance.md, 2).
"""

import asyncio
import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from protocols.link import HeadEndMessage, LinkDown, LinkTimeout
from protocols.messages import is_retained, topic_in, topic_out
from protocols.profile_schema import Profile
from protocols.tasmota import Handler, OnTelemetry, TasmotaMeter

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]

_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_LASTING_S = 10.0  # a connection that lasted so long was a good one: the next attempt comes soon
_ANSWER_S = 5.0  # how long the broker may take for an acknowledgement
_WRONG_PROTOCOL = (1, 132)  # CONNACK of a broker that does not speak version 5: its 3.1.1 and its 5 form
_SILENCE_S = 1.0  # after so long without a message, the broker has sent what it had kept
_TOPICS_A_SUBSCRIPTION = 100


class _HungUp(aiomqtt.MqttError):
    """The broker closed the connection instead of answering the first packet."""


class Client(aiomqtt.Client):
    """aiomqtt's client without two of its weaknesses.

    It notices at once when the broker hangs up instead of answering, where aiomqtt would wait all its time; and it is
    always cancelled when it is told to, where on Python 3.11 a cancellation in the instant of an answer gets lost.
    """

    def _on_disconnect(self, *told: Any) -> None:
        if self._connected.done():
            super()._on_disconnect(*told)
        else:
            self._connected.set_exception(_HungUp("the broker closed the connection without an answer"))

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:
        seconds = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                return await fut
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and how to log in. ``port`` 0: ``host`` is the path of a unix socket."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: int = 10

    def client(self, identifier: str, protocol: aiomqtt.ProtocolVersion, *, clean: bool) -> aiomqtt.Client:
        """A client for one connection. ``clean`` False: the broker keeps the session (3.1.1)."""
        tls = self.ca_file is not None or self.cert_file is not None
        return Client(
            self.host,
            self.port or 1883,
            transport="tcp" if self.port else "unix",
            identifier=identifier,
            username=self.username,
            password=self.password,
            protocol=protocol,
            clean_session=clean if protocol is aiomqtt.ProtocolVersion.V311 else None,
            tls_params=aiomqtt.TLSParameters(
                ca_certs=self.ca_file,
                certfile=self.cert_file,
                keyfile=self.key_file,
                cert_reqs=ssl.CERT_REQUIRED,
            )
            if tls
            else None,
            socket_options=[_NO_DELAY] if self.port else [],
            keepalive=self.keepalive_s,
            timeout=_ANSWER_S,
        )


class _Patience:
    """How long to wait before the next connection: longer each time, short again after one that lasted."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._failures = 0
        self._since = 0.0

    def connected(self) -> None:
        """A connection stands."""
        self._since = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        """Wait before the next attempt."""
        if self._since and asyncio.get_running_loop().time() - self._since >= _LASTING_S:
            self._failures = 0
        self._since = 0.0
        await self._pause(_BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)])
        self._failures += 1


async def _subscribe(client: aiomqtt.Client, topics: list[Any]) -> None:
    """Subscribe, and make sure that the broker granted it. Raises aiomqtt.MqttError."""
    for start in range(0, len(topics), _TOPICS_A_SUBSCRIPTION):
        granted = await client.subscribe(topics[start : start + _TOPICS_A_SUBSCRIPTION])
        if any(getattr(code, "value", code) >= 128 for code in granted):
            raise aiomqtt.MqttError("the broker refuses a subscription")


def _stands(client: aiomqtt.Client) -> bool:
    """Whether the connection has not been lost; aiomqtt itself tells only who waits for a message."""
    return not client._disconnected.done()


class HeadEndSession:
    """The persistent session with the head end; a ``HeadEndLink``.

    The broker keeps what comes while the gateway is away, under a client id that depends only on the gateway's id. A
    message is acknowledged by hand, after ``acknowledge``: aiomqtt would do it before anybody has seen the message
    (``meter-protocols`` Q6), so this class uses paho's manual acknowledgement beneath it.
    """

    def __init__(self, broker: Broker, gateway_id: str, *, pause: Pause) -> None:
        self._broker = broker
        self._gateway_id = gateway_id
        self._patience = _Patience(pause)
        self._client: aiomqtt.Client | None = None
        self._handed_over = 0  # messages given to the daemon in this session
        self._acknowledged = 0
        self._heard_out = False

    @property
    def connected(self) -> bool:
        """Whether the session stands and what the broker had kept for us has been taken.

        Until then a payment may be on its way that was made while we were gone.
        """
        return self._heard_out and self._client is not None and _stands(self._client)

    def _look_for_silence(self, client: aiomqtt.Client, handed_over_before: int) -> None:
        """The kept messages are over once nothing has come for a while and nothing is still being worked on."""
        if client is not self._client:
            return
        silent = self._handed_over == handed_over_before == self._acknowledged and not len(client.messages)
        if silent:
            self._heard_out = True
        else:
            asyncio.get_running_loop().call_later(_SILENCE_S, self._look_for_silence, client, self._handed_over)

    async def messages(self) -> AsyncIterator[HeadEndMessage]:
        """Messages as they come, over as many reconnections as it takes; ends only when it is cancelled."""
        prefix = topic_in(self._gateway_id, "")
        while True:
            try:
                async with self._new_client() as client:
                    self._patience.connected()
                    await _subscribe(client, [(topic_in(self._gateway_id, "#"), 1)])
                    self._client, self._heard_out = client, False
                    self._handed_over = self._acknowledged = 0
                    asyncio.get_running_loop().call_later(_SILENCE_S, self._look_for_silence, client, 0)
                    async for message in client.messages:
                        kind = str(message.topic).removeprefix(prefix)
                        self._handed_over += 1
                        yield HeadEndMessage(kind, _bytes(message), message.retain, (client, message.mid, message.qos))
            except aiomqtt.MqttError:
                pass  # what was not acknowledged comes again
            finally:
                self._client = None
            await self._patience.wait()

    def _new_client(self) -> aiomqtt.Client:
        client = self._broker.client(f"ami-edge-{self._gateway_id}", aiomqtt.ProtocolVersion.V311, clean=False)
        client._client.manual_ack_set(True)
        return client

    async def acknowledge(self, message: HeadEndMessage) -> None:
        """Tell the broker that the message need not come again. Harmless when the session is gone meanwhile."""
        assert isinstance(message.token, tuple)
        client, message_number, qos = message.token
        if isinstance(client, aiomqtt.Client) and client is self._client and _stands(client):
            client._client.ack(message_number, qos)
            self._acknowledged += 1

    async def publish(self, kind: str, payload: bytes) -> None:
        """Publish on ``out/<kind>``, at least once; returns when the broker has it. Only ``display/…`` is retained.

        Raises LinkDown or LinkTimeout.
        """
        client = self._client
        if client is None or not _stands(client):
            raise LinkDown("there is no session with the broker")
        try:
            await client.publish(topic_out(self._gateway_id, kind), payload, qos=1, retain=is_retained(kind))
        except aiomqtt.MqttCodeError as problem:
            raise LinkDown(f"the broker's session was lost: {problem}") from None
        except aiomqtt.MqttError:
            raise LinkTimeout(f"the broker did not acknowledge within {_ANSWER_S} s") from None


def _bytes(message: aiomqtt.Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""


class MqttMeters:
    """One connection to the broker for all MQTT meters of a gateway. ``run`` keeps it until it is cancelled.

    The session is clean: nothing is kept for us, and what is old is not heard again. Version 5 is used where the broker
    speaks it, so that commands expire (``meter-protocols`` Q4).
    """

    def __init__(
        self, broker: Broker, gateway_id: str, *, pause: Pause, on_telemetry: OnTelemetry | None = None
    ) -> None:
        """``on_telemetry``: called with the meter's id and what it reported unasked; the relay is not told there."""
        self._broker = broker
        self._identifier = f"ami-edge-{gateway_id}-meters"
        self._patience = _Patience(pause)
        self._on_telemetry = on_telemetry
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._client: aiomqtt.Client | None = None
        self._ready = asyncio.Event()
        self._handlers: dict[str, Handler] = {}
        self._meters: list[TasmotaMeter] = []

    @property
    def connected(self) -> bool:
        """Whether the connection stands and its subscriptions are confirmed."""
        return self._client is not None and _stands(self._client)

    def add(self, meter_id: str, profile: Profile, device: str) -> TasmotaMeter:
        """A meter on this connection; ``device`` is its part of the topics. Before ``run``."""
        meter = TasmotaMeter(self, meter_id, profile, device)
        self._meters.append(meter)
        self._handlers |= meter.handlers(self._on_telemetry)
        return meter

    async def run(self) -> None:
        """Keep the connection, however often it is lost, until cancelled."""
        while True:
            try:
                async with self._broker.client(self._identifier, self._protocol, clean=True) as client:
                    self._patience.connected()
                    for meter in self._meters:
                        meter.forget()
                    await _subscribe(client, [self._subscription(topic) for topic in self._handlers])
                    self._client = client
                    self._ready.set()
                    async for message in client.messages:
                        if handle := self._handlers.get(str(message.topic)):
                            handle(_bytes(message), message.retain)
            except MqttConnectError as problem:
                code = getattr(problem.rc, "value", problem.rc)
                if code in _WRONG_PROTOCOL:
                    self._protocol = aiomqtt.ProtocolVersion.V311
            except _HungUp:  # some brokers of 3.1.1 do so on version 5
                old, new = aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5
                self._protocol = old if self._protocol is new else new
            except aiomqtt.MqttError:
                pass
            finally:
                self._client = None
                self._ready.clear()
                for meter in self._meters:
                    meter.lost()
            await self._patience.wait()

    def _subscription(self, topic: str) -> tuple[str, Any]:
        """In version 5 our own messages stay away, and a message that is retained says so even when it is new."""
        if self._protocol is aiomqtt.ProtocolVersion.V5:
            return topic, SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True)
        return topic, 1

    async def wait_ready(self) -> None:
        """Until the connection stands."""
        await self._ready.wait()

    async def audit(self, topic: str) -> None:
        """Hear again what is retained on a topic, before anything that is asked afterwards. Raises LinkDown."""
        try:
            await _subscribe(self._standing(), [self._subscription(topic)])
        except aiomqtt.MqttError as problem:
            raise LinkDown(f"the broker's session was lost: {problem}") from None

    async def send(self, topic: str, payload: str, expires_in_s: float) -> None:
        """Publish once, at most once, never retained; version 5 lets it expire. Raises LinkDown."""
        client = self._standing()
        properties = None
        if self._protocol is aiomqtt.ProtocolVersion.V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = max(1, math.ceil(expires_in_s))
        try:
            await client.publish(topic, payload, qos=0, retain=False, properties=properties)
        except aiomqtt.MqttError as problem:
            raise LinkDown(f"the broker's session was lost: {problem}") from None

    def _standing(self) -> aiomqtt.Client:
        if self._client is None or not _stands(self._client):
            raise LinkDown("there is no connection to the broker")
        return self._client
