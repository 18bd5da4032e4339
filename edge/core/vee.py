"""Validation and estimation of meter data: which register reads count, how much was used on a day, what stands in.

A register read is a cumulative count of Wh at an instant. Only accepted reads touch money (domain-rules R5: "validate"
before the balance; seed 002, PSO). A read that was refused changes nothing: the next one is compared with the last
that was accepted, so a spike or a reset costs the customer nothing and a gap is billed when the register speaks again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_PER_HOUR = 3_600_000_000
LONGEST_GAP = timedelta(days=3 * 35)  # three billing periods of at most 35 days (domain-rules R62; section 3, row 146)


class Flag(StrEnum):
    """What is remarkable about a register read. All but ``rollover`` and ``frozen`` refuse it."""

    ZERO = "zero"  # the register says nothing, or a meter lost its memory
    BACKWARDS = "backwards"  # below the last accepted read, and no rollover explains it
    ROLLOVER = "rollover"  # the register passed its last digit
    TOO_FAST = "too_fast"  # more than the service can carry in the time
    FROZEN = "frozen"  # has not moved for as long as the limits allow
    OUT_OF_RANGE = "out_of_range"  # below zero, or beyond the register's last digit
    WRONG_SERIAL = "wrong_serial"  # another meter answered
    FROM_THE_FUTURE = "from_the_future"  # stamped later than now
    CONTRADICTED = "contradicted"  # a first read that the second one speaks against
    CLOCK_UNTRUSTED = "clock_untrusted"  # stamped by a clock that was set, or that runs behind the records
    OUT_OF_ORDER = "out_of_order"  # not later than the last accepted read


_HARMLESS = frozenset({Flag.ROLLOVER, Flag.FROZEN})


@dataclass(frozen=True, slots=True)
class RegisterRead:
    """A cumulative register in Wh at an aware instant."""

    at: datetime
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a meter and its service can do. None: no such limit is known or wanted.

    ``modulo_wh``: the first count that the register cannot show. ``slack_seconds``: how far the stamps of
    reads may be off. ``frozen_seconds``: how long a register of a connected service may stand still. ``multiplier``:
    Wh used for each Wh that the register counts, the ratio of current transformers times that of voltage transformers.
    """

    max_power_w: int = 25_000
    resolution_wh: int = 10
    slack_seconds: int = 5
    modulo_wh: int | None = None
    zero_means_unknown: bool = False
    frozen_seconds: int | None = None
    multiplier: int = 1


@dataclass(frozen=True, slots=True)
class Assessment:
    """Whether a read counts, why or why not, and the Wh since the last accepted one (zero for a first or refused)."""

    accepted: bool
    flags: tuple[Flag, ...]
    delta_wh: int


def validate(
    previous: RegisterRead | None,
    new: RegisterRead,
    limits: Limits,
    *,
    now: datetime | None = None,
    still_since: datetime | None = None,
    wrong_serial: bool = False,
    clock_doubtful: bool = False,
) -> Assessment:
    """Compare a read with the last accepted one (None: there is none) and with what is possible.

    ``now``: for reads that carry a stamp of their own; None where the gateway stamped them itself. ``still_since``:
    since when the register of a connected service shows what ``previous`` says, if for longer. ``wrong_serial``:
    the device told the serial number of another meter than the one expected here. ``clock_doubtful``: something speaks
    against the clock that stamped the read.

    A register of zero after a higher one is refused even where a rollover could explain it: the next read tells.
    """
    flags: list[Flag] = []
    modulo = limits.modulo_wh
    if new.energy_wh < 0 or (modulo is not None and new.energy_wh >= modulo):
        flags.append(Flag.OUT_OF_RANGE)
    if wrong_serial:
        flags.append(Flag.WRONG_SERIAL)
    if clock_doubtful:
        flags.append(Flag.CLOCK_UNTRUSTED)
    if now is not None and _elapsed(now, new.at) > timedelta(seconds=limits.slack_seconds):
        flags.append(Flag.FROM_THE_FUTURE)
    if new.energy_wh == 0 and (limits.zero_means_unknown or (previous is not None and previous.energy_wh > 0)):
        flags.append(Flag.ZERO)
    if previous is None or flags:
        return Assessment(not flags, tuple(flags), 0)
    elapsed = _elapsed(previous.at, new.at)
    if elapsed <= timedelta():
        return Assessment(False, (Flag.OUT_OF_ORDER,), 0)
    delta = new.energy_wh - previous.energy_wh
    if delta < 0:
        if modulo is None or not _at_the_turn(previous.energy_wh, new.energy_wh, modulo):
            return Assessment(False, (Flag.BACKWARDS,), 0)
        delta += modulo
        if not _possible(delta, elapsed, limits):
            return Assessment(False, (Flag.BACKWARDS,), 0)
        flags.append(Flag.ROLLOVER)
    elif not _possible(delta, elapsed, limits):
        return Assessment(False, (Flag.TOO_FAST,), 0)
    frozen = None if limits.frozen_seconds is None else timedelta(seconds=limits.frozen_seconds)
    if delta == 0 and frozen is not None and _elapsed(still_since or previous.at, new.at) >= frozen:
        flags.append(Flag.FROZEN)
    return Assessment(_HARMLESS.issuperset(flags), tuple(flags), delta)


def _at_the_turn(old_wh: int, new_wh: int, modulo: int) -> bool:
    """Whether the old count is in the last tenth of the register and the new one in the first."""
    return old_wh * 10 >= modulo * 9 and new_wh * 10 <= modulo


def _possible(delta_wh: int, elapsed: timedelta, limits: Limits) -> bool:
    microseconds = (elapsed + timedelta(seconds=limits.slack_seconds)) // _MICROSECOND
    used_wh = (delta_wh - limits.resolution_wh) * limits.multiplier
    return used_wh * _MICROSECONDS_PER_HOUR <= limits.max_power_w * microseconds


def register_delta(start_wh: int, end_wh: int, limits: Limits) -> int:
    """Wh between two counts of one register, over its last digit where needed. Raises ValueError when it ran back."""
    if end_wh >= start_wh:
        return end_wh - start_wh
    if limits.modulo_wh is None or not _at_the_turn(start_wh, end_wh, limits.modulo_wh):
        raise ValueError(f"the register runs backwards from {start_wh} to {end_wh} Wh")
    return end_wh - start_wh + limits.modulo_wh


def register_at(instant: datetime, before: RegisterRead, after: RegisterRead, limits: Limits) -> int:
    """The count of a register at an instant between two accepted reads, on the straight line, rounded down.

    Integers throughout: days cut at such counts sum exactly to the register's difference. Raises ValueError when the
    instant does not lie between the reads.
    """
    since, whole = _elapsed(before.at, instant), _elapsed(before.at, after.at)
    if not timedelta() <= since <= whole:
        raise ValueError(f"{instant.isoformat()} is not between {before.at.isoformat()} and {after.at.isoformat()}")
    if not since:
        return before.energy_wh
    delta = register_delta(before.energy_wh, after.energy_wh, limits)
    count = before.energy_wh + delta * (since // _MICROSECOND) // (whole // _MICROSECOND)
    return count if limits.modulo_wh is None else count % limits.modulo_wh


def _elapsed(start: datetime, end: datetime) -> timedelta:
    """True time between two instants; plain subtraction compares wall clocks where both are of one civil zone."""
    return end.astimezone(UTC) - start.astimezone(UTC)


def day_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Start and end of a civil day in UTC: 23, 24 or 25 hours apart."""
    start = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    return start, end


def day_energy(parts: Sequence[tuple[int, int]], limits: Limits) -> int:
    """Wh of a day from its register counts (start, end): one pair, or one for each meter where one was exchanged."""
    return sum([register_delta(start, end, limits) for start, end in parts])


class Quality(StrEnum):
    """Where a day's use came from; what a customer reported counts as actual (domain-rules R62, seed 003, 6.04 B)."""

    ACTUAL = "actual"
    CUSTOMER = "customer"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True)
class DayRecord:
    """The use of one civil day in Wh and its quality."""

    energy_wh: int
    quality: Quality


class Method(StrEnum):
    """How a day without a read was estimated."""

    THREE_PRIOR_DAYS = "three_prior_days"
    PRIOR_YEAR_FIVE_READS = "prior_year_five_reads"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated day: the days used, oldest first, and the sum of their use; nothing when it is manual."""

    method: Method
    days_used: tuple[date, ...] = ()
    sum_wh: int = 0

    @property
    def energy_wh(self) -> int | None:
        """The mean in Wh, half up; None when manual."""
        return self._mean(1)

    @property
    def hundredths_kwh(self) -> int | None:
        """The mean in hundredths of a kWh, half up from the exact sum; None when manual."""
        return self._mean(10)

    def _mean(self, unit_wh: int) -> int | None:
        count = len(self.days_used) * unit_wh
        return (2 * self.sum_wh + count) // (2 * count) if count else None


def estimate(history: Mapping[date, DayRecord], day: date) -> Estimate:
    """Stand in for a day without a read (domain-rules R59, C22; seed 003, sheet R-37, 6.04 B(1)(d)).

    First the mean of the three civil days immediately before the gap that holds ``day`` (the run of days without an
    actual use around it), all three actual, so that estimates never feed on estimates. Else the mean of five days of
    the year before: the same date, the three before and the one after, all actual. Else it is for a person to do;
    29 February has no date in the year before. Days before a gap of more than three billing periods say nothing of
    ``day``: so long an estimate is not allowed (R62; seed 003, sheet R-38, 6.04 B(2)), and last year's days are last
    year's, not the three before.
    """
    known = [other for other, record in history.items() if other < day and record.quality is not Quality.ESTIMATED]
    last = max(known, default=date.min)
    if day - last <= LONGEST_GAP:
        found = _sum_of(history, [last - timedelta(days=back) for back in (2, 1, 0)])
        if found is not None:
            return Estimate(Method.THREE_PRIOR_DAYS, *found)
    if (day.month, day.day) != (2, 29) and day.year > 1:
        year_before = day.replace(year=day.year - 1)
        found = _sum_of(history, [year_before + timedelta(days=ahead) for ahead in range(-3, 2)])
        if found is not None:
            return Estimate(Method.PRIOR_YEAR_FIVE_READS, *found)
    return Estimate(Method.MANUAL)


def _sum_of(history: Mapping[date, DayRecord], days: Sequence[date]) -> tuple[tuple[date, ...], int] | None:
    """Days and the sum of their use, when all of them are actual."""
    records = [history.get(day) for day in days]
    energies = [
        record.energy_wh for record in records if record is not None and record.quality is not Quality.ESTIMATED
    ]
    return (tuple(days), sum(energies)) if len(energies) == len(days) else None
