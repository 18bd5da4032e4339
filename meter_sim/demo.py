"""``meter-sim demo``: the whole main job on simulated meters over real sockets, in a week of scaled time.

One process and one event loop hold the simulated meters, the very daemon that ``ami-edge run`` runs, and the utility's
head end; a broker runs beside it in a child process. Everything ends by itself: when the story is told, when something
breaks, or when the time is up; the last two are failed checks.
"""

import asyncio
import json
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvloop

from edge import __version__, api
from edge.catalog import Catalog, load_catalog
from edge.clock import ScaledClock, pause
from edge.daemon import Ports, run
from edge.gateway import Gateway
from edge.links import build_links, head_end_session
from edge.settings import ConfigError, Settings, packaged_config
from edge.store.engine import Store
from meter_sim.demo_cast import CUSTOMERS
from meter_sim.demo_checks import Check, summary
from meter_sim.demo_evidence import Evidence
from meter_sim.demo_journal import Journal
from meter_sim.demo_screen import Audience, audience_for, print_summary
from meter_sim.demo_site import (
    GATEWAY_ID,
    LOOPBACK,
    DemoUnavailable,
    broker_running,
    demo_feeder,
    gateway_settings,
)
from meter_sim.demo_story import START, Story, Tempo, local_api, weather_service
from meter_sim.demo_watch import look
from meter_sim.head_end import HeadEndClient, HeadEndLost, head_end
from meter_sim.running import LineUnavailable, RunningFeeder, running_feeder
from protocols.profile import load_profiles

NORMAL = Tempo(travel=10_000, midnight=3_600, watch=300, dwell_s=2.2)
FAST = Tempo(travel=36_000, midnight=9_000, watch=1_500, dwell_s=0.25)
DEADLINE_S = {NORMAL: 160.0, FAST: 50.0}  # wall seconds from the start; the contract's limits are 180 and 60
GIVE_UP_AFTER_S = 8.0  # past the deadline: what was told to end has not ended
LOOK_EVERY_S = 0.2
RATE_AT_START = 30.0  # until the story begins


def demonstrate(*, fast: bool, as_json: bool) -> int:
    """Play the demonstration and print its summary; the exit code.

    0: every check holds. 1: one does not, or the demonstration could not start or was stopped.
    """
    _silence_logs()
    no_color = "NO_COLOR" in os.environ
    audience = audience_for(sys.stderr if as_json else sys.stdout, no_color or as_json)
    tempo = FAST if fast else NORMAL
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ami-edge-demo-") as folder,
            broker_running() as broker_port,
            audience,
            _ending_anyhow(DEADLINE_S[tempo] + GIVE_UP_AFTER_S, Path(folder), audience),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            answer = runner.run(_perform(Path(folder), broker_port, tempo, audience))
    except (DemoUnavailable, LineUnavailable, ConfigError) as problem:
        print(f"meter-sim: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("meter-sim: the demonstration was stopped before its end; nothing was judged", file=sys.stderr)
        return 1
    try:
        if as_json:
            print(json.dumps(answer), flush=True)
        else:
            print_summary(answer, sys.stdout, no_color)
    except BrokenPipeError:  # who read has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0 if all(check["ok"] for check in answer["checks"]) else 1


@contextmanager
def _ending_anyhow(after_s: float, folder: Path, audience: Audience) -> Iterator[None]:
    """End this process, come what may, when the block has not ended in time: the last resort."""

    def give_up() -> None:
        audience.__exit__(None, None, None)
        print("meter-sim: the demonstration hangs and was given up; nothing was judged", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    timer = threading.Timer(after_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _silence_logs() -> None:
    """The daemon's log lines are not for this screen; what matters of them comes as events."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


async def _perform(folder: Path, broker_port: int, tempo: Tempo, audience: Audience) -> dict[str, Any]:
    """Everything inside the event loop; the summary."""
    clock = ScaledClock(START, RATE_AT_START)
    profiles = load_profiles(packaged_config() / "meters", allow_unverified_relay=False)
    feeder = demo_feeder(broker_port, [customer.meter for customer in CUSTOMERS])
    journal = Journal(clock, {customer.account_id: customer.name for customer in CUSTOMERS}, audience.tell)
    trouble = ""
    async with running_feeder(feeder, profiles=profiles, now=clock.now, pause=pause) as bench:
        settings = gateway_settings(bench.ready, feeder, broker_port, folder / "state")
        catalog = load_catalog(settings)
        store = Store(settings.database, threaded=True)
        try:
            gateway_at_work = GatewayAtWork(settings, catalog, clock, store)
            trouble = await _play_in_time(gateway_at_work, bench, tempo, journal, audience)
            now = clock.now()
            for meter in bench.meters.values():
                meter.advance(now)
            ended = Check("The demonstration ran to its end in its time", not trouble, trouble or "nothing broke")
            return await store.read(
                lambda database: summary(Evidence(database, journal, bench.meters, catalog.tariffs), [ended])
            )
        finally:
            store.close()


@dataclass(frozen=True, slots=True)
class GatewayAtWork:
    """The daemon on its real links, as ``ami-edge run`` composes it, but on the demonstration's clock."""

    settings: Settings
    catalog: Catalog
    clock: ScaledClock
    store: Store

    async def run(self, ready: "asyncio.Future[Gateway]") -> None:
        """Run until cancelled; ``ready`` gets the gateway when its local API listens."""
        links, companions = build_links(self.settings, self.catalog.profiles)
        listening = asyncio.Event()

        async def local_api_service(gateway: Gateway) -> None:
            await api.serve(gateway, self.settings.socket, __version__, listening)

        async def announce(gateway: Gateway) -> None:
            await listening.wait()
            while not gateway.head_end.connected:
                await pause(0.01)
            ready.set_result(gateway)

        services = (local_api_service, announce, *map(_beside, companions))
        session = head_end_session(self.settings)
        await run(self.settings, self.catalog, Ports(self.clock, self.store, links, session, services), lambda _: None)


def _beside(companion: Callable[[], Awaitable[None]]) -> Callable[[Gateway], Awaitable[None]]:
    async def service(_: Gateway) -> None:
        await companion()

    return service


async def _play_in_time(
    at_work: GatewayAtWork, bench: RunningFeeder, tempo: Tempo, journal: Journal, audience: Audience
) -> str:
    """Play the story beside everything that serves it; a sentence that says what broke, or nothing."""
    try:
        async with (
            asyncio.timeout(DEADLINE_S[tempo]),
            head_end((LOOPBACK, at_work.settings.site.broker.port), GATEWAY_ID) as client,
            asyncio.TaskGroup() as tasks,
        ):
            ready: asyncio.Future[Gateway] = asyncio.get_running_loop().create_future()
            running = [tasks.create_task(at_work.run(ready)), tasks.create_task(_listen(client, journal))]
            gateway = await ready
            running.append(tasks.create_task(weather_service(at_work.clock, client, journal)))
            running.append(tasks.create_task(_paint(gateway, at_work.clock, journal, audience)))
            async with local_api(str(at_work.settings.socket)) as local:
                await Story(at_work.clock, tempo, client, local, bench.meters, journal).play()
            for task in running:
                task.cancel()
    except TimeoutError:
        return f"it was not at its end after {DEADLINE_S[tempo]:.0f} s: {journal.doing}"
    except ExceptionGroup as several:
        return "; ".join(_sentences(several))
    except HeadEndLost as problem:
        return str(problem)
    return ""


def _sentences(problem: BaseException) -> Iterator[str]:
    if isinstance(problem, BaseExceptionGroup):
        for inner in problem.exceptions:
            yield from _sentences(inner)
    else:
        yield f"{type(problem).__name__}: {problem}"


async def _listen(client: HeadEndClient, journal: Journal) -> None:
    """Hear what the gateway tells; confirm the delivery of each notice, as a notification service does."""
    async for kind, content in client.heard():
        journal.hear(kind, content)
        if kind == "notices":
            delivered = {"notice_id": content["notice_id"], "delivered_at": journal.clock.now().isoformat()}
            await client.send("notice-receipts", delivered)


async def _paint(gateway: Gateway, clock: ScaledClock, journal: Journal, audience: Audience) -> None:
    """Show how everything stands, again and again."""
    while True:
        audience.show(await look(gateway, CUSTOMERS), journal.doing, clock.pace)
        await pause(LOOK_EVERY_S)
