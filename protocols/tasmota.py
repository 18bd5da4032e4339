"""Meters with Tasmota's firmware, on whatever connection carries their topics and payloads."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from protocols import device_messages
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
from protocols.profile_schema import Mqtt, Profile
from protocols.turns import Turn, Turns

Handler = Callable[[bytes, bool], None]
"""What to do with a message: its payload, and whether the broker had retained it."""

OnTelemetry = Callable[[str, Readout], None]


class Connection(Protocol):
    """What a device needs of the broker."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands and its subscriptions are confirmed."""
        ...

    async def wait_ready(self) -> None:
        """Until the connection stands."""
        ...

    async def audit(self, topic: str) -> None:
        """Hear again what is retained on a topic, before anything that is asked afterwards. Raises LinkDown."""
        ...

    async def send(self, topic: str, payload: str, expires_in_s: float) -> None:
        """Publish once, at most once, never retained, to expire where that can be said. Raises LinkDown."""
        ...


class TasmotaMeter:
    """One device with Tasmota's topics; a ``MeterLink``. Only absolute commands, only while the device is there.

    An answer counts if it is not retained and came after the question (``meter-protocols`` Q11). A disconnect is
    refused while a retained message stands on the command topic: the device would obey it at every start, whatever we
    decide (3.1). A reconnect is sent all the same.
    """

    def __init__(self, connection: Connection, meter_id: str, profile: Profile, device: str) -> None:
        """``profile``: an MQTT one. Raises ValueError for another."""
        if profile.mqtt is None:
            raise ValueError(f"profile {profile.id} is not for MQTT")
        self.meter_id = meter_id
        self._connection = connection
        self._mqtt: Mqtt = profile.mqtt
        self._can_switch = profile.can_switch
        self._timeout_s = profile.timing.timeout_ms / 1000
        self._topics = device_messages.topics_of(profile.mqtt, device)
        self._name = f"{meter_id} ({device})"
        self._turns = Turns()
        self._reply: asyncio.Future[bytes] | None = None
        self._relay: asyncio.Future[bytes] | None = None
        self._online: bool | None = None
        self._heard = False
        self._stale_command = False

    def handlers(self, on_telemetry: OnTelemetry | None) -> dict[str, Handler]:
        """What to do with a message, by topic."""
        handlers: dict[str, Handler] = {
            self._topics.presence: self._on_presence,
            self._topics.reply: lambda payload, retained: self._on_answer(payload, retained, self._reply),
            self._topics.relay_state: lambda payload, retained: self._on_answer(payload, retained, self._relay),
            self._topics.command: self._on_command,
        }
        if on_telemetry is not None:
            handlers[self._topics.telemetry] = lambda payload, retained: self._on_telemetry(
                payload, retained, on_telemetry
            )
        return handlers

    def expect_serial(self, serial: str) -> None:
        """These devices tell no serial number; their topic is their name."""

    def forget(self) -> None:
        """A new connection: what the broker retains is about to be told."""
        self._online, self._heard, self._stale_command = None, False, False

    def lost(self) -> None:
        """The connection is gone: nobody answers any more."""
        for waiting in (self._reply, self._relay):
            if waiting is not None and not waiting.done():
                waiting.set_exception(LinkDown(f"{self._name}: the connection to the broker was lost"))

    def _on_presence(self, payload: bytes, retained: bool) -> None:  # noqa: ARG002 - a last will is retained
        text = payload.decode("utf-8", "replace")
        self._online = {self._mqtt.payloads.online: True, self._mqtt.payloads.offline: False}.get(text)

    def _on_command(self, payload: bytes, retained: bool) -> None:
        if retained:
            self._stale_command = bool(payload)  # an empty one has cleared it

    def _on_answer(self, payload: bytes, retained: bool, waiting: "asyncio.Future[bytes] | None") -> None:
        if retained:
            return
        self._heard = True
        if waiting is not None and not waiting.done():
            waiting.set_result(payload)

    def _on_telemetry(self, payload: bytes, retained: bool, tell: OnTelemetry) -> None:
        if retained:
            return
        try:
            tell(self.meter_id, device_messages.readout(self._mqtt, payload, RelayState.UNKNOWN, reply=False))
        except LinkGarbled:
            return  # the next query tells whoever waits for it

    async def read(self) -> Readout:
        """Ask for register, power and relay once. Raises LinkError."""
        await self._turns.take(Turn.POLL)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._look_out()
                reply, relay = await self._ask_all()
                return self._named(reply, device_messages.relay_state(self._mqtt, relay))
        except TimeoutError:
            raise self._silence() from None
        finally:
            self._stop_waiting()

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone, before waiting polls. Raises LinkError."""
        await self._turns.take(Turn.RECONNECT)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._look_out()
                return await self._ask_relay(self._mqtt.payloads.relay_query, self._timeout_s)
        except TimeoutError:
            raise self._silence() from None
        finally:
            self._stop_waiting()

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Send the absolute command exactly once and wait for the device's word. Raises LinkError."""
        if not self._can_switch:
            raise LinkRefused(f"{self._name}: the profile gives no command for the relay")
        payloads = self._mqtt.payloads
        payload = payloads.disconnect if action is SwitchAction.DISCONNECT else payloads.connect
        deadline = asyncio.get_running_loop().time() + expires_in_s
        turn = Turn.RECONNECT if action is SwitchAction.CONNECT else Turn.DISCONNECT
        try:
            async with asyncio.timeout(max(0.0, expires_in_s)):
                await self._turns.take(turn)
        except TimeoutError:
            raise LinkTimeout(f"{self._name}: the device was not free in {expires_in_s} s; nothing was sent") from None
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._look_out()
                await self._check_before(action)
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                raise LinkTimeout(f"{self._name}: the command expired before it could be sent; nothing was sent")
            async with asyncio.timeout(self._timeout_s):
                await self._ask_relay(payload, remaining)
        except TimeoutError:
            raise self._silence() from None
        finally:
            self._stop_waiting()

    async def _check_before(self, action: SwitchAction) -> None:
        if self._stale_command:
            self._stale_command = False
            await self._connection.audit(self._topics.command)  # it may have been cleared meanwhile
            await self._ask_all()  # its answer comes after what is retained
        elif not self._heard:  # nothing in this session yet: whoever is silent now could not obey either
            await self._ask_relay(self._mqtt.payloads.relay_query, self._timeout_s)
        if self._stale_command and action is SwitchAction.DISCONNECT:
            raise LinkRefused(
                f"{self._name}: a retained message stands on {self._topics.command}, which the device obeys at every "
                "start; clear it with an empty retained message; nothing was sent"
            )

    async def _look_out(self) -> None:
        await self._connection.wait_ready()
        if self._online is False:
            raise LinkDown(f"{self._name}: the device is offline")

    async def _ask_all(self) -> tuple[bytes, bytes]:
        """The device's answers to both questions, asked together: its values, its relay."""
        self._reply, self._relay = _future(), _future()
        await self._connection.send(self._topics.query, self._mqtt.payloads.query, self._timeout_s)
        await self._connection.send(self._topics.command, self._mqtt.payloads.relay_query, self._timeout_s)
        await asyncio.wait((self._reply, self._relay), return_when=asyncio.FIRST_EXCEPTION)
        return await self._reply, await self._relay

    async def _ask_relay(self, payload: str, expires_in_s: float) -> RelayState:
        self._relay = _future()
        await self._connection.send(self._topics.command, payload, expires_in_s)
        return device_messages.relay_state(self._mqtt, await self._relay)

    def _named(self, reply: bytes, relay: RelayState) -> Readout:
        try:
            return device_messages.readout(self._mqtt, reply, relay, reply=True)
        except LinkGarbled as problem:
            raise LinkGarbled(f"{self._name}: {problem}") from None

    def _silence(self) -> LinkError:
        if not self._connection.connected:
            return LinkDown(f"{self._name}: there is no connection to the broker")
        return LinkTimeout(f"{self._name}: no answer within {self._timeout_s} s")

    def _stop_waiting(self) -> None:
        for waiting in (self._reply, self._relay):
            if waiting is not None and waiting.done() and not waiting.cancelled():
                waiting.exception()  # seen
        self._reply = self._relay = None
        self._turns.give_back()


def _future() -> "asyncio.Future[bytes]":
    return asyncio.get_running_loop().create_future()
