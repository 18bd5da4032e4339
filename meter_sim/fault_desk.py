"""Faults of a running simulator's meters, set and cleared by who asks on its socket."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from meter_sim.faults import FaultKind
from meter_sim.meter import SimulatedMeter


class FaultRefused(Exception):
    """What was asked for cannot be: one sentence."""


@dataclass(frozen=True, slots=True)
class _Lasting:
    since: datetime
    until: datetime | None
    timer: asyncio.TimerHandle | None


class FaultDesk:
    """Sets, clears and lists. ``on_a_broker``: the meters that speak MQTT."""

    def __init__(
        self, meters: Mapping[str, SimulatedMeter], on_a_broker: Sequence[str], now: Callable[[], datetime]
    ) -> None:
        self._meters = meters
        self._on_a_broker = frozenset(on_a_broker)
        self._now = now
        self._lasting: dict[str, _Lasting] = {}

    def set(self, meter_id: str, kind: str, seconds: float | None) -> list[dict[str, Any]]:
        """Let a meter misbehave, for so many seconds or until it is cleared. Raises FaultRefused."""
        meter = self._meter(meter_id)
        if kind not in list(FaultKind):
            raise FaultRefused(f"{kind!r} is no kind of fault; there are {', '.join(FaultKind)}")
        if kind == FaultKind.OFFLINE and meter_id not in self._on_a_broker:
            raise FaultRefused(f"{meter_id} has no session with a broker to lose: use {FaultKind.DEAD.value}")
        self._forget(meter_id)
        now = self._now()
        serials = [other.serial for other in self._meters.values() if other is not meter and other.serial]
        meter.begin_fault(FaultKind(kind), now, serials[0] if serials else "99999999")
        timer = until = None
        if seconds is not None:
            until = now + timedelta(seconds=seconds)
            timer = asyncio.get_running_loop().call_later(seconds, self._end, meter_id)
        self._lasting[meter_id] = _Lasting(now, until, timer)
        return [self._told(meter_id)]

    def clear(self, meter_id: str | None) -> list[dict[str, Any]]:
        """Let a meter, or all, behave again; those that did not. Raises FaultRefused."""
        if meter_id is not None:
            self._meter(meter_id)
        cleared = [told for told in self.list() if meter_id in (None, told["meter_id"])]
        for told in cleared:
            self._end(told["meter_id"])
        return cleared

    def list(self) -> list[dict[str, Any]]:
        """Every meter that misbehaves: ``meter_id``, ``fault``, ``since``, ``until``."""
        return [self._told(meter_id) for meter_id, meter in self._meters.items() if meter.fault is not None]

    def _meter(self, meter_id: str) -> SimulatedMeter:
        if meter_id not in self._meters:
            first = ", ".join(list(self._meters)[:5])
            raise FaultRefused(f"there is no meter {meter_id!r}; there are {first}{', …' * (len(self._meters) > 5)}")
        return self._meters[meter_id]

    def _end(self, meter_id: str) -> None:
        self._forget(meter_id)
        self._meters[meter_id].end_fault()

    def _forget(self, meter_id: str) -> None:
        lasting = self._lasting.pop(meter_id, None)
        if lasting is not None and lasting.timer is not None:
            lasting.timer.cancel()

    def _told(self, meter_id: str) -> dict[str, Any]:
        fault, lasting = self._meters[meter_id].fault, self._lasting.get(meter_id)
        since, until = (lasting.since, lasting.until) if lasting else (None, None)
        return {
            "meter_id": meter_id,
            "fault": None if fault is None else fault.value,
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
        }
