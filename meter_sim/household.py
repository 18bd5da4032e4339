"""What draws power behind a meter: a constant load, or a household with a daily shape that its seed determines.

A load is a step function of time in whole watts, so that energy is a sum of integers and never drifts. Instants are
integer microseconds since 1970 (UTC).
"""

import random
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
        self._shape = _SHAPES[kind]
        self._seed = seed
        self._days: dict[int, tuple[tuple[int, ...], int]] = {}

    def _day(self, day: int) -> tuple[tuple[int, ...], int]:
        """The steps of a day in watts, and their sum."""
        known = self._days.get(day)
        if known is not None:
            return known
        chance = random.Random(f"{self._seed}/{day}")
        season = _SEASON[day * 4 % _YEAR_DAYS_X4 * 12 // _YEAR_DAYS_X4]
        at_home = chance.randrange(70, 131)
        hourly = (hour_watts for half in self._shape for hour_watts in half)
        steps = tuple(
            watts * season * at_home * chance.randrange(60, 141) // 1_000_000
            for watts in hourly
            for _ in range(STEPS_AN_HOUR)
        )
        if len(self._days) >= 8:
            self._days.clear()
        self._days[day] = (steps, sum(steps))
        return self._days[day]

    def watts(self, at_us: int) -> int:
        """Power drawn at an instant, W."""
        day, within = divmod(at_us - CENTRAL_STANDARD_US, DAY_US)
        return self._day(day)[0][within // STEP_US]

    def next_change_us(self, at_us: int) -> int:
        """The start of the next half hour."""
        return (at_us // STEP_US + 1) * STEP_US

    def energy(self, start_us: int, end_us: int) -> int:
        """Energy drawn in [start, end), in watt-microseconds; whole days at once."""
        total = 0
        at = start_us
        while at < end_us:
            day, within = divmod(at - CENTRAL_STANDARD_US, DAY_US)
            if within == 0 and end_us - at >= DAY_US:
                total += self._day(day)[1] * STEP_US
                at += DAY_US
                continue
            until = min(end_us, self.next_change_us(at))
            total += self._day(day)[0][within // STEP_US] * (until - at)
            at = until
        return total
