"""A gateway in virtual time: the daemon itself, simulated meters without wires, a clock that can be stepped."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge.catalog import Catalog, load_catalog
from edge.clock import SystemClock, pause
from edge.core.model import Forecast, Observation
from edge.core.weather import DocumentKind
from edge.daemon import Ports, run
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.payments import PaymentRequest, take_payment
from edge.settings import Settings, load_settings
from edge.store import conditions, fleet, records
from edge.store.base import open_for_reading
from edge.store.engine import Store
from edge.weather_feed import ParsedWeather
from meter_sim.household import ConstantLoad
from meter_sim.inprocess import InProcessMeter, Noise
from meter_sim.meter import Cause, SimulatedMeter
from meter_sim.virtual_time import VirtualTimeLoop
from protocols.link import LinkTimeout, Readout, RelayState, SwitchAction
from tests.stand_ins import SilentHeadEnd

ZONE = ZoneInfo("America/Chicago")
TUESDAY_TEN = datetime(2026, 10, 13, 10, 0, tzinfo=ZONE)
PROFILE = "hiking-dds238-2-znsr"
PROGRAM = """
title = "No grace, no holidays"
source = "test"
base = "default"
[disconnect]
grace = "hours"
grace_hours = 0
[holidays]
calendars = []
"""


class SteppableClock(SystemClock):
    """The system's clock over a wall time that can be stepped, and a kernel that says what it is told to say."""

    def __init__(self, start: datetime) -> None:
        self.offset = timedelta()
        self.start = start.astimezone(UTC)
        self.kernel_says = True
        super().__init__("kernel", wall=self._stepped_wall, synchronised=lambda stepped: self.kernel_says)

    def _stepped_wall(self) -> datetime:
        return self.start + timedelta(seconds=self._loop_time()) + self.offset


class Wire(InProcessMeter):
    """A wire to a simulated meter that can lose commands, or keep one back to deliver it late."""

    loses = False  # the next commands never arrive
    keeps = False  # they arrive when ``deliver`` says so
    asks_before: Callable[[], Coroutine[Any, Any, None]] | None = None  # done before the next command goes out
    asks_after: Callable[[], Coroutine[Any, Any, None]] | None = None  # done when it was carried out, unconfirmed
    asks_on_read: Callable[[], Coroutine[Any, Any, None]] | None = None
    kept: SwitchAction | None = None
    glimpse: RelayState | None = None  # what the next answer says of the relay, whatever is true

    def __init__(self, meter: SimulatedMeter, now: Callable[[], datetime]) -> None:
        super().__init__(meter, now, pause, random.Random(1), Noise())
        self.commands: list[SwitchAction] = []

    async def read(self) -> Readout:
        if self.asks_on_read is not None:
            await self.asks_on_read()
        return await super().read()

    def _truth(self, at: datetime) -> Readout:
        told = replace(super()._truth(at), energy_import_wh=self.meter.values(at).energy_import_wh)
        glimpse, self.glimpse = self.glimpse, None
        return told if glimpse is None else replace(told, relay=glimpse)

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        self.commands.append(action)
        if self.asks_before is not None:
            then, self.asks_before = self.asks_before, None
            await then()
        if self.loses or self.keeps:
            self.kept = action if self.keeps else None
            await pause(1.0)
            raise LinkTimeout(f"{self.meter.meter_id}: no answer")
        await super().command(action, expires_in_s=expires_in_s)
        if self.asks_after is not None:
            then, self.asks_after = self.asks_after, None
            await then()

    def deliver(self) -> None:
        assert self.kept is not None
        self.meter.command(self.kept.wanted, self._now())


class Bench:
    """One site at work. ``cells``: account id -> cells of its enrolment row, beside the meter of the same number."""

    def __init__(self, directory: Path, meters: int, start: datetime, site: str) -> None:
        lines = ['gateway_id = "gw1"', "[polling]", "every_seconds = 60", site, "[[lines]]"]
        lines += ['id = "line-1"', 'transport = "modbus-tcp"', 'host = "127.0.0.1"']
        for number in range(1, meters + 1):
            lines += [
                "[[meters]]",
                f'id = "M-{number}"',
                f'profile = "{PROFILE}"',
                'line = "line-1"',
                f"unit = {number}",
            ]
            lines += [f'serial = "S-{number}"']
        (directory / "programs").mkdir(exist_ok=True)
        (directory / "programs" / "bench.toml").write_text(PROGRAM)
        (directory / "edge.toml").write_text("\n".join(lines) + "\n")
        self.settings: Settings = load_settings(directory / "edge.toml", directory)
        self.catalog: Catalog = load_catalog(self.settings)
        self.clock = SteppableClock(start)
        self.head_end = SilentHeadEnd()
        self.store: Store | None = None
        self.daemon: asyncio.Task[None] | None = None
        self.meters: dict[str, SimulatedMeter] = {}
        self.wires: dict[str, Wire] = {}
        for number in range(1, meters + 1):
            name = f"M-{number}"
            meter = SimulatedMeter(
                name, at=start, load=ConstantLoad(500), initial_register_wh=1_000_000, serial=f"S-{number}"
            )
            self.meters[name] = meter
            self.wires[name] = Wire(meter, self.physical_now)
        self.weather = asyncio.ensure_future(self._mild_weather())
        self.payments = 0

    @property
    def gateway(self) -> Gateway:
        assert self._gateway is not None
        return self._gateway

    _gateway: Gateway | None = None
    _reader: sqlite3.Connection | None = None

    def close(self) -> None:
        """Look into the database no more."""
        if self._reader is not None:
            self._reader.close()

    def physical_now(self) -> datetime:
        """The time that really goes by, whatever the gateway's clock says."""
        return self.clock.now() - self.clock.offset

    async def start(self) -> None:
        """Start the daemon on the state that is there."""
        ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
        self.store = Store(self.settings.database, threaded=False, durable=False)
        ports = Ports(self.clock, self.store, self.wires, self.head_end)
        self.daemon = asyncio.ensure_future(run(self.settings, self.catalog, ports, ready.set_result))
        await asyncio.wait([ready, self.daemon], return_when=asyncio.FIRST_COMPLETED)
        if self.daemon.done():
            await self.daemon
        self._gateway = await ready
        self._tell_mild_weather()

    async def kill(self) -> None:
        """Let the daemon die where it stands."""
        if self.daemon is not None:
            self.daemon.cancel()
            with suppress(asyncio.CancelledError):
                await self.daemon
        if self.store is not None:
            self.store.close()
        self.daemon = self.store = self._gateway = None

    async def _mild_weather(self) -> None:
        while True:
            await pause(600)
            self._tell_mild_weather()

    def _tell_mild_weather(self) -> None:
        if self._gateway is None:
            return
        now = self.clock.now()
        hour = now.replace(minute=0, second=0, microsecond=0)
        self._gateway.weather.forecast = Forecast(now, hour, (7000,) * 156, (7000,) * 156)
        self._gateway.weather.observed = Observation(now, 7000, 7000)
        self._gateway.weather.alerts_document = ParsedWeather(DocumentKind.ALERTS, now, alerts=())
        self._gateway.facts_changed.set()

    async def enroll(self, number: int, **cells: str) -> str:
        """Enrol the account of a meter; its id."""
        wanted = {"account_id": f"A-{number}", "meter_id": f"M-{number}", "program": "bench", "takeover": "yes"}
        (outcome,) = await enroll(self.gateway, [Row("row", {**wanted, **cells})], "test")
        assert outcome.accepted, outcome.reason
        return outcome.account_id

    async def pay(self, account_id: str, cents: int) -> None:
        self.payments += 1
        request = PaymentRequest(f"P-{self.payments}", account_id, cents, None, "kiosk", "customer")
        assert (await take_payment(self.gateway, request, "test")).status == "posted"

    async def until(self, condition: Callable[[], Any], within: timedelta = timedelta(hours=2)) -> None:
        """Let virtual time pass until something is so."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within.total_seconds()
        while not condition():
            assert self.daemon is None or not self.daemon.done(), self.daemon.result()
            assert loop.time() < deadline, "it never came to be"
            await pause(0.25)

    async def rest(self, **span: float) -> None:
        await pause(timedelta(**span).total_seconds())

    def relay(self, meter_id: str = "M-1") -> str:
        """Where a relay physically is."""
        return self.meters[meter_id].values(self.physical_now()).relay.value

    def set_relay(self, relay: str, meter_id: str = "M-1") -> None:
        """A hand at the meter moves its switch."""
        self.meters[meter_id].set_relay(RelayState(relay), self.physical_now(), Cause.FOREIGN)

    def ask(self, work: Callable[[Any], Any]) -> Any:
        """What the database says."""
        if self._reader is None:
            self._reader = open_for_reading(self.settings.database)
        return work(self._reader)

    def last_order(self, meter_id: str = "M-1") -> fleet.SwitchOrder | None:
        found: fleet.SwitchOrder | None = self.ask(lambda database: fleet.last_order(database, meter_id))
        return found

    def order_is(self, action: str, state: str, meter_id: str = "M-1") -> bool:
        order = self.last_order(meter_id)
        return order is not None and (order.action, order.state) == (action, state)

    def cause(self, meter_id: str = "M-1") -> str | None:
        change = self.ask(lambda database: fleet.relay_change(database, meter_id))
        return None if change is None else change.cause

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of some kinds, oldest first."""
        rows = self.ask(lambda database: records.last_events(database, 10_000))
        return [{"kind": kind, "at": at, **data} for at, kind, data in reversed(rows) if kind in kinds]

    def conditions(self, meter_id: str = "M-1") -> set[str]:
        return set(self.ask(lambda database: conditions.of_meter(database, meter_id)))

    def accepted_registers(self, meter_id: str = "M-1") -> list[int]:
        """The register reads that count, in Wh, oldest first."""
        reads = self.ask(lambda database: fleet.reads_since(database, meter_id, datetime(2000, 1, 1, tzinfo=UTC)))
        return [read.energy_wh for read in reads if read.accepted]

    def codes(self, account_id: str = "A-1") -> list[str]:
        """What holds a disconnect back, as it was last decided."""
        last = self.ask(lambda database: records.last_decision(database, account_id))
        return list(last.codes)


@asynccontextmanager
async def _bench(directory: Path, meters: int, start: datetime, site: str) -> AsyncIterator[Bench]:
    bench = Bench(directory, meters, start, site)
    try:
        await bench.start()
        yield bench
    finally:
        bench.weather.cancel()
        await bench.kill()
        bench.close()


def on_a_bench(
    directory: Path,
    story: Callable[[Bench], Coroutine[Any, Any, None]],
    *,
    meters: int = 1,
    start: datetime = TUESDAY_TEN,
    site: str = "",
) -> None:
    """Let a story happen on a bench of its own, in virtual time."""

    async def live() -> None:
        async with _bench(directory, meters, start, site) as bench:
            await story(bench)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(live())
