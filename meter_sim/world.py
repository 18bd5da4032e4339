"""A whole world in virtual time: the very daemon, simulated meters without wires, a head end with its customers.

One seed decides everything. Every source of chance has a generator of its own, so that one more meter changes nothing
about the others.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from edge.catalog import Catalog, load_catalog
from edge.clock import ScaledClock, pause
from edge.daemon import Ports, run
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.settings import Settings, parse_site, read_toml
from edge.store import books
from edge.store.engine import Store, open_for_reading
from edge.store.history import history
from edge.weather_feed import parse_document
from meter_sim.customers import HABITS, Clerk, Customer
from meter_sim.events import Recorder
from meter_sim.household import HouseholdLoad
from meter_sim.inprocess import InProcessConcentrator, InProcessMeter
from meter_sim.meter import Cause, SimulatedMeter
from meter_sim.misfortune import MIXES, Misfortune
from meter_sim.utility import InProcessHeadEnd, WeatherService
from meter_sim.virtual_time import VirtualTimeLoop
from protocols.link import RelayState

ZONE = "America/Chicago"
PROFILE = "hiking-dds238-2-znsr"
METERS_A_LINE = 50
HOUSEHOLDS = ("apartment", "house", "all_electric")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate."""

    meters: int
    days: int
    start: date
    seed: int
    program: str = "default"
    faults: str = "none"
    poll_seconds: int = 3600


@dataclass
class World:
    """What is in a world while it lasts, and what is left of it."""

    plan: Plan
    state_dir: Path
    recorder: Recorder = field(default_factory=Recorder)
    meters: dict[str, SimulatedMeter] = field(default_factory=dict)
    links: dict[str, InProcessMeter] = field(default_factory=dict)
    customers: list[Customer] = field(default_factory=list)
    misfortune: Misfortune | None = None

    @property
    def end(self) -> datetime:
        """The first instant that is not simulated any more."""
        return datetime.combine(self.plan.start + timedelta(days=self.plan.days), time(), ZoneInfo(ZONE))

    @property
    def faults_injected(self) -> int:
        """Every fault that lasted, every spoilt exchange, every message sent twice."""
        lasting = self.misfortune.injected if self.misfortune else 0
        spoilt = sum(link.spoilt for link in self.links.values())
        return lasting + spoilt + sum(customer.duplicated for customer in self.customers)

    @property
    def database(self) -> Path:
        """The state that the daemon leaves."""
        return self.state_dir / "edge.db"

    def account_of(self, meter_id: str) -> str:
        """The account that a meter serves."""
        return "A-" + meter_id.removeprefix("M-")


def simulate(plan: Plan, directory: Path) -> World:
    """Run a world to its end, its state in ``directory``. Raises what the daemon raises: a bug ends the world."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    world = World(plan, directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "edge.toml").write_text(site_text(plan), encoding="utf-8")
    settings = Settings(
        parse_site(read_toml(directory / "edge.toml"), "edge.toml"), ZoneInfo(ZONE), directory / "edge.toml", directory
    )
    catalog = load_catalog(settings)
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(_live(world, settings, catalog))
    _tell_relays(world)
    _tell_books(world)
    return world


def site_text(plan: Plan) -> str:
    """The ``edge.toml`` of a plan's site, so that ``ami-edge`` can read the state that is left."""
    lines = [
        'gateway_id = "sim"',
        f'timezone = "{ZONE}"',
        "[polling]",
        f"every_seconds = {plan.poll_seconds}",
        "[enforcement]",
        "disconnects_per_hour = 1000000",
        "disconnects_per_day = 1000000",
        "disconnects_per_meter = 1000000",
        "quarantine_share = 1.0",
        "[defaults]",
        f'program = "{plan.program}"',
    ]
    for line in range((plan.meters - 1) // METERS_A_LINE + 1):
        lines += ["[[lines]]", f'id = "line-{line + 1}"', 'transport = "modbus-tcp"', 'host = "127.0.0.1"']
    for index in range(plan.meters):
        line, unit = divmod(index, METERS_A_LINE)
        lines += ["[[meters]]", f'id = "{meter_id(index)}"', f'profile = "{PROFILE}"']
        lines += [f'line = "line-{line + 1}"', f"unit = {unit + 1}"]
    return "\n".join(lines) + "\n"


def meter_id(index: int) -> str:
    """The id of a world's meter."""
    return f"M-{index + 1:05d}"


class _Host:
    """What the daemon runs on: starts it on the state that it left, and lets it die in the middle of anything."""

    def __init__(self, settings: Settings, catalog: Catalog, database: Path, clock: ScaledClock) -> None:
        self._settings = settings
        self._catalog = catalog
        self._database = database
        self._clock = clock
        self._daemon: asyncio.Task[None] | None = None
        self._store: Store | None = None
        self.fell: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()

    async def start(self, links: dict[str, InProcessMeter], head_end: InProcessHeadEnd) -> Gateway:
        """Start the daemon; returns when it is ready. ``fell`` learns of its end, if nobody killed it."""
        ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
        self._store = Store(self._database, threaded=False, durable=False)
        lines = {f"line-{line + 1}" for line in range((len(links) - 1) // METERS_A_LINE + 1)}
        concentrator = InProcessConcentrator(links, self._clock.now, pause)
        ports = Ports(
            self._clock, self._store, links, head_end, concentrators=dict.fromkeys(sorted(lines), concentrator)
        )
        self._daemon = asyncio.ensure_future(run(self._settings, self._catalog, ports, ready.set_result))
        self._daemon.add_done_callback(self._look)
        either: list[asyncio.Future[Any]] = [ready, self.fell]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self.fell.result() if self.fell.done() else ready.result()

    def _look(self, daemon: asyncio.Task[None]) -> None:
        if not daemon.cancelled() and (problem := daemon.exception()) and not self.fell.done():
            self.fell.set_exception(problem)

    async def kill(self) -> None:
        """Let the daemon die where it stands; what it has committed is what is left."""
        if self._daemon is not None:
            self._daemon.cancel()
            await asyncio.wait([self._daemon])
        if self._store is not None:
            self._store.close()
        self._daemon = self._store = None


async def _live(world: World, settings: Settings, catalog: Catalog) -> None:
    plan = world.plan
    clock = ScaledClock(datetime.combine(plan.start, time(), settings.zone), 1.0)
    clock.now()

    def on_weather(payload: bytes) -> None:
        _tell_weather(world, payload, clock.now())

    head_end = InProcessHeadEnd(clock, world.recorder, on_weather)
    host = _Host(settings, catalog, world.database, clock)

    async def daemon_dies(seconds: float) -> None:
        await host.kill()
        await pause(seconds)
        await host.start(world.links, head_end)

    _build_meters(world, clock)
    _build_customers(world, head_end, clock)
    mix = MIXES[plan.faults]
    misfortune = Misfortune(plan.seed, mix, clock, world.recorder, _lines(world), head_end, daemon_dies)
    world.misfortune = misfortune
    confirmations = random.Random(f"{plan.seed}/confirmations")
    if mix.lost_confirmations:
        head_end.loses_confirmation = lambda: confirmations.random() < mix.lost_confirmations
    try:
        gateway = await host.start(world.links, head_end)
        await enroll(gateway, [_row(plan, index) for index in range(plan.meters)], "meter-sim")
        accounts = [customer.account_id for customer in world.customers]
        await _until_the_end(
            clock.wait(world.end),
            host.fell,
            WeatherService(plan.seed, settings.zone, head_end, clock).serve(),
            Clerk(plan.seed, accounts, head_end, clock).work(),
            *[customer.live() for customer in world.customers],
            *misfortune.strikes(),
        )
    finally:
        await host.kill()


async def _until_the_end(
    end: Coroutine[None, None, bool], fell: asyncio.Future[Gateway], *lives: Coroutine[None, None, None]
) -> None:
    """Let everything live side by side until the end; raises what anybody, the daemon too, died of."""
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(life) for life in (end, *lives)]
    await asyncio.wait([*tasks, fell], return_when=asyncio.FIRST_COMPLETED)
    ended = [task for task in (fell, *tasks) if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in ended:
        task.result()


def _lines(world: World) -> list[tuple[str, list[InProcessMeter]]]:
    links = list(world.links.values())
    starts = range(0, len(links), METERS_A_LINE)
    return [(f"line-{number}", links[at : at + METERS_A_LINE]) for number, at in enumerate(starts, 1)]


def _build_meters(world: World, clock: ScaledClock) -> None:
    plan = world.plan
    noise = MIXES[plan.faults].noise
    for index in range(plan.meters):
        name = meter_id(index)
        chance = random.Random(f"{plan.seed}/meter/{name}")
        load = HouseholdLoad(chance.choice(HOUSEHOLDS), f"{plan.seed}/{name}")
        meter = SimulatedMeter(name, at=clock.now(), load=load, initial_register_wh=chance.randrange(1, 40_000_000))
        world.meters[name] = meter
        answers = random.Random(f"{plan.seed}/answers/{name}")
        world.links[name] = InProcessMeter(meter, clock.now, pause, answers, noise)


def _row(plan: Plan, index: int) -> Row:
    chance = random.Random(f"{plan.seed}/account/{index}")
    cells = {
        "account_id": f"A-{index + 1:05d}",
        "meter_id": meter_id(index),
        "opening_balance": f"{chance.randint(2, 14)}.00",
        "arrears": "0.00" if chance.random() < 0.7 else f"{chance.randint(20, 300)}.00",
        "takeover": "yes",
    }
    return Row(f"account {index + 1}", cells)


def _build_customers(world: World, head_end: InProcessHeadEnd, clock: ScaledClock) -> None:
    duplicates = MIXES[world.plan.faults].duplicated_messages
    by_account: dict[str, Customer] = {}
    for index, name in enumerate(world.meters):
        account_id = world.account_of(name)
        chance = random.Random(f"{world.plan.seed}/customer/{index}")
        habit = HABITS[index % len(HABITS)]
        by_account[account_id] = Customer(account_id, habit, chance, head_end, clock, duplicates)
    world.customers = list(by_account.values())
    head_end.listeners.append(lambda account_id, notice: by_account[account_id].hear(notice))


def _tell_weather(world: World, payload: bytes, now: datetime) -> None:
    parsed = parse_document(payload, now)
    if parsed.forecast is not None:
        forecast = parsed.forecast
        world.recorder.tell(
            now,
            "forecast",
            first_hour=forecast.first_hour.astimezone(ZoneInfo(ZONE)).isoformat(),
            temperature_f=[_degrees(value) for value in forecast.temperature_f100],
            heat_index_f=[_degrees(value) for value in forecast.heat_index_f100],
        )
    elif parsed.observation is not None:
        seen = parsed.observation
        world.recorder.tell(
            now,
            "observation",
            temperature_f=_degrees(seen.temperature_f100),
            heat_index_f=_degrees(seen.heat_index_f100),
        )


def _degrees(f100: int | None) -> float | None:
    return None if f100 is None else f100 / 100


def _tell_relays(world: World) -> None:
    for name, meter in world.meters.items():
        for step in meter.transitions:
            if step.cause is Cause.INITIAL:
                continue
            ours = "credit" if step.relay is RelayState.DISCONNECTED else "reconnect"
            cause = ours if step.cause is Cause.COMMAND else "foreign"
            keys = {"account_id": world.account_of(name), "relay": step.relay.value, "cause": cause}
            world.recorder.tell(step.at, "relay", meter_id=name, **keys)


def _tell_books(world: World) -> None:
    """What the store says happened: postings, commands, protections."""
    with open_for_reading(world.database) as database:
        for happening in history(database):
            world.recorder.tell(happening.at, happening.kind, **happening.keys)


def audit_problems(world: World) -> list[str]:
    """What the audit of the books finds."""
    with open_for_reading(world.database) as database:
        return list(books.audit(database))


def polls(world: World) -> int:
    """How often the daemon asked a meter for its register."""
    return sum(link.asked for link in world.links.values())
