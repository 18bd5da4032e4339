"""What draws power behind a meter: a constant load, or a household with a daily shape that its seed determines.

A load is a step function of time in whole watts, so that energy is a sum of integers and never drifts. Instants are
integer microseconds since 1970 (UTC).
"""

import hashlib
from itertools import accumulate
from typing import Protocol

SECOND_US = 1_000_000
STEP_US = 1800 * SECOND_US
DAY_US = 86_400 * SECOND_US
STEPS_AN_HOUR = 2
CENTRAL_STANDARD_US = 6 * 3600 * SECOND_US  # households wake by Central Standard Time, all year
NEVER_US = 1 << 62

# Watts of an average hour at home: from midnight on, from noon on.
_SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "apartment": (
        (260, 240, 230, 230, 240, 300, 520, 640, 480, 380, 360, 380),
        (420, 400, 390, 420, 560, 820, 980, 940, 860, 700, 480, 330),
    ),
    "house": (
        (520, 480, 460, 450, 470, 640, 1100, 1350, 1050, 860, 820, 860),
        (930, 940, 980, 1100, 1450, 1900, 2200, 2100, 1850, 1500, 1000, 680),
    ),
    "all_electric": (
        (900, 850, 830, 830, 900, 1300, 2300, 2700, 2000, 1600, 1500, 1500),
        (1600, 1600, 1650, 1800, 2300, 3000, 3500, 3300, 2900, 2400, 1700, 1200),
    ),
}
HOUSEHOLDS = tuple(_SHAPES)

# Per cent of the shape by twelfths of a year from 1 January: heating in winter, air conditioning in summer.
_SEASON = (118, 108, 92, 84, 92, 122, 146, 144, 118, 88, 94, 112)
_YEAR_DAYS_X4 = 1461


class Load(Protocol):
    """A step function of time in watts."""

    def watts(self, at_us: int) -> int:
        """Power drawn at an instant while the relay is closed, W."""
        ...

    def next_change_us(self, at_us: int) -> int:
        """The first instant after ``at_us`` at which the power may differ."""
        ...

    def energy(self, start_us: int, end_us: int) -> int:
        """Energy drawn in [start, end), in watt-microseconds."""
        ...


class ConstantLoad:
    """The same power for ever."""

    def __init__(self, watts: int) -> None:
        self._watts = watts

    def watts(self, at_us: int) -> int:  # noqa: ARG002 - a constant does not look at the time
        """Power drawn, W."""
        return self._watts

    def next_change_us(self, at_us: int) -> int:  # noqa: ARG002 - nor does it ever change
        """Never."""
        return NEVER_US

    def energy(self, start_us: int, end_us: int) -> int:
        """Energy drawn in [start, end), in watt-microseconds."""
        return self._watts * max(0, end_us - start_us)


class HouseholdLoad:
    """A household: half-hourly steps around a daily shape, other from day to day, the same for the same seed."""

    def __init__(self, kind: str, seed: str) -> None:
        """``kind``: one of HOUSEHOLDS. Raises KeyError for another."""
        first, second = _SHAPES[kind]
        self._shape = [watts for watts in (*first, *second) for _ in range(STEPS_AN_HOUR)]
        self._seed = seed
        self._days: dict[int, tuple[list[int], list[int]]] = {}

    def _day(self, day: int) -> tuple[list[int], list[int]]:
        """The steps of a day in watts, and at each step's start, and at the day's end, the sum of those before."""
        known = self._days.get(day)
        if known is not None:
            return known
        drawn = hashlib.blake2b(f"{self._seed}/{day}".encode(), digest_size=len(self._shape) + 1).digest()
        season = _SEASON[day * 4 % _YEAR_DAYS_X4 * 12 // _YEAR_DAYS_X4]
        day_percent = season * (70 + drawn[-1] * 61 // 256)
        steps = [
            watts * day_percent * (60 + byte * 81 // 256) // 1_000_000
            for watts, byte in zip(self._shape, drawn, strict=False)
        ]
        if len(self._days) >= 8:
            self._days.clear()
        self._days[day] = (steps, list(accumulate(steps, initial=0)))
        return self._days[day]

    def watts(self, at_us: int) -> int:
        """Power drawn at an instant, W."""
        day, within = divmod(at_us - CENTRAL_STANDARD_US, DAY_US)
        return self._day(day)[0][within // STEP_US]

    def next_change_us(self, at_us: int) -> int:
        """The start of the next half hour."""
        return (at_us // STEP_US + 1) * STEP_US

    def energy(self, start_us: int, end_us: int) -> int:
        """Energy drawn in [start, end), in watt-microseconds."""
        if end_us <= start_us:
            return 0
        first, since = divmod(start_us - CENTRAL_STANDARD_US, DAY_US)
        last, until = divmod(end_us - CENTRAL_STANDARD_US, DAY_US)
        whole = sum(self._day(day)[1][-1] for day in range(first, last)) * STEP_US
        return whole + self._since_midnight(last, until) - self._since_midnight(first, since)

    def _since_midnight(self, day: int, within_us: int) -> int:
        """Energy drawn on a day until so long after its midnight."""
        steps, sums = self._day(day)
        step, rest_us = divmod(within_us, STEP_US)
        return sums[step] * STEP_US + steps[step] * rest_us
