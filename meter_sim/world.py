"""A whole world in virtual time: the very daemon, simulated meters without wires, a head end with its customers.

One seed decides everything. Every source of chance has a generator of its own, so that one more meter changes nothing
about the others.
"""

import asyncio
import logging
import random
import tempfile
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog

from edge.catalog import Catalog, load_catalog
from edge.clock import ScaledClock, pause
from edge.daemon import Ports, run
from edge.enrolment import Row, enroll
from edge.gateway import Gateway
from edge.settings import Settings, parse_site, read_toml
from edge.store import books, fleet
from edge.store.engine import Store, open_for_reading
from edge.store.history import history
from edge.weather_feed import parse_document
from meter_sim.events import Recorder
from meter_sim.faults import FaultKind
from meter_sim.household import HouseholdLoad
from meter_sim.inprocess import InProcessMeter
from meter_sim.meter import Cause, SimulatedMeter
from meter_sim.utility import HABITS, Customer, InProcessHeadEnd, WeatherService
from meter_sim.virtual_time import VirtualTimeLoop
from protocols.link import RelayState

ZONE = "America/Chicago"
PROFILE = "hiking-dds238-2-znsr"
METERS_A_LINE = 50
HOUSEHOLDS = ("apartment", "house", "all_electric")


@dataclass(frozen=True, slots=True)
class FaultMix:
    """How much goes wrong. Shares of questions and messages; mean days between failures, 0 for never."""

    lost_answers: float = 0.0
    duplicated_payments: float = 0.0
    days_between_dead_meters: float = 0.0
    days_between_outages: float = 0.0
    days_between_stuck_relays: float = 0.0


MIXES = {
    "none": FaultMix(),
    "normal": FaultMix(0.002, 0.02, 60, 20, 0),
    "harsh": FaultMix(0.03, 0.10, 6, 3, 30),
}


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
    faults_injected: int = 0
    outages: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The state that the daemon leaves."""
        return self.state_dir / "edge.db"

    def account_of(self, meter_id: str) -> str:
        """The account that a meter serves."""
        return "A-" + meter_id.removeprefix("M-")


def simulate(plan: Plan, state_dir: Path | None = None) -> World:
    """Run a world to its end. Raises what the daemon raises: a bug ends the world."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    directory = state_dir or Path(tempfile.mkdtemp(prefix="meter-sim-", dir=_fast_directory()))
    world = World(plan, directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "edge.toml").write_text(site_text(plan), encoding="utf-8")
    settings = Settings(
        parse_site(read_toml(directory / "edge.toml"), "edge.toml"), ZoneInfo(ZONE), directory / "edge.toml", directory
    )
    catalog = load_catalog(settings)
    store = Store(world.database, threaded=False, durable=False)
    try:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(_live(world, settings, catalog, store))
    finally:
        store.close()
    _tell_relays(world)
    _tell_books(world)
    return world


def _fast_directory() -> str | None:
    """Memory, where there is such a directory: state that nobody asked to keep need not reach a disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a fresh directory of our own is made in it
    return str(memory) if memory.is_dir() else None


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


async def _live(world: World, settings: Settings, catalog: Catalog, store: Store) -> None:
    plan = world.plan
    start = datetime.combine(plan.start, time(), settings.zone)
    end = datetime.combine(plan.start + timedelta(days=plan.days), time(), settings.zone)
    clock = ScaledClock(start, 1.0)
    clock.now()
    mix = MIXES[plan.faults]

    def on_weather(payload: bytes) -> None:
        _tell_weather(world, payload, clock.now())

    head_end = InProcessHeadEnd(clock, world.recorder, on_weather)
    _build_meters(world, clock, mix)
    ready: asyncio.Event = asyncio.Event()
    gateways: list[Gateway] = []

    def on_ready(gateway: Gateway) -> None:
        gateways.append(gateway)
        ready.set()

    daemon = asyncio.ensure_future(run(settings, catalog, Ports(clock, store, world.links, head_end), on_ready))
    await ready.wait()
    await enroll(gateways[0], [_row(plan, index) for index in range(plan.meters)], "simulation")
    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(WeatherService(plan.seed, settings.zone, head_end, clock).serve())]
        for index in range(plan.meters):
            customer = _customer(world, index, head_end, clock, mix)
            others.append(tasks.create_task(customer.live()))
        others += [
            tasks.create_task(_fail_now_and_then(world, head_end, clock, mix, kind)) for kind in ("dead", "line")
        ]
        waiting = tasks.create_task(_until(clock, end))
        await asyncio.wait([daemon, waiting], return_when=asyncio.FIRST_COMPLETED)
        for task in (*others, waiting, daemon):
            task.cancel()
    if not daemon.cancelled() and daemon.done() and (problem := daemon.exception()):
        raise problem


async def _until(clock: ScaledClock, end: datetime) -> None:
    await clock.wait(end)


def _build_meters(world: World, clock: ScaledClock, mix: FaultMix) -> None:
    plan = world.plan
    for index in range(plan.meters):
        name = meter_id(index)
        chance = random.Random(f"{plan.seed}/meter/{name}")
        load = HouseholdLoad(chance.choice(HOUSEHOLDS), f"{plan.seed}/{name}")
        meter = SimulatedMeter(name, at=clock.now(), load=load, initial_register_wh=chance.randrange(1, 40_000_000))
        world.meters[name] = meter
        answers = random.Random(f"{plan.seed}/answers/{name}")
        world.links[name] = InProcessMeter(meter, clock.now, pause, answers, mix.lost_answers)


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


def _customer(world: World, index: int, head_end: InProcessHeadEnd, clock: ScaledClock, mix: FaultMix) -> Customer:
    account_id = world.account_of(meter_id(index))
    chance = random.Random(f"{world.plan.seed}/customer/{index}")
    habit = HABITS[index % len(HABITS)]
    customer = Customer(account_id, habit, chance, head_end, clock, mix.duplicated_payments)
    head_end.customers[account_id] = customer
    world.customers.append(customer)
    return customer


async def _fail_now_and_then(
    world: World, head_end: InProcessHeadEnd, clock: ScaledClock, mix: FaultMix, what: str
) -> None:
    """Let meters die for hours, or the line to the head end for minutes, at seeded times."""
    chance = random.Random(f"{world.plan.seed}/fault/{what}")
    days = mix.days_between_dead_meters / max(1, len(world.meters)) if what == "dead" else mix.days_between_outages
    if not days:
        return
    names = list(world.meters)
    while True:
        await pause(chance.expovariate(1 / (days * 86_400)))
        since = clock.now()
        world.faults_injected += 1
        if what == "line":
            world.recorder.tell(since, "fault", target="broker", fault="away")
            head_end.cut_line()
            await pause(chance.uniform(300, 7200))
            head_end.restore_line()
            world.recorder.tell(clock.now(), "fault_end", target="broker", fault="away")
            world.outages.append(("broker", since, clock.now()))
            continue
        meter = world.meters[chance.choice(names)]
        world.recorder.tell(since, "fault", target=meter.meter_id, fault="dead")
        meter.fault = FaultKind.DEAD
        await pause(chance.uniform(1800, 43_200))
        meter.fault = None
        world.recorder.tell(clock.now(), "fault_end", target=meter.meter_id, fault="dead")
        world.outages.append((meter.meter_id, since, clock.now()))


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
    """How many register reads the daemon has saved."""
    with open_for_reading(world.database) as database:
        return fleet.count_reads(database)
