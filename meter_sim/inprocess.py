"""Meters without a wire: links that ask simulated meters directly, and lose, delay and garble answers as lines do."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from meter_sim.meter import SimulatedMeter
from protocols.link import LinkError, LinkTimeout, Readout, RelayState, SwitchAction

Now = Callable[[], datetime]
Pause = Callable[[float], Awaitable[None]]

ANSWER_S = 0.05
LATE_S = (0.3, 0.95)  # slow, and still within the time-out
TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares of exchanges that a line spoils: answers lost, answers late, register reads wrong beyond belief."""

    lost: float = 0.0
    late: float = 0.0
    wrong: float = 0.0


class InProcessMeter:
    """A meter link to a simulated meter. ``silenced`` counts the faults that keep it from answering now."""

    def __init__(self, meter: SimulatedMeter, now: Now, pause: Pause, chance: random.Random, noise: Noise) -> None:
        self.meter = meter
        self.silenced = 0
        self.asked = 0  # how often it was polled
        self.spoilt = 0
        self.on_command: Callable[[], None] = lambda: None
        self._now = now
        self._pause = pause
        self._chance = chance
        self._noise = noise

    async def read(self) -> Readout:
        """Ask for register, power and relay once. Raises LinkTimeout."""
        self.asked += 1
        await self._answer()
        return self._readout(self._now())

    def read_at(self, at: datetime) -> Readout | LinkError:
        """What comes of asking once when all of the line are asked together, at ``at``."""
        self.asked += 1
        if self.silenced or self._happens(self._noise.lost):
            return self._timeout()
        return self._readout(at)

    def _readout(self, at: datetime) -> Readout:
        meter = self.meter
        meter.advance(at)
        return Readout(
            self._register(meter.energy_import_wh), meter.relay, meter.power_w(), serial=meter.serial or None
        )

    def _register(self, energy_wh: int) -> int:
        """What the register seems to show: now and then nothing, something absurd, or something of long ago."""
        if not self._happens(self._noise.wrong):
            return energy_wh
        return self._chance.choice((0, energy_wh + 500_000_000, energy_wh // 2))

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone. Raises LinkTimeout."""
        await self._answer()
        return self.meter.values(self._now()).relay

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Tell the switch once. Raises LinkTimeout, after which the switch may have moved or not."""
        if expires_in_s <= 0:
            raise LinkTimeout(f"{self.meter.meter_id}: the command expired; nothing was sent")
        if self.silenced:
            await self._silence()
        question_lost, answer_lost = self._happens(self._noise.lost), self._happens(self._noise.lost)
        if not question_lost:
            self.meter.command(action.wanted, self._now())
        self.on_command()
        if question_lost or answer_lost:
            await self._silence()
        await self._pause(ANSWER_S)

    async def _answer(self) -> None:
        if self.silenced or self._happens(self._noise.lost):
            await self._silence()
        await self._pause(self._chance.uniform(*LATE_S) if self._happens(self._noise.late) else ANSWER_S)

    def _happens(self, share: float) -> bool:
        if not share or self._chance.random() >= share:
            return False
        self.spoilt += 1
        return True

    async def _silence(self) -> None:
        await self._pause(TIMEOUT_S)
        raise self._timeout()

    def _timeout(self) -> LinkTimeout:
        return LinkTimeout(f"{self.meter.meter_id}: no answer within {TIMEOUT_S:.0f} s")


class InProcessConcentrator:
    """A line that asks its meters together and has all their answers, and the time-outs, after one time-out."""

    def __init__(self, links: Mapping[str, InProcessMeter], now: Now, pause: Pause) -> None:
        self._links = links
        self._now = now
        self._pause = pause

    async def read_many(self, meter_ids: Sequence[str]) -> list[Readout | LinkError]:
        """Ask these meters once."""
        await self._pause(TIMEOUT_S)
        now = self._now()
        return [self._links[meter_id].read_at(now) for meter_id in meter_ids]
