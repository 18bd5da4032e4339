"""How much was used between two instants: every fact about a meter's register becomes a point on one unrolled line.

A point is an instant and a cumulative count in Wh of the register. A register that passes its last digit counts on; an
exchanged meter goes on where the old one ended, so that a supply has one line whatever measured it. Between two points
use lies evenly over the time. Counts at instants are rounded down to a Wh of the register, once, so that parts of a
day, days and whole gaps sum exactly to what the register counted; days of 23 and 25 hours are no special case.

What a customer reads and reports is used where it is the best that there is, and yields where the gateway's own reads
contradict it (seed 003, 6.04 B(4)(c)). The line depends on the set of facts alone, never on the order of their arrival.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from edge.core import vee
from edge.core.tariffs import PeriodSpan

NEAR = timedelta(minutes=15)  # a boundary with a read this near counts as read; one further off is interpolated
_MICROSECOND = timedelta(microseconds=1)


class DayQuality(StrEnum):
    """Where the use of a civil day came from."""

    ACTUAL = "actual"  # reads of the gateway's own near its beginning, its end and every change of price
    INTERPOLATED = "interpolated"  # between actual reads, some of which lie further off
    CUSTOMER = "customer"  # as actual, but a read is what the customer reported
    ESTIMATED = "estimated"  # no read at or after its end
    EDITED = "edited"  # said by a person, whatever the register says

    @property
    def measured(self) -> bool:
        """Whether registers say it."""
        return self in (DayQuality.ACTUAL, DayQuality.INTERPOLATED, DayQuality.CUSTOMER)

    @property
    def for_estimates(self) -> vee.Quality:
        """What it is to an estimate, which may rest on everything that is not an estimate itself (C22)."""
        if self is DayQuality.ESTIMATED:
            return vee.Quality.ESTIMATED
        return vee.Quality.CUSTOMER if self is DayQuality.CUSTOMER else vee.Quality.ACTUAL


@dataclass(frozen=True, slots=True)
class Read:
    """A register in Wh at an instant; ``customer``: as the customer reported it."""

    at: datetime
    register_wh: int
    customer: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """Another meter took over at an instant: the last register of the old one, the first of the new one, in Wh."""

    at: datetime
    final_wh: int
    initial_wh: int


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the line. Two registers, because an exchange has one before and one after it."""

    at: datetime
    count_wh: int
    before_wh: int
    after_wh: int
    customer: bool = False


class Line:
    """The unrolled register of one supply. ``multiplier``: of current and voltage transformers, Wh per Wh counted."""

    def __init__(self, points: Sequence[Point], multiplier: int = 1, modulo_wh: int | None = None) -> None:
        self._points = points
        self._instants = [point.at for point in points]
        self._multiplier = multiplier
        self._modulo_wh = modulo_wh

    def covers(self, instant: datetime) -> bool:
        """Whether a fact at or after an instant is known, so that use up to it is measured."""
        return bool(self._points) and instant <= self._instants[-1]

    def begins_by(self, instant: datetime) -> bool:
        """Whether a fact at or before an instant is known."""
        return bool(self._points) and self._instants[0] <= instant

    def used(self, start: datetime, end: datetime) -> int | None:
        """Wh between two instants; None while no fact at or after ``end`` is known.

        Before the first fact nothing is known to have been used.
        """
        if not self.covers(end):
            return None
        return (self._count(end) - self._count(start)) * self._multiplier if start < end else 0

    def register(self, instant: datetime, *, after: bool) -> int:
        """What the meter showed at an instant that is covered; at an exchange the new meter's register if ``after``."""
        index = bisect_left(self._instants, instant)
        point = self._points[index]
        if point.at == instant:
            return point.after_wh if after else point.before_wh
        if index == 0:
            return point.before_wh
        previous = self._points[index - 1]
        register_wh = previous.after_wh + self._count(instant) - previous.count_wh
        return register_wh if self._modulo_wh is None else register_wh % self._modulo_wh

    def quality(self, boundaries: Iterable[datetime]) -> DayQuality:
        """What use cut at these instants rests on, all of them covered."""
        found = DayQuality.ACTUAL
        for instant in boundaries:
            nearest = self._nearest(instant)
            if abs(nearest.at - instant) > NEAR:
                return DayQuality.INTERPOLATED
            if nearest.customer:
                found = DayQuality.CUSTOMER
        return found

    def _nearest(self, instant: datetime) -> Point:
        index = bisect_left(self._instants, instant)
        around = self._points[max(0, index - 1) : index + 1]
        return min(around, key=lambda point: (abs(point.at - instant), point.customer))

    def _count(self, instant: datetime) -> int:
        index = bisect_left(self._instants, instant)
        point = self._points[index]
        if index == 0 or point.at == instant:
            return point.count_wh
        previous = self._points[index - 1]
        since, whole = instant - previous.at, point.at - previous.at
        return previous.count_wh + (point.count_wh - previous.count_wh) * (since // _MICROSECOND) // (
            whole // _MICROSECOND
        )


def line(reads: Iterable[Read], exchanges: Iterable[Exchange], limits: vee.Limits) -> Line:
    """The line through accepted reads and exchanges, in whatever order they are given.

    A read at the instant of an exchange is dropped: the exchange says both registers. Raises ValueError when the
    gateway's own facts run backwards where no rollover explains it; customers' reads that do not fit are left out.
    """
    changed_at = {exchange.at.astimezone(UTC) for exchange in exchanges}
    kept = [read for read in reads if read.at.astimezone(UTC) not in changed_at]
    facts: list[Read | Exchange] = [*(read for read in kept if not read.customer), *exchanges]
    facts.sort(key=lambda fact: fact.at)
    points: list[Point] = []
    for fact in facts:
        final_wh = fact.final_wh if isinstance(fact, Exchange) else fact.register_wh
        initial_wh = fact.initial_wh if isinstance(fact, Exchange) else fact.register_wh
        count_wh = points[-1].count_wh + _counted(points[-1].after_wh, final_wh, limits) if points else 0
        if points and points[-1].at == fact.at:
            continue
        points.append(Point(fact.at.astimezone(UTC), count_wh, final_wh, initial_wh))
    reported = sorted((read for read in kept if read.customer), key=lambda read: (read.at, read.register_wh))
    if reported:
        points = _with_reported(points, reported, limits)
    return Line(points, limits.multiplier, limits.modulo_wh)


def _with_reported(points: list[Point], reported: Sequence[Read], limits: vee.Limits) -> list[Point]:
    """Customers' reads that could be between the gateway's own facts, and follow each other; others are left out."""
    own = points
    for read in reported:
        if not _could_be(read, own, limits):
            continue
        at = read.at.astimezone(UTC)
        index = bisect_left(points, at, key=lambda point: point.at)
        before = points[index - 1] if index else None
        after = points[index] if index < len(points) else None
        if after is not None and after.at == at:
            continue
        point = Point(at, 0, read.register_wh, read.register_wh, customer=True)
        try:
            if before is not None:
                counted = vee.register_delta(before.after_wh, read.register_wh, limits)
                point = replace(point, count_wh=before.count_wh + counted)
                if after is not None and point.count_wh > after.count_wh:
                    continue
            elif after is not None:
                point = replace(
                    point, count_wh=after.count_wh - vee.register_delta(read.register_wh, after.before_wh, limits)
                )
        except ValueError:
            continue
        points = [*points[:index], point, *points[index:]]
    return points


def _could_be(read: Read, own: list[Point], limits: vee.Limits) -> bool:
    """Whether a read could be between the gateway's own facts, by what the register and the service can do."""
    at = read.at.astimezone(UTC)
    index = bisect_left(own, at, key=lambda point: point.at)
    new = vee.RegisterRead(at, read.register_wh)
    if index and not vee.validate(vee.RegisterRead(own[index - 1].at, own[index - 1].after_wh), new, limits).accepted:
        return False
    after = own[index] if index < len(own) else None
    return after is None or (
        after.at > at and vee.validate(new, vee.RegisterRead(after.at, after.before_wh), limits).accepted
    )


def _counted(start_wh: int, end_wh: int, limits: vee.Limits) -> int:
    """Wh of the register between two facts that were accepted; they may lie far apart, so any rollover will do."""
    if end_wh >= start_wh:
        return end_wh - start_wh
    if limits.modulo_wh is None:
        raise ValueError(f"the register runs backwards from {start_wh} to {end_wh} Wh")
    return end_wh - start_wh + limits.modulo_wh


@dataclass(frozen=True, slots=True)
class DayUse:
    """The use of a civil day in Wh, by period where its prices go by the hour, and what it rests on."""

    day: date
    start_register_wh: int
    end_register_wh: int
    energy_wh: int
    quality: DayQuality
    by_period: tuple[tuple[str, int], ...] = ()
    method: str = ""
    days_used: tuple[date, ...] = ()
    reason: str = ""


def measured(
    registers: Line, day: date, start: datetime, end: datetime, spans: Sequence[PeriodSpan] = ()
) -> DayUse | None:
    """What the registers say of a civil day, or of its part from ``start`` on; None while its end is not covered.

    ``spans``: the day's periods where it is priced by the hour (``tariffs.period_spans``).
    """
    energy_wh = registers.used(start, end)
    if energy_wh is None:
        return None
    by_period: dict[str, int] = {}
    for span in spans:
        if span.period:
            part = registers.used(max(span.start, start), span.end)
            assert part is not None
            by_period[span.period] = by_period.get(span.period, 0) + part
    return DayUse(
        day,
        registers.register(start, after=True),
        registers.register(end, after=False),
        energy_wh,
        registers.quality(boundaries(start, end, spans)),
        tuple(by_period.items()),
    )


def boundaries(start: datetime, end: datetime, spans: Sequence[PeriodSpan] = ()) -> list[datetime]:
    """The instants at which a day's use is cut: its start, its end, and the changes of price between them."""
    return [start, *(span.start for span in spans if start < span.start < end), end]


def by_period_like(
    energy_wh: int, spans: Sequence[PeriodSpan], examples: Sequence[Sequence[tuple[str, int]]]
) -> tuple[tuple[str, int], ...]:
    """Use split over a day's periods in the proportion of the days that serve as examples, else evenly over its hours.

    Days whose periods are others than this day's, or that used nothing, are no examples. Empty for a day that is not
    priced by the hour. The parts sum to the whole.
    """
    lengths: dict[str, int] = {}
    for span in spans:
        if span.period:
            lengths[span.period] = lengths.get(span.period, 0) + (span.end - span.start) // _MICROSECOND
    shares = dict.fromkeys(lengths, 0)
    for example in examples:
        if {name for name, _ in example} == lengths.keys():
            for name, part in example:
                shares[name] += part
    return _in_proportion(energy_wh, shares if any(shares.values()) else lengths)


def _in_proportion(energy_wh: int, weights: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    whole, weighed, given = sum(weights.values()), 0, 0
    parts = []
    for name, weight in weights.items():
        weighed += weight
        upto = energy_wh * weighed // whole
        parts.append((name, upto - given))
        given = upto
    return tuple(parts)


def estimated(
    found: vee.Estimate,
    day: date,
    start_register_wh: int,
    limits: vee.Limits,
    by_period: tuple[tuple[str, int], ...],
    reason: str,
) -> DayUse:
    """A day that an estimate stands in for; its registers are estimated too. Raises ValueError for a manual one."""
    if found.energy_wh is None:
        raise ValueError(f"no rule estimates {day}")
    end_wh = _ahead(start_register_wh, found.energy_wh, limits)
    return DayUse(
        day,
        start_register_wh,
        end_wh,
        found.energy_wh,
        DayQuality.ESTIMATED,
        by_period,
        found.method.value,
        found.days_used,
        reason,
    )


def by_hand(
    day: date,
    start_register_wh: int,
    energy_wh: int,
    limits: vee.Limits,
    by_period: tuple[tuple[str, int], ...],
    reason: str,
    *,
    final: bool,
) -> DayUse:
    """A day whose use a person said: for good, or as an estimate until reads cover it."""
    quality = DayQuality.EDITED if final else DayQuality.ESTIMATED
    end_wh = _ahead(start_register_wh, energy_wh, limits)
    return DayUse(day, start_register_wh, end_wh, energy_wh, quality, by_period, vee.Method.MANUAL.value, (), reason)


def _ahead(register_wh: int, energy_wh: int, limits: vee.Limits) -> int:
    ahead = register_wh + energy_wh // limits.multiplier
    return ahead if limits.modulo_wh is None else ahead % limits.modulo_wh
