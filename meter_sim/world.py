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
from edge.core.vee import Limits
from edge.daemon import read_limits
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.settings import Settings, parse_site, read_toml
from edge.store import books, customers, usage
from edge.store.base import open_for_reading
from edge.store.history import history
from edge.weather_feed import WeatherRejected, parse_document
from meter_sim.accountant import charge_problems, payment_problems
from meter_sim.bulk import BulkFiles
from meter_sim.customers import HABITS, Clerk, Customer
from meter_sim.events import Recorder
from meter_sim.host import Host
from meter_sim.household import HouseholdLoad
from meter_sim.inprocess import InProcessConcentrator, InProcessMeter
from meter_sim.meter import Cause, SimulatedMeter
from meter_sim.misfortune import Misfortune, Victims
from meter_sim.mixes import FaultMix, mix_of
from meter_sim.power import CommitLog, HostTime, Power
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

    def __post_init__(self) -> None:
        """What follows from the plan. Raises ValueError for a mix of faults that there is not."""
        self.mix: FaultMix = mix_of(self.plan.faults)
        self.clock = ScaledClock(datetime.combine(self.plan.start, time(), ZoneInfo(ZONE)), 1.0)
        self.log = CommitLog(self.clock.now)
        self.head_end: InProcessHeadEnd | None = None
        self.forecast_told_at: datetime | None = None  # of which time of fetch
        self.observation_told_at: datetime | None = None
        self.midnights: dict[date, dict[str, int]] = {}  # by day: where the registers stood at its end
        self.modulo_wh: int | None = None

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
        lines += [f'line = "line-{line + 1}"', f"unit = {unit + 1}", f'serial = "{_serial(index)}"']
    return "\n".join(lines) + "\n"


def meter_id(index: int) -> str:
    """The id of a world's meter."""
    return f"M-{index + 1:05d}"


def _serial(index: int) -> str:
    return f"{index + 10_000_001}"


async def _live(world: World, settings: Settings, catalog: Catalog) -> None:
    plan, mix, clock = world.plan, world.mix, world.clock
    clock.now()

    def on_weather(payload: bytes) -> None:
        _tell_weather(world, payload, clock.now())

    power = Power()
    head_end = world.head_end = InProcessHeadEnd(clock, world.recorder, on_weather, power.step)
    profile = catalog.profiles[PROFILE]
    _build_meters(world, read_limits(profile, settings.site.meters[0]), power)
    lines = _lines(world)
    parts = (power, world.log, HostTime(clock.now))
    host = Host(settings, catalog, world.database, world.links, _concentrators(world, lines), head_end, parts)
    weather = WeatherService(plan.seed, settings.zone, head_end, clock)
    _build_customers(world, head_end, clock)
    misfortune = Misfortune(plan.seed, mix, clock, world.recorder, Victims(lines, head_end, weather, host, power))
    world.misfortune = misfortune
    confirmations = random.Random(f"{plan.seed}/confirmations")
    if mix.lost_confirmations:
        head_end.loses_confirmation = lambda: confirmations.random() < mix.lost_confirmations
    try:
        gateway = await host.start()
        await enroll(gateway, [_row(plan, index) for index in range(plan.meters)], "meter-sim")
        accounts = [customer.account_id for customer in world.customers]
        bulk = [BulkFiles(plan.seed, mix.days_bulk, accounts, head_end, clock).come()] if mix.days_bulk else []
        await _until_the_end(
            clock.wait(world.end),
            host.fell,
            weather.serve(),
            _note_midnights(world),
            Clerk(plan.seed, accounts, head_end, clock).work(),
            *bulk,
            *[customer.live() for customer in world.customers],
            *misfortune.strikes(),
        )
    finally:
        await host.kill()


async def _note_midnights(world: World) -> None:
    """Read every register at the end of every day, by looking at the meter itself."""
    for number in range(world.plan.days):
        day = world.plan.start + timedelta(days=number)
        await world.clock.wait(datetime.combine(day + timedelta(days=1), time(), ZoneInfo(ZONE)))
        for meter in world.meters.values():
            meter.advance(world.clock.now())
        world.midnights[day] = {name: meter.energy_import_wh for name, meter in world.meters.items()}
    await asyncio.Event().wait()  # the world's end is somebody else's to tell


async def _until_the_end(
    end: Coroutine[None, None, bool], fell: asyncio.Future[None], *lives: Coroutine[None, None, None]
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


def _concentrators(world: World, lines: list[tuple[str, list[InProcessMeter]]]) -> dict[str, InProcessConcentrator]:
    if world.mix.one_by_one:
        return {}
    concentrator = InProcessConcentrator(world.links, world.clock.now, pause)
    return {name: concentrator for name, _ in lines}


def _build_meters(world: World, limits: Limits, power: Power) -> None:
    plan, mix, clock = world.plan, world.mix, world.clock
    world.modulo_wh = limits.modulo_wh
    for index in range(plan.meters):
        name = meter_id(index)
        chance = random.Random(f"{plan.seed}/meter/{name}")
        load = HouseholdLoad(chance.choice(HOUSEHOLDS), f"{plan.seed}/{name}")
        register_wh = chance.randrange(1, 40_000_000)
        if limits.modulo_wh is not None and chance.random() < mix.turned_registers:
            register_wh = limits.modulo_wh - chance.randrange(1, 400_000)
        meter = SimulatedMeter(
            name,
            at=clock.now(),
            load=load,
            serial=_serial(index),
            initial_register_wh=register_wh,
            register_modulo_wh=limits.modulo_wh,
        )
        world.meters[name] = meter
        answers = random.Random(f"{plan.seed}/answers/{name}")
        link = world.links[name] = InProcessMeter(meter, clock.now, pause, answers, mix.noise)
        link.step = power.step
    for _, links in _lines(world):
        for link in links:
            link.others = [other for other in links if other is not link] if mix.noise.swapped else ()


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
    duplicates = world.mix.duplicated_messages
    by_account: dict[str, Customer] = {}
    for index, name in enumerate(world.meters):
        account_id = world.account_of(name)
        chance = random.Random(f"{world.plan.seed}/customer/{index}")
        habit = HABITS[index % len(HABITS)]
        by_account[account_id] = Customer(account_id, habit, chance, head_end, clock, duplicates)
    world.customers = list(by_account.values())
    head_end.listeners.append(lambda account_id, notice: by_account[account_id].hear(notice))


def _tell_weather(world: World, payload: bytes, now: datetime) -> None:
    """A document as the gateway takes it: one that is older than what is in force, or of no use, changes nothing."""
    try:
        parsed = parse_document(payload, now)
    except WeatherRejected:
        return
    if parsed.forecast is not None:
        forecast = parsed.forecast
        if world.forecast_told_at is not None and forecast.fetched_at < world.forecast_told_at:
            return
        world.forecast_told_at = forecast.fetched_at
        world.recorder.tell(
            now,
            "forecast",
            first_hour=forecast.first_hour.astimezone(ZoneInfo(ZONE)).isoformat(),
            temperature_f=[_degrees(value) for value in forecast.temperature_f100],
            heat_index_f=[_degrees(value) for value in forecast.heat_index_f100],
        )
    elif parsed.observation is not None:
        seen = parsed.observation
        if world.observation_told_at is not None and seen.at < world.observation_told_at:
            return
        world.observation_told_at = seen.at
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
            at = world.log.committed_at(happening.table, happening.row)
            world.recorder.tell(at, happening.kind, **happening.keys)


def audit_problems(world: World) -> list[str]:
    """What the gateway's own audit of the books finds, and what an independent one does."""
    with open_for_reading(world.database) as database:
        problems = [*books.audit(database)]
        if world.head_end is not None:
            problems += payment_problems(database, world.head_end)
        for account in customers.accounts(database):
            days = usage.days(database, account.account_id, date.min, date.max)
            problems += charge_problems(days, account.tariff == "flat", world.midnights, world.modulo_wh)
        return problems


def polls(world: World) -> int:
    """How often the daemon asked a meter for its register."""
    return sum(link.asked for link in world.links.values())
