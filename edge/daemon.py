"""The composition root: ports in, one TaskGroup, the gateway at work, whatever its clock and its links are."""

import asyncio
import contextlib
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from edge.catalog import Catalog, switchgear_of
from edge.clock import Clock
from edge.clock_watch import ClockWatch
from edge.core import vee
from edge.days import DayCloser
from edge.displays import Displays
from edge.enduring import enduring
from edge.gateway import Gateway
from edge.readings import LinePoller, PolledMeter, ReadSaver, by_line
from edge.relays import Confirmation, RelayOperator
from edge.rulings import note_circumstances
from edge.settings import Meter, Settings
from edge.store import records
from edge.store.engine import Store
from edge.supervision import Supervision
from edge.switch_journal import SwitchJournal
from edge.upstream import HeadEnd
from edge.weather_files import WeatherFilesWatch
from protocols.link import Concentrator, HeadEndLink, MeterLink
from protocols.profile import Profile

log = structlog.get_logger()

POWER_BELOW_W = 25  # what may seem to flow through an open switch, where the profile does not say
HEARTBEAT = timedelta(minutes=2)
PROGRESS_WINDOW = timedelta(minutes=8)  # every loop that matters stirs at least every five minutes


@dataclass(frozen=True)
class Ports:
    """What joins a gateway to the world: time, memory, meters, the head end, and services of its own, if any.

    ``concentrators``: by line, where a line reads its meters together.
    """

    clock: Clock
    store: Store
    links: Mapping[str, MeterLink]
    head_end: HeadEndLink
    services: Sequence[Callable[[Gateway], Awaitable[None]]] = ()
    concentrators: Mapping[str, Concentrator] = field(default_factory=dict)
    switch_journal: SwitchJournal | None = None


async def run(settings: Settings, catalog: Catalog, ports: Ports, ready: Callable[[Gateway], None]) -> None:
    """Run one gateway until cancelled. ``ready`` is called when everything has been started."""
    gateway = build_gateway(settings, catalog, ports)
    await enduring(gateway.restore)
    operator = RelayOperator(gateway, confirmations(settings, catalog))
    saver = ReadSaver(gateway)
    pollers = [
        LinePoller(
            gateway,
            meters,
            settings.site.polling.attempts,
            operator.answered,
            saver,
            ports.concentrators.get(meters[0].line),
        )
        for meters in by_line(polled_meters(settings, catalog, ports.links))
    ]
    head_end = HeadEnd(gateway, ports.head_end)
    clock_watch = ClockWatch(gateway)
    await enduring(clock_watch.look)
    await enduring(partial(_heartbeat, gateway, {}))
    async with asyncio.TaskGroup() as tasks:
        work: tuple[Callable[[], Awaitable[None]], ...] = (
            *(poller.run for poller in pollers),
            clock_watch.run,
            DayCloser(gateway).run,
            Supervision(gateway).run,
            operator.run,
            head_end.receive,
            head_end.send,
            Displays(gateway).run,
            partial(_keep_alive, gateway),
            *([WeatherFilesWatch(gateway).run] if any(_weather_files(settings)) else []),
            *(partial(service, gateway) for service in ports.services),
        )
        for task in work:
            tasks.create_task(enduring(task))
        ready(gateway)


def build_gateway(settings: Settings, catalog: Catalog, ports: Ports) -> Gateway:
    """The gateway's shared state, before any task runs."""
    limits = {meter.id: read_limits(catalog.profiles[meter.profile], meter) for meter in settings.site.meters}
    return Gateway(
        settings=settings,
        clock=ports.clock,
        store=ports.store,
        rulebook=catalog.rulebook,
        tariffs=catalog.tariffs,
        switchgear=switchgear_of(settings, catalog),
        limits=limits,
        links=ports.links,
        head_end=ports.head_end,
        switch_journal=ports.switch_journal,
    )


def confirmations(settings: Settings, catalog: Catalog) -> dict[str, Confirmation]:
    """How each meter's profile wants a command confirmed."""
    found = {}
    for meter in settings.site.meters:
        how = catalog.profiles[meter.profile].confirm
        found[meter.id] = Confirmation(how.read_after_ms / 1000, how.poll_ms / 1000, how.deadline_ms / 1000)
    return found


def read_limits(profile: Profile, meter: Meter) -> vee.Limits:
    """What a meter's reads are validated against."""
    counter = profile.energy_counter
    return vee.Limits(
        max_power_w=meter.max_power_w,
        modulo_wh=counter.modulo_wh if counter else None,
        resolution_wh=counter.resolution_wh if counter else 10,
        multiplier=meter.multiplier,
        frozen_seconds=meter.frozen_after_hours * 3600,
    )


def polled_meters(settings: Settings, catalog: Catalog, links: Mapping[str, MeterLink]) -> list[PolledMeter]:
    """The inventory with its schedules."""
    site = settings.site
    return [
        PolledMeter(
            meter_id=meter.id,
            line=meter.line or f"mqtt {meter.topic}",
            link=links[meter.id],
            every=site.polled_every(meter.id),
            limits=read_limits(catalog.profiles[meter.profile], meter),
            power_below_w=catalog.profiles[meter.profile].confirm.require_power_below_w or POWER_BELOW_W,
        )
        for meter in site.meters
    ]


def _weather_files(settings: Settings) -> tuple[str | None, ...]:
    weather = settings.site.weather
    return weather.forecast_file, weather.observation_file, weather.alerts_file


async def _keep_alive(gateway: Gateway) -> None:
    """Write down what the daemon knows of itself, and feed systemd's watchdog on progress."""
    written: dict[str, str] = {}
    while True:
        await gateway.clock.wait(gateway.clock.now() + HEARTBEAT)
        await _heartbeat(gateway, written)
        if _all_progress(gateway):
            notify_systemd("WATCHDOG=1")


async def _heartbeat(gateway: Gateway, written: dict[str, str]) -> None:
    """Write the sign of life, and of the rest what is not ``written`` yet."""
    now = gateway.clock.now()
    around = gateway.circumstances()
    feed = gateway.payments_feed_seen_at
    forecast = gateway.weather.forecast
    facts = {
        "heartbeat": str(os.getpid()),
        "clock_trusted": "yes" if gateway.clock_trusted() else "no",
        "broker_connected": "yes" if gateway.head_end.connected else "no",
        **({"trusted_at": now.isoformat()} if around.clock_trusted else {}),
        "payments_feed_seen_at": feed.isoformat() if feed else "",
        "forecast_fetched_at": forecast.fetched_at.isoformat() if forecast else "",
    }

    news = {fact: value for fact, value in facts.items() if fact == "heartbeat" or written.get(fact) != value}

    def work(database: sqlite3.Connection) -> None:
        records.set_state(database, news, now)
        note_circumstances(database, around, gateway.rulebook.digest)

    await gateway.store.write(work)
    written.update(news)


def _all_progress(gateway: Gateway) -> bool:
    """Whether every line's polling, the ledger and the supervision have moved lately."""
    window_s = PROGRESS_WINDOW.total_seconds()
    now = asyncio.get_running_loop().time()
    return all(now - moved_at < window_s for moved_at in gateway.progress.values())


def notify_systemd(message: str) -> None:
    """Tell systemd, where it started us (``Type=notify``); otherwise nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.sendall(message.encode())
