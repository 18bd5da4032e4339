"""Brings a feeder to life inside the caller's event loop: its meters, its lines, and what listens where.

    async with running_feeder(feeder, profiles=profiles, now=clock.now, pause=pause) as running:
        running.meters["M-1001"].set_load(ConstantLoad(500), clock.now())

Everything that was opened is closed when the block ends, however it ends.
"""

import asyncio
import errno
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meter_sim.feeder import Feeder, FeederError, Line, Meter
from meter_sim.manners import units_of
from meter_sim.meter import SimulatedMeter
from meter_sim.modbus_server import Device, ModbusRtuServer, ModbusTcpServer
from protocols.link import RelayState
from protocols.profile import Profile

if TYPE_CHECKING:
    from meter_sim.mqtt_meter import TasmotaPlug

Now = Callable[[], datetime]
Pause = Callable[[float], Awaitable[None]]

_MODBUS_VOLTAGE_MV = 240_000
_PLUG_VOLTAGE_MV = 120_000


class LineUnavailable(Exception):
    """A line's address cannot be had: one sentence that says which and why."""


@dataclass(frozen=True, slots=True)
class RunningFeeder:
    """A feeder that listens.

    ``ready``: the list of the ready file, one object a meter, in the feeder's order. ``plugs``: the task that serves
    its MQTT meters, None where there are none; it ends by itself only when something is broken.
    """

    meters: Mapping[str, SimulatedMeter]
    ready: tuple[dict[str, Any], ...]
    plugs: "asyncio.Task[None] | None"


def profile_faults(feeder: Feeder, profiles: Mapping[str, Profile]) -> Iterable[str]:
    """What in a feeder does not fit the profiles: one sentence each, naming the key."""
    transports = {line.id: line.transport for line in feeder.lines}
    for index, meter in enumerate(feeder.meters):
        profile = profiles.get(meter.profile)
        if profile is None:
            yield f"meters.{index}.profile - there is no profile {meter.profile!r}; there are {', '.join(profiles)}"
            continue
        if (profile.transport == "mqtt") != (transports[meter.line] == "mqtt"):
            yield f"meters.{index}.line - {meter.profile} does not speak {transports[meter.line]}"
        if (profile.transport == "composite") != (meter.relay_unit is not None):
            needs = "needs" if profile.transport == "composite" else "has no"
            yield f"meters.{index}.relay_unit - {meter.profile} {needs} relay_unit"
        if "serial" in profile.points and meter.serial and not meter.serial.isdecimal():
            yield f"meters.{index}.serial - {meter.profile} has a serial number of digits"


@asynccontextmanager
async def running_feeder(
    feeder: Feeder, *, profiles: Mapping[str, Profile], now: Now, pause: Pause
) -> AsyncIterator[RunningFeeder]:
    """Serve every meter of ``feeder`` until the block ends; it is entered once all listen.

    A Modbus meter listens when its port or its serial line is open. An MQTT meter listens when it is connected to the
    broker and subscribed: a broker that is not there is waited for, without end, while the others serve already.
    Raises FeederError where a meter does not fit its profile, LineUnavailable where a line cannot be opened.
    """
    if faults := tuple(profile_faults(feeder, profiles)):
        raise FeederError(faults)
    start = now()
    meters = {meter.id: _built(meter, profiles[meter.profile], start) for meter in feeder.meters}
    where: dict[str, dict[str, Any]] = {}
    async with AsyncExitStack() as stack:
        for line in feeder.lines:
            if line.transport == "mqtt":
                where[line.id] = {"broker": f"{line.host}:{line.port or 1883}"}
                continue
            here = [meter for meter in feeder.meters if meter.line == line.id]
            where[line.id] = await _listen(stack, line, units_of(here, meters, profiles, start), now)
        plugs = await stack.enter_async_context(_plugged_in(_plugs_of(feeder, meters, now, pause)))
        transports = {line.id: line.transport for line in feeder.lines}
        ready = tuple(_ready(meter, transports[meter.line], where[meter.line]) for meter in feeder.meters)
        yield RunningFeeder(meters, ready, plugs)


def _built(meter: Meter, profile: Profile, at: datetime) -> SimulatedMeter:
    built = SimulatedMeter(
        meter.id,
        at=at,
        load=meter.new_load(),
        serial=meter.serial or f"{zlib.crc32(meter.id.encode()) % 100_000_000:08}",
        initial_register_wh=meter.initial_register_wh,
        relay=RelayState(meter.relay),
        nominal_voltage_mv=_PLUG_VOLTAGE_MV if profile.transport == "mqtt" else _MODBUS_VOLTAGE_MV,
    )
    built.fault = meter.new_fault()
    return built


async def _listen(stack: AsyncExitStack, line: Line, units: dict[int, Device], now: Now) -> dict[str, Any]:
    """Open a Modbus line; what the ready file says of it."""
    try:
        if line.transport == "modbus-tcp":
            server = ModbusTcpServer(units, now)
            stack.push_async_callback(server.stop)
            await server.start(line.host, line.port or 0)
            return {"host": server.host, "port": server.port}
        serial_line = ModbusRtuServer(units, now, line.baud)
        stack.callback(serial_line.stop)
        serial_line.start(Path(line.device) if line.device else None)
        return {"device": line.device or serial_line.device}
    except OSError as problem:
        address = f"{line.host}:{line.port or 0}" if line.transport == "modbus-tcp" else line.device
        why = os.strerror(problem.errno) if problem.errno else str(problem)
        taken = problem.errno in (errno.EADDRINUSE, errno.EEXIST)
        hint = ": stop what holds it, or give the line another address" if taken else ""
        raise LineUnavailable(f"line {line.id}: {address} cannot be opened: {why}{hint}") from None


def _plugs_of(feeder: Feeder, meters: Mapping[str, SimulatedMeter], now: Now, pause: Pause) -> "list[TasmotaPlug]":
    from meter_sim.mqtt_meter import TasmotaPlug  # a bench without plugs needs no MQTT

    brokers = {line.id: line for line in feeder.lines if line.transport == "mqtt"}
    return [
        TasmotaPlug(
            meters[meter.id],
            meter.topic or meter.id,
            broker=(brokers[meter.line].host, brokers[meter.line].port or 1883),
            now=now,
            pause=pause,
            tele_period_s=brokers[meter.line].tele_period_seconds,
        )
        for meter in feeder.meters
        if meter.line in brokers
    ]


@asynccontextmanager
async def _plugged_in(plugs: "list[TasmotaPlug]") -> AsyncIterator["asyncio.Task[None] | None"]:
    """The MQTT meters, from the instant at which all are connected; yields the task that serves them."""
    if not plugs:
        yield None
        return

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            for plug in plugs:
                group.create_task(plug.run())

    async def all_connected() -> None:
        for plug in plugs:
            await plug.connected.wait()

    serving, connecting = asyncio.create_task(serve()), asyncio.create_task(all_connected())
    try:
        await asyncio.wait((serving, connecting), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            yield serving
    finally:
        connecting.cancel()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


def _ready(meter: Meter, transport: str, where: Mapping[str, Any]) -> dict[str, Any]:
    """One meter's entry in the ready file."""
    entry = {"meter_id": meter.id, "profile": meter.profile, "transport": transport, **where}
    if transport == "mqtt":
        return {**entry, "topic": meter.topic}
    entry["unit"] = meter.unit
    if meter.relay_unit is not None:
        entry |= {"relay_unit": meter.relay_unit, "relay_channel": meter.relay_channel or 0}
    return entry
