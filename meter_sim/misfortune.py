"""What goes wrong in a simulated world, by a seed: meters, lines, the broker and the daemon itself fail for a while.

Each kind of fault has its own source of chance. A mix says how often; 0 is never. Every fault that lasts is told in the
event file; what is over in an instant (a lost answer, a message sent twice) is only counted.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meter_sim.events import Recorder
from meter_sim.faults import FaultKind
from meter_sim.host import Host
from meter_sim.inprocess import InProcessMeter
from meter_sim.meter import Cause
from meter_sim.mixes import FaultMix
from meter_sim.power import STEPS, Power
from meter_sim.utility import SPOILT, InProcessHeadEnd, WeatherService
from meter_sim.virtual_time import CivilClock, rest
from protocols.link import RelayState

DAY_S = 86_400
NEVER_SET = datetime(1970, 1, 1, tzinfo=UTC)
COMMITS_MAX = 200  # so many commits are passed over at most before one is the last; of rarer steps, three


@dataclass(frozen=True, slots=True)
class Victims:
    """What things happen to."""

    lines: Sequence[tuple[str, Sequence[InProcessMeter]]]
    head_end: InProcessHeadEnd
    weather: WeatherService
    host: Host
    power: Power


class Misfortune:
    """Lets things fail and mend."""

    def __init__(self, seed: int, mix: FaultMix, clock: CivilClock, recorder: Recorder, victims: Victims) -> None:
        self._seed = seed
        self._mix = mix
        self._clock = clock
        self._recorder = recorder
        self._victims = victims
        self._lines = victims.lines
        self._head_end = victims.head_end
        self._afflicted: set[str] = set()  # asked, never walked through
        self._failed = asyncio.Event()
        self._dying = asyncio.Lock()
        self.injected = 0
        victims.power.failed = self._power_fails

    def strikes(self) -> list[Coroutine[None, None, None]]:
        """Everything that goes on for as long as the world lasts, a coroutine a kind of fault."""
        mix, lines = self._mix, self._lines
        links = [link for _, on_line in lines for link in on_line]
        of_a_meter: list[tuple[str, float, Callable[[random.Random, InProcessMeter], Awaitable[None]]]] = [
            ("dead", mix.days_dead, self._dead),
            ("stuck", mix.days_stuck, self._stuck),
            ("touched", mix.days_touched, self._touched),
        ]
        of_all: list[tuple[str, float, Callable[[random.Random], Awaitable[None]]]] = [
            ("line", mix.days_line and mix.days_line / len(lines), self._line),
            ("broker", mix.days_broker, self._broker),
            ("daemon", mix.days_daemon, self._daemon),
            ("step", mix.days_step, self._step),
            ("clock", mix.days_clock, self._time),
            ("weather", mix.days_weather, self._weather),
        ]
        return [
            *[self._side_by_side(name, days / len(links), links, spell) for name, days, spell in of_a_meter if days],
            *[self._one_by_one(name, days, spell) for name, days, spell in of_all if days],
            *([self._mend_power()] if mix.days_step else []),
        ]

    async def _side_by_side(
        self,
        name: str,
        days: float,
        links: Sequence[InProcessMeter],
        spell: Callable[[random.Random, InProcessMeter], Awaitable[None]],
    ) -> None:
        """Faults of single meters, several at a time, one a meter."""
        chance = random.Random(f"{self._seed}/fault/{name}")
        async with asyncio.TaskGroup() as spells:
            while True:
                await rest(self._clock, chance.expovariate(1 / (days * DAY_S)))
                link = chance.choice(links)
                if link.meter.meter_id not in self._afflicted:
                    spells.create_task(self._afflict(chance, link, spell))

    async def _afflict(
        self,
        chance: random.Random,
        link: InProcessMeter,
        spell: Callable[[random.Random, InProcessMeter], Awaitable[None]],
    ) -> None:
        self._afflicted.add(link.meter.meter_id)
        await spell(chance, link)
        self._afflicted.discard(link.meter.meter_id)

    async def _one_by_one(self, name: str, days: float, spell: Callable[[random.Random], Awaitable[None]]) -> None:
        chance = random.Random(f"{self._seed}/fault/{name}")
        while True:
            await rest(self._clock, chance.expovariate(1 / (days * DAY_S)))
            await spell(chance)

    def _begin(self, target: str, fault: str, **keys: object) -> None:
        self.injected += 1
        self._recorder.tell(self._clock.now(), "fault", target=target, fault=fault, **keys)

    def _end(self, target: str, fault: str, **keys: object) -> None:
        self._recorder.tell(self._clock.now(), "fault_end", target=target, fault=fault, **keys)

    async def _dead(self, chance: random.Random, link: InProcessMeter) -> None:
        self._begin(link.meter.meter_id, "dead")
        link.silenced += 1
        await rest(self._clock, chance.uniform(1_800, 43_200))
        link.silenced -= 1
        self._end(link.meter.meter_id, "dead")

    async def _stuck(self, chance: random.Random, link: InProcessMeter) -> None:
        self._begin(link.meter.meter_id, "stuck_relay")
        link.meter.fault = FaultKind.STUCK_RELAY
        await rest(self._clock, chance.uniform(1_800, 43_200))
        link.meter.fault = None
        self._end(link.meter.meter_id, "stuck_relay")

    async def _touched(self, chance: random.Random, link: InProcessMeter) -> None:
        """A hand at the meter moves its switch, and some hours later connects it again if nobody else has."""
        self.injected += 1
        before = link.meter.values(self._clock.now()).relay
        other = RelayState.CONNECTED if before is RelayState.DISCONNECTED else RelayState.DISCONNECTED
        link.meter.set_relay(other, self._clock.now(), Cause.FOREIGN)
        await rest(self._clock, chance.uniform(1_800, 30_000))
        if before is RelayState.CONNECTED and link.meter.values(self._clock.now()).relay is other:
            link.meter.set_relay(before, self._clock.now(), Cause.FOREIGN)

    async def _line(self, chance: random.Random) -> None:
        name, links = chance.choice(self._lines)
        meters = [link.meter.meter_id for link in links]
        self._begin("line", "silent", line=name, meters=meters)
        for link in links:
            link.silenced += 1
        await rest(self._clock, chance.uniform(300, 14_400))
        for link in links:
            link.silenced -= 1
        self._end("line", "silent", line=name, meters=meters)

    async def _broker(self, chance: random.Random) -> None:
        self._begin("broker", "away")
        self._head_end.cut_line()
        await rest(self._clock, chance.uniform(300, 7_200))
        self._head_end.restore_line()
        self._end("broker", "away")

    async def _daemon(self, chance: random.Random) -> None:
        await self._kill_daemon(chance.uniform(5, 900))

    async def _kill_daemon(self, seconds: float) -> None:
        async with self._dying:
            if not self._victims.power.on:
                return  # it is dead already
            self._begin("daemon", "killed")
            await self._start_again(seconds)

    async def _start_again(self, seconds: float) -> None:
        host = self._victims.host
        await host.kill()
        await rest(self._clock, seconds)
        await host.start()
        self._end("daemon", "killed")
        self._recorder.tell(self._clock.now(), "restart", target="daemon", fault="killed")

    async def _step(self, chance: random.Random) -> None:
        """The machine fails just before or after something that cannot be taken back."""
        step = chance.choice(STEPS)
        self._victims.power.fail_at(step, chance.randint(1, COMMITS_MAX if "commit" in step else 3))

    def _power_fails(self, step: str) -> None:
        self._begin("daemon", "killed", step=step)
        self._failed.set()

    async def _mend_power(self) -> None:
        chance = random.Random(f"{self._seed}/fault/mended")
        while True:
            await self._failed.wait()
            async with self._dying:
                self._failed.clear()
                await self._start_again(chance.uniform(5, 300))

    async def _time(self, chance: random.Random) -> None:
        """The gateway's clock is set forwards, backwards or to 1970, and set right some time later."""
        kind = chance.choice(("forwards", "backwards", "1970"))
        wrong_by = timedelta(seconds=chance.randint(60, 40 * 3600))
        if kind == "backwards":
            wrong_by = -wrong_by
        elif kind == "1970":
            wrong_by = NEVER_SET - self._clock.now()
        self._begin("clock", kind, seconds=int(wrong_by.total_seconds()))
        self._victims.host.set_time(wrong_by)
        await rest(self._clock, chance.uniform(60, 28_800))
        self._victims.host.set_time(timedelta(0))
        self._end("clock", kind)

    async def _weather(self, chance: random.Random) -> None:
        kind = chance.choice(SPOILT)
        self._begin("weather", kind)
        self._victims.weather.spoilt = kind
        await rest(self._clock, chance.uniform(6, 40) * 3600)
        self._victims.weather.spoilt = ""
        self._end("weather", kind)
