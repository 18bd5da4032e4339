"""Meters without a wire: links that ask simulated meters directly, and lose, delay and garble answers as lines do."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from meter_sim.meter import SimulatedMeter
from protocols.link import LinkError, LinkGarbled, LinkTimeout, Readout, RelayState, SwitchAction

Now = Callable[[], datetime]
Pause = Callable[[float], Awaitable[None]]

ANSWER_S = 0.05
LATE_S = (0.3, 0.95)  # slow, and still within the time-out
TIMEOUT_S = 1.0
REPEATED_WITHIN = timedelta(seconds=5)  # older answers have long been thrown away


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares of exchanges that a line spoils.

    ``lost``: no answer. ``late``: within the time-out, but late. ``wrong``: a register beyond belief. ``swapped``: the
    answer of another meter of the line. ``repeated``: the answer to the question before, if that was just now.
    """

    lost: float = 0.0
    late: float = 0.0
    wrong: float = 0.0
    swapped: float = 0.0
    repeated: float = 0.0


class InProcessMeter:
    """A meter link to a simulated meter. ``silenced`` counts the faults that keep it from answering now.

    ``others``: the links of its line. ``step`` is told before and after a command reaches the meter.
    """

    def __init__(self, meter: SimulatedMeter, now: Now, pause: Pause, chance: random.Random, noise: Noise) -> None:
        self.meter = meter
        self.silenced = 0
        self.asked = 0  # how often it was polled
        self.spoilt = 0
        self.others: Sequence[InProcessMeter] = ()
        self.step: Callable[[str], None] = lambda _: None
        self._answered: tuple[datetime, Readout] | None = None
        self._now = now
        self._pause = pause
        self._chance = chance
        self._noise = noise

    def expect_serial(self, serial: str) -> None:
        """Whoever asks compares the serial number that a read tells."""

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
        """What the daemon gets to see: mostly the truth."""
        before, told = self._answered, self._truth(at)
        self._answered = (at, told)
        noise = self._noise
        if noise.swapped and self.others and self._happens(noise.swapped):
            return self._chance.choice(self.others)._truth(at)
        if noise.repeated and before is not None and at - before[0] < REPEATED_WITHIN and self._happens(noise.repeated):
            return before[1]
        if self._happens(noise.wrong):
            return replace(told, energy_import_wh=self._wrong(told.energy_import_wh or 0))
        return told

    def _truth(self, at: datetime) -> Readout:
        meter = self.meter
        meter.advance(at)
        return Readout(meter.energy_import_wh, meter.relay, meter.power_w(), serial=meter.serial or None)

    def _wrong(self, energy_wh: int) -> int:
        """What the register seems to show: nothing, something absurd, or something of long ago."""
        return self._chance.choice((0, energy_wh + 500_000_000, energy_wh // 2, max(0, energy_wh - 10)))

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone; another meter's answer is known by its unit. Raises LinkTimeout, LinkGarbled."""
        await self._answer()
        if self._happens(self._noise.swapped):
            raise LinkGarbled(f"{self.meter.meter_id}: another unit answered")
        return self._truth(self._now()).relay

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Tell the switch once. Raises LinkTimeout, after which the switch may have moved or not."""
        if expires_in_s <= 0:
            raise LinkTimeout(f"{self.meter.meter_id}: the command expired; nothing was sent")
        if self.silenced:
            await self._silence()
        question_lost, answer_lost = self._happens(self._noise.lost), self._happens(self._noise.lost)
        self.step("before command")
        if not question_lost:
            self.meter.command(action.wanted, self._now())
        self.step("after command")
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
