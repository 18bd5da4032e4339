"""Meters without a wire: links that ask simulated meters directly, with the answers that real lines lose or delay."""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime

from meter_sim.faults import FaultKind
from meter_sim.meter import SimulatedMeter
from protocols.link import LinkTimeout, Readout, RelayState, SwitchAction

Now = Callable[[], datetime]
Pause = Callable[[float], Awaitable[None]]

ANSWER_S = 0.05
TIMEOUT_S = 1.0


class InProcessMeter:
    """A meter link to a simulated meter; ``loss``: the share of questions whose answer is lost."""

    def __init__(self, meter: SimulatedMeter, now: Now, pause: Pause, chance: random.Random, loss: float) -> None:
        self._meter = meter
        self._now = now
        self._pause = pause
        self._chance = chance
        self._loss = loss
        self.lost = 0

    async def read(self) -> Readout:
        """Ask for register, power and relay once. Raises LinkTimeout."""
        await self._answer()
        values = self._meter.values(self._now())
        return Readout(
            energy_import_wh=values.energy_import_wh,
            relay=values.relay,
            power_w=values.power_w,
            voltage_mv=values.voltage_mv,
            current_ma=values.current_ma,
            frequency_mhz=values.frequency_mhz,
            serial=values.serial or None,
        )

    async def read_relay(self) -> RelayState:
        """Ask for the switch alone. Raises LinkTimeout."""
        await self._answer()
        return self._meter.values(self._now()).relay

    async def command(self, action: SwitchAction, *, expires_in_s: float) -> None:
        """Tell the switch once. Raises LinkTimeout, after which the switch may have moved or not."""
        if expires_in_s <= 0:
            raise LinkTimeout(f"{self._meter.meter_id}: the command expired; nothing was sent")
        if self._meter.fault is FaultKind.DEAD:
            await self._silence()
        lost_before, lost_after = self._is_lost(), self._is_lost()
        if not lost_before:
            self._meter.command(action.wanted, self._now())
        if lost_before or lost_after:
            await self._silence()
        await self._pause(ANSWER_S)

    async def _answer(self) -> None:
        if self._meter.fault is FaultKind.DEAD or self._is_lost():
            await self._silence()
        await self._pause(ANSWER_S)

    def _is_lost(self) -> bool:
        if not self._loss or self._chance.random() >= self._loss:
            return False
        self.lost += 1
        return True

    async def _silence(self) -> None:
        await self._pause(TIMEOUT_S)
        raise LinkTimeout(f"{self._meter.meter_id}: no answer within {TIMEOUT_S:.0f} s")
