"""What goes wrong in a simulated world, by a seed: meters, lines, the broker and the daemon itself fail for a while.

Each kind of fault has its own source of chance. A mix says how often; 0 is never. Every fault that lasts is told in the
event file; what is over in an instant (a lost answer, a message sent twice) is only counted.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from meter_sim.events import Recorder
from meter_sim.faults import FaultKind
from meter_sim.inprocess import InProcessMeter, Noise
from meter_sim.meter import Cause
from meter_sim.utility import InProcessHeadEnd
from meter_sim.virtual_time import CivilClock, rest
from protocols.link import RelayState

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class FaultMix:
    """How much goes wrong: shares of exchanges and messages; mean days between two faults of one thing."""

    noise: Noise = field(default_factory=Noise)
    duplicated_messages: float = 0.0
    lost_confirmations: float = 0.0  # of what the gateway publishes
    crashes_in_a_command: float = 0.0  # share of relay commands in the midst of which the daemon dies
    days_dead: float = 0.0  # of a meter
    days_stuck: float = 0.0  # of a relay
    days_touched: float = 0.0  # between two hands at a meter's switch
    days_line: float = 0.0  # of a line
    days_broker: float = 0.0
    days_daemon: float = 0.0


MIXES = {
    "none": FaultMix(),
    "normal": FaultMix(
        noise=Noise(lost=0.002, late=0.01, wrong=0.0005),
        duplicated_messages=0.02,
        lost_confirmations=0.002,
        days_dead=60,
        days_stuck=200,
        days_touched=400,
        days_line=45,
        days_broker=20,
        days_daemon=30,
    ),
    "harsh": FaultMix(
        noise=Noise(lost=0.03, late=0.05, wrong=0.01),
        duplicated_messages=0.10,
        lost_confirmations=0.05,
        crashes_in_a_command=0.05,
        days_dead=6,
        days_stuck=20,
        days_touched=40,
        days_line=5,
        days_broker=3,
        days_daemon=2,
    ),
}


class Misfortune:
    """Lets things fail and mend. ``daemon_dies``: kill the daemon, and start it again after so many seconds."""

    def __init__(
        self,
        seed: int,
        mix: FaultMix,
        clock: CivilClock,
        recorder: Recorder,
        lines: Sequence[tuple[str, Sequence[InProcessMeter]]],
        head_end: InProcessHeadEnd,
        daemon_dies: Callable[[float], Awaitable[None]],
    ) -> None:
        self._seed = seed
        self._mix = mix
        self._clock = clock
        self._recorder = recorder
        self._lines = lines
        self._head_end = head_end
        self._daemon_dies = daemon_dies
        self._afflicted: set[str] = set()  # asked, never walked through
        self._crash = asyncio.Event()
        self._dying = asyncio.Lock()
        self.injected = 0

    def strikes(self) -> list[Coroutine[None, None, None]]:
        """Everything that goes on for as long as the world lasts, a coroutine a kind of fault."""
        mix, lines = self._mix, self._lines
        links = [link for _, on_line in lines for link in on_line]
        share = mix.crashes_in_a_command
        if share:
            chance = random.Random(f"{self._seed}/fault/crash")
            for link in links:
                link.on_command = lambda: self._crash.set() if chance.random() < share else None
        of_a_meter: list[tuple[str, float, Callable[[random.Random, InProcessMeter], Awaitable[None]]]] = [
            ("dead", mix.days_dead, self._dead),
            ("stuck", mix.days_stuck, self._stuck),
            ("touched", mix.days_touched, self._touched),
        ]
        of_all: list[tuple[str, float, Callable[[random.Random], Awaitable[None]]]] = [
            ("line", mix.days_line and mix.days_line / len(lines), self._line),
            ("broker", mix.days_broker, self._broker),
            ("daemon", mix.days_daemon, self._daemon),
        ]
        return [
            *[self._side_by_side(name, days / len(links), links, spell) for name, days, spell in of_a_meter if days],
            *[self._one_by_one(name, days, spell) for name, days, spell in of_all if days],
            *([self._crash_when_due()] if share else []),
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

    async def _crash_when_due(self) -> None:
        chance = random.Random(f"{self._seed}/fault/crashed")
        while True:
            await self._crash.wait()
            self._crash.clear()
            await self._kill_daemon(chance.uniform(5, 120))

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
            self._begin("daemon", "killed")
            await self._daemon_dies(seconds)
            self._end("daemon", "killed")
            self._recorder.tell(self._clock.now(), "restart", target="daemon", fault="killed")
