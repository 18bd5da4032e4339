"""Simulated Tasmota plugs on a real broker, each with a connection, a session and a last will of its own.

Topics and payloads are those of Tasmota's documentation (MQTT, Commands, JSON Status Responses; meter-protocols 3.1):
``cmnd/<topic>/POWER`` and its kin in, ``stat/<topic>/…`` and ``tele/<topic>/…`` out. As on the device, the state that
is reported is the one that was commanded, voltage reads 0 while the relay is off, and a retained command is obeyed.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import aiomqtt

from meter_sim.faults import SLOW_ANSWER_S, FaultKind
from meter_sim.meter import MeterValues, SimulatedMeter
from protocols.link import RelayState
from protocols.mqtt import Client

_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else an answer waits 40 ms for an acknowledgement
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_ON = frozenset({"ON", "1", "TRUE"})
_OFF = frozenset({"OFF", "0", "FALSE"})
_TOGGLE = frozenset({"TOGGLE", "2"})
_DEFAULT_TELE_PERIOD_S = 300

Now = Callable[[], datetime]
Pause = Callable[[float], Awaitable[None]]


class TasmotaPlug:
    """One plug. ``run`` serves it until it is cancelled; ``connected`` is set while its session stands."""

    def __init__(
        self, meter: SimulatedMeter, topic: str, *, broker: tuple[str, int], now: Now, pause: Pause, tele_period_s: int
    ) -> None:
        """``broker``: host and port, or the path of a unix socket and 0."""
        self.topic = topic
        self.connected = asyncio.Event()
        self._meter = meter
        self._broker = broker
        self._now = now
        self._pause = pause
        self._tele_period_s = tele_period_s
        self._tele_now = asyncio.Event()
        self._fault_changed = asyncio.Event()
        meter.fault_changed = self._fault_changed.set
        self._started_at = now()
        self._midnight = (self._started_at.date(), meter.values(self._started_at).energy_import_wh)

    async def run(self) -> None:
        """Keep a session with the broker, whether it is there already, away for a while or gone for long."""
        failures = 0
        while True:
            await self._until_offline_is(False)
            try:
                async with self._client() as client:
                    failures = 0
                    await self._serve(client)
            except* aiomqtt.MqttError:
                self.connected.clear()
            await self._pause(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            failures += 1

    def _client(self) -> aiomqtt.Client:
        host, port = self._broker
        return Client(
            host,
            port or 1883,
            transport="tcp" if port else "unix",
            identifier=f"tasmota-{self.topic}",
            will=aiomqtt.Will(f"tele/{self.topic}/LWT", "Offline", qos=1, retain=True),
            socket_options=[_NO_DELAY] if port else [],
            keepalive=30,
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        await client.subscribe(f"cmnd/{self.topic}/#", qos=1)
        await client.publish(f"tele/{self.topic}/LWT", "Online", qos=1, retain=True)
        self._tele_now.set()
        self.connected.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                telemetry = tasks.create_task(self._send_telemetry(client))
                session = tasks.create_task(self._lose_session())
                async for message in client.messages:
                    command = str(message.topic).rsplit("/", 1)[-1].upper()
                    payload = message.payload if isinstance(message.payload, bytes) else b""
                    await self._obey(client, command, payload.decode("utf-8", "replace").strip().upper())
                telemetry.cancel()
                session.cancel()
        finally:
            self.connected.clear()
            await self._say_goodbye(client)

    async def _until_offline_is(self, offline: bool) -> None:
        while (self._meter.fault is FaultKind.OFFLINE) is not offline:
            self._fault_changed.clear()
            await self._fault_changed.wait()

    async def _lose_session(self) -> None:
        """Raise what a lost connection raises once the meter is to be offline."""
        await self._until_offline_is(True)
        raise aiomqtt.MqttError("the plug is out of reach")

    async def _say_goodbye(self, client: aiomqtt.Client) -> None:
        """A session that is ended in good order has no last will: tell what it would have told."""
        try:
            async with asyncio.timeout(0.5):
                await client.publish(f"tele/{self.topic}/LWT", "Offline", qos=1, retain=True)
        except (aiomqtt.MqttError, TimeoutError):
            return  # then the will tells it

    async def _send_telemetry(self, client: aiomqtt.Client) -> None:
        """STATE and SENSOR every TelePeriod, and at once when asked."""
        while True:
            try:
                async with asyncio.timeout(self._tele_period_s or None):
                    await self._tele_now.wait()
            except TimeoutError:
                pass
            self._tele_now.clear()
            if self._meter.fault is FaultKind.DEAD:
                continue
            now = self._now()
            await client.publish(f"tele/{self.topic}/STATE", self._text(self._state(now)))
            await client.publish(f"tele/{self.topic}/SENSOR", self._text(self._sensor(now)))

    async def _obey(self, client: aiomqtt.Client, command: str, payload: str) -> None:
        """Carry one command out and answer as the device does."""
        if self._meter.fault is FaultKind.DEAD:
            return
        if self._meter.fault is FaultKind.SLOW:
            await self._pause(SLOW_ANSWER_S)
        now = self._now()
        if command in ("POWER", "POWER1"):
            self._switch(payload, now)
            power = _power(self._meter)
            await self._reply(client, "RESULT", {"POWER": power})
            await client.publish(f"stat/{self.topic}/POWER", power)
        elif command == "TELEPERIOD":
            self._set_tele_period(payload)
            await self._reply(client, "RESULT", {"TelePeriod": self._tele_period_s})
            self._tele_now.set()
        elif command == "STATUS" and payload in ("5", "8", "10", "11"):
            await self._reply(client, f"STATUS{payload}", self._status(payload, now))
        else:
            await self._reply(client, "RESULT", {"Command": "Unknown"})

    async def _reply(self, client: aiomqtt.Client, name: str, answer: dict[str, Any]) -> None:
        await client.publish(f"stat/{self.topic}/{name}", self._text(answer))

    def _switch(self, payload: str, now: datetime) -> None:
        if payload in _TOGGLE:
            payload = "OFF" if self._meter.commanded is RelayState.CONNECTED else "ON"
        if payload in _ON:
            self._meter.command(RelayState.CONNECTED, now)
        elif payload in _OFF:
            self._meter.command(RelayState.DISCONNECTED, now)

    def _set_tele_period(self, payload: str) -> None:
        """0 switches telemetry off, 1 means the default, else 10 to 3600 seconds; anything else changes nothing."""
        if payload.isascii() and payload.isdigit() and (seconds := int(payload)) <= 3600:
            self._tele_period_s = {0: 0, 1: _DEFAULT_TELE_PERIOD_S}.get(seconds, max(10, seconds))

    def _text(self, answer: dict[str, Any]) -> str:
        text = json.dumps(answer, separators=(",", ":"))
        return text[: len(text) // 2] + "\ufffd" if self._meter.fault is FaultKind.GARBAGE else text

    def _status(self, number: str, now: datetime) -> dict[str, Any]:
        if number == "5":
            return {"StatusNET": {"Hostname": f"tasmota-{self.topic}", "Mac": _mac(self._meter.values(now).serial)}}
        return {"StatusSTS": self._state(now)} if number == "11" else {"StatusSNS": self._sensor(now)}

    def _state(self, now: datetime) -> dict[str, Any]:
        up = now - self._started_at
        uptime = f"{up.days}T{up.seconds // 3600:02}:{up.seconds // 60 % 60:02}:{up.seconds % 60:02}"
        return {
            "Time": _local(now),
            "Uptime": uptime,
            "UptimeSec": up // timedelta(seconds=1),
            "POWER": _power(self._meter),
            "Wifi": {"AP": 1, "SSId": "bench", "RSSI": 80, "Signal": -60},
        }

    def _sensor(self, now: datetime) -> dict[str, Any]:
        values = self._meter.values(now)
        if now.date() != self._midnight[0]:
            self._midnight = (now.date(), values.energy_import_wh)
        return {
            "Time": _local(now),
            "ENERGY": {
                "TotalStartTime": _local(self._started_at),
                "Total": values.energy_import_wh / 1000,
                "Today": (values.energy_import_wh - self._midnight[1]) / 1000,
                **_electrical(values),
            },
        }


def _electrical(values: MeterValues) -> dict[str, float]:
    """Power, voltage and current as Tasmota rounds them; all 0 while the relay is off (SetOption21 0)."""
    supplied = values.relay is RelayState.CONNECTED
    apparent = values.power_w * 1000 // values.power_factor_permille
    return {
        "Power": values.power_w,
        "ApparentPower": apparent,
        "ReactivePower": round((apparent**2 - values.power_w**2) ** 0.5),
        "Factor": values.power_factor_permille / 1000 if supplied else 0.0,
        "Voltage": round(values.voltage_mv / 1000) if supplied else 0,
        "Current": values.current_ma / 1000,
    }


def _power(meter: SimulatedMeter) -> str:
    return "ON" if meter.commanded is RelayState.CONNECTED else "OFF"


def _local(at: datetime) -> str:
    """An instant as the device writes it: its local time, here UTC, without zone."""
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def _mac(serial: str) -> str:
    """A locally administered hardware address from the last ten digits or letters of the serial number."""
    tail = serial.encode()[-5:].rjust(5, b"\0")
    return ":".join(f"{byte:02X}" for byte in b"\x02" + tail)
