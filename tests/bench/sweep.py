"""One full sweep of all meters: the daemon's own code beside loops that only read, and libmodbus in C.

A bare loop of pymodbus, on asyncio and on uvloop, waits for nothing but answers; the daemon's decodes, validates and
stores durably besides. Each keeps its connections and its event loop for the whole run; they take turns.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from edge.catalog import load_catalog
from edge.clock import SystemClock
from edge.daemon import Ports, build_gateway, polled_meters
from edge.links import build_links
from edge.readings import LinePoller, PolledMeter, ReadSaver, by_line
from edge.settings import load_settings
from edge.store.engine import Store, open_for_reading
from protocols.link import HeadEndMessage
from tests.bench.site import HOST, BenchError, Site
from tests.bench.table import Aim, Figure, ratio_of_turns

STATE = "sweep-state"
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class Series:
    """What one way of sweeping took: seconds of wall time and of CPU, a sweep each."""

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, wall_s: float, cpu_s: float) -> None:
        """One sweep more."""
        self.wall.append(wall_s)
        self.cpu.append(cpu_s)


def measured(runner: asyncio.Runner, sweep: Callable[[], object], series: Series | None) -> None:
    """Run one sweep of this process; None: it only warms up."""
    wall, cpu = time.perf_counter(), time.process_time()
    runner.run(sweep())  # type: ignore[arg-type]
    if series is not None:
        series.add(time.perf_counter() - wall, time.process_time() - cpu)


class BareLoop:
    """pymodbus and nothing else: a client a gateway, both questions to every unit behind it."""

    def __init__(self, site: Site, loop_factory: LoopFactory | None) -> None:
        self._units = range(1, site.units + 1)
        self.runner = asyncio.Runner(loop_factory=loop_factory)
        self._clients = self.runner.run(self._connect(site.ports))

    async def _connect(self, ports: tuple[int, ...]) -> list[AsyncModbusTcpClient]:
        clients = [AsyncModbusTcpClient(HOST, port=port) for port in ports]
        if not all([await client.connect() for client in clients]):
            raise BenchError("a gateway could not be connected")
        return clients

    async def sweep(self) -> None:
        """Ask every unit."""
        await asyncio.gather(*map(self._gateway, self._clients))

    async def _gateway(self, client: AsyncModbusTcpClient) -> None:
        for unit in self._units:
            measurements = await client.read_holding_registers(0x0000, count=18, device_id=unit)
            relay = await client.read_holding_registers(0x001A, count=1, device_id=unit)
            if measurements.isError() or relay.isError():
                raise BenchError(f"unit {unit} answers an error")

    def close(self) -> None:
        """Hang up."""

        async def hang_up() -> None:
            for client in self._clients:
                client.close()

        self.runner.run(hang_up())
        self.runner.close()


class _NoHeadEnd:
    """A head end that never says anything."""

    connected = False

    async def messages(self) -> AsyncIterator[HeadEndMessage]:
        """None come."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError
        yield

    async def acknowledge(self, message: HeadEndMessage) -> None:
        """Nothing to acknowledge."""

    async def publish(self, kind: str, payload: bytes) -> None:
        """Nobody listens."""


class DaemonsCode:
    """The daemon's pollers, validation and store, on the loop it runs on, with every meter due at each sweep."""

    def __init__(self, site: Site) -> None:
        self._settings = load_settings(site.config, site.directory / STATE)
        self._store = Store(self._settings.database, threaded=True)
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._meters: list[PolledMeter] = []
        self._pollers: list[LinePoller] = []
        self.runner.run(self._build())

    async def _build(self) -> None:
        catalog = load_catalog(self._settings)
        links, _ = build_links(self._settings, catalog.profiles)
        ports = Ports(SystemClock("always"), self._store, links, _NoHeadEnd())
        gateway = build_gateway(self._settings, catalog, ports)
        self._meters = polled_meters(self._settings, catalog, links)
        attempts = self._settings.site.polling.attempts
        saver = ReadSaver(gateway)
        lines = by_line(self._meters)
        self._pollers = [LinePoller(gateway, line, attempts, lambda _: None, saver) for line in lines]

    async def sweep(self) -> None:
        """Poll every meter once; returns when all reads are durable."""
        for meter in self._meters:
            meter.due = None
        await asyncio.gather(*(poller.sweep() for poller in self._pollers))

    def close(self) -> None:
        """Close the store."""
        self.runner.close()
        self._store.close()

    def stored(self) -> int:
        """How many accepted reads are in the database."""
        database = open_for_reading(self._settings.database)
        count: int = database.execute("SELECT count(*) FROM reading WHERE accepted = 1").fetchone()[0]
        database.close()
        return count


@contextmanager
def libmodbus(program: Path, units: int, ports: tuple[int, ...]) -> Iterator[Callable[[], tuple[float, float]]]:
    """The C peer, connected; calling it makes one sweep and tells its seconds of wall time and of CPU."""
    command = [str(program), HOST, str(units), *map(str, ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        sent, answers = running.stdin, running.stdout

        def sweep() -> tuple[float, float]:
            sent.write(b"\n")
            sent.flush()
            answer = answers.readline().split()
            if len(answer) != 2:
                raise BenchError("libmodbus_sweep ended too early")
            return int(answer[0]) / 1e9, int(answer[1]) / 1e9

        yield sweep
        sent.close()


def sweeps(site: Site, program: Path, turns: int) -> list[Figure]:
    """Turns of the four ways to ask every meter once, and their figures."""
    plain, fast, ours, c = Series("pymodbus"), Series("pymodbus, uvloop"), Series("daemon"), Series("libmodbus")
    bare, bare_uvloop, daemon = BareLoop(site, None), BareLoop(site, uvloop.new_event_loop), DaemonsCode(site)
    with libmodbus(program, site.units, site.ports) as c_sweep:
        ways: list[Callable[[bool], None]] = [
            lambda warm: measured(bare.runner, bare.sweep, None if warm else plain),
            lambda warm: measured(daemon.runner, daemon.sweep, None if warm else ours),
            lambda warm: measured(bare_uvloop.runner, bare_uvloop.sweep, None if warm else fast),
            lambda warm: c.add(*c_sweep()) if not warm else c_sweep() and None,
        ]
        for turn in range(-2, turns):
            shift = turn % len(ways)
            for way in ways[shift:] + ways[:shift]:
                way(turn < 0)
    for opened in (bare, bare_uvloop, daemon):
        opened.close()
    meters = site.gateways * site.units
    if (stored := daemon.stored()) != meters * (turns + 2):
        raise BenchError(f"of {meters * (turns + 2)} reads {stored} were stored as accepted")
    return _figures(meters, plain, fast, ours, c)


def _figures(meters: int, plain: Series, fast: Series, ours: Series, c: Series) -> list[Figure]:
    def sweep(peer: Series, aim: Aim | None) -> Figure:
        ratio = ratio_of_turns(ours.wall, peer.wall)
        what = f"daemon's sweep of {meters} meters, stored"
        return Figure(what, median(ours.wall), "s", f"{peer.name}, only reads", median(peer.wall), ratio, aim)

    def cpu(series: Series) -> float:
        return median(series.cpu) / meters * 1e6

    return [
        sweep(plain, Aim("at most", 1.3)),
        sweep(fast, None),
        sweep(c, Aim("at most", 2.0)),
        Figure(
            "CPU of a stored read (two questions)",
            cpu(ours),
            "µs",
            "pymodbus, only reads",
            cpu(plain),
            ratio_of_turns(ours.cpu, plain.cpu),
        ),
        Figure(
            "CPU of a stored read (two questions)",
            cpu(ours),
            "µs",
            "pymodbus, uvloop, only reads",
            cpu(fast),
            ratio_of_turns(ours.cpu, fast.cpu),
        ),
        Figure("  libmodbus, two questions", cpu(c), "µs"),
    ]
