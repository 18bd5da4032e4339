"""What use costs: the ordinary bill of a month, and a day's charge as the bill to date less what was charged so far.

How a bill is made up, here and nowhere else:

- The billing month is the civil month; the days billed are those whose use is given. A month that begins or ends
  inside (enrolment, end of enrolment) has fewer, and everything that is per month (customer charge, tier limits,
  minimum) counts in the proportion *days billed / days in that civil month* (seed 002, OG&E: "prorated to a daily
  basis"). A day of 23 or 25 hours is one day. A meter exchange changes nothing: use is energy, whatever measured it.
- Each line is computed exactly and rounded once, half up to the cent (half a cent goes away from zero).
- Where a new version of the tariff begins inside a month, the days before and after are two parts, each a bill of its
  own with its own proportion, lines and taxes; the month's bill is their sum. A season or a rider that changes
  inside a part makes no further part: each day counts at its own prices, tier limits in proportion to the part's days
  of the season on the use of all of them, and the line is rounded once.
- The minimum is compared with energy and customer charge; what lacks is a line of its own. Fuel, riders and unmetered
  charges come on top.
- Each tax is its percentage of the part's lines before taxes, as they are printed (in cents), rounded as it says; of a
  credit, down is away from zero and up toward it.

A bill to date is therefore the final bill of a customer who leaves that evening; the last day's charge makes the sum
of the days equal the bill to the cent, because it is the difference. A kind, or with tiers and minimum even a whole
day, may come out below zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from edge.core.tariffs import Piece, Rounding, Tariff, Tax, Tier, Version, month_pieces, period_spans

__all__ = [
    "Bill",
    "BillLine",
    "DayUsage",
    "Tariff",
    "bill",
    "by_period",
    "charges_for_last_day",
    "estimate_use_cents",
    "price_of_next_kwh",
    "same_prices",
]

_MICRO_PER_CENT = 10_000
_WH_PER_KWH = 1_000
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class DayUsage:
    """The use of a civil day in Wh; for a time-of-use tariff also by period (name, Wh), which must sum to it.

    ``days`` above one: a run of days from ``day`` on, added up, for callers that sum in the database; prices must be
    the same throughout the run.
    """

    day: date
    energy_wh: int
    by_period: tuple[tuple[str, int], ...] = ()
    estimated: bool = False
    days: int = 1


class BillLine(NamedTuple):
    """One line of a bill: ``energy``, ``energy:<period>``, ``customer_charge``, ``fuel``, ``rider:<name>``,
    ``unmetered``, ``minimum`` or ``tax:<name>``, and its cents.
    """

    kind: str
    cents: int


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill: its lines that are not zero, and their sum."""

    lines: tuple[BillLine, ...]
    total_cents: int


def bill(tariff: Tariff, usage: Sequence[DayUsage]) -> Bill:
    """The ordinary bill for the days of one civil month, or of the part of it that is over.

    ``usage`` in the order of days, each day once. Raises ValueError when it is not, when it spans two months, when the
    tariff has no prices for a day, when use is below zero, or when a time-of-use tariff gets no use by period.
    """
    cents = _lines(tariff, usage)
    return Bill(tuple([BillLine(kind, amount) for kind, amount in cents.items() if amount]), sum(cents.values()))


def charges_for_last_day(tariff: Tariff, usage: Sequence[DayUsage], charged: Mapping[str, int]) -> dict[str, int]:
    """The charges, by kind, that bring what was ``charged`` in this month so far to the bill to date; no zeros.

    ``usage``: all days of the month up to and with the one to be charged. The same call with corrected use gives the
    correction of days that were charged on an estimate (architecture sections 0.2 and 8). Where an account changes
    its tariff inside a month, each tariff has a bill of its own: give the days and charges under this one only.
    Raises ValueError as ``bill`` does.
    """
    due = _lines(tariff, usage)
    charges = {kind: cents - charged.get(kind, 0) for kind, cents in due.items()}
    for kind, cents in charged.items():
        if kind not in due:
            charges[kind] = -cents
    return {kind: cents for kind, cents in charges.items() if cents}


def same_prices(tariff: Tariff, first: date, last: date) -> bool:
    """Whether a run of days of one civil month may be added up to one ``DayUsage``: no price changes inside it."""
    if (first.year, first.month) != (last.year, last.month):
        return False
    _, pieces = month_pieces(tariff, first.year, first.month)
    return any(piece.first <= first and last <= piece.last for piece in pieces)


def estimate_use_cents(tariff: Tariff, day: date, energy_wh: int, days: int) -> int:
    """About what use that is not on the books yet will cost, for display: no money ever moves by it.

    Energy at the day's prices (the first tier's; by time of use the mean over the hours of the day), with riders, the
    customer charge of ``days`` whole days, unmetered charges and taxes. Raises ValueError where there are no prices.
    """
    version = tariff.version(day)
    month_days, _ = month_pieces(tariff, day.year, day.month)
    price = _mean_price(version, day) + sum([rider.micro_per_kwh(day) for rider in tariff.riders])
    fixed = days * (version.customer_charge_micro + version.unmetered_micro_per_day * month_days)
    before_taxes = price * energy_wh * month_days + fixed * _WH_PER_KWH
    with_taxes = _MILLION + sum([tax.parts_per_million for tax in version.taxes])
    return _half_up(before_taxes * with_taxes, _MICRO_PER_CENT * _WH_PER_KWH * month_days * _MILLION)


def price_of_next_kwh(tariff: Tariff, day: date, month_wh: int, month_days_billed: int) -> int:
    """What one kWh more costs, for display, in 10^-12 dollars: energy, fuel, riders and the taxes on them.

    ``month_wh`` and ``month_days_billed``: use and days of the civil month so far, which say the tier; by time of use
    it is the mean over the hours of the day. Raises ValueError where there are no prices for the day.
    """
    version = tariff.version(day)
    tiers = version.season(day).tiers
    if tiers:
        month_days, _ = month_pieces(tariff, day.year, day.month)
        scaled, days = month_wh * month_days, max(1, month_days_billed)
        price = next(t.micro_per_kwh for t in tiers if t.up_to_wh is None or scaled < t.up_to_wh * days)
    else:
        price = _mean_price(version, day)
    price += sum([rider.micro_per_kwh(day) for rider in tariff.riders])
    return price * (_MILLION + sum([tax.parts_per_million for tax in version.taxes]))


def _mean_price(version: Version, day: date) -> int:
    season = version.season(day)
    if season.tiers:
        return season.tiers[0].micro_per_kwh
    prices = dict(season.periods)
    kind = version.day_type(day)
    left = 1440
    weighed = 0
    for band in season.bands:
        if kind in band.days:
            minutes = band.end_minute - band.start_minute
            weighed += prices[band.period] * minutes
            left -= minutes
    return (weighed + prices[season.otherwise] * left) // 1440


def by_period(
    tariff: Tariff, day: date, intervals: Sequence[tuple[datetime, int]], zone: tzinfo
) -> tuple[tuple[str, int], ...]:
    """The use of a civil day by period from intervals (start, Wh); an interval belongs to the period it starts in.

    Empty for a day that is not priced by time of use. Raises ValueError for an interval outside the day.
    """
    spans = period_spans(tariff, day, zone)
    sums: dict[str, int] = {}
    for start, energy_wh in intervals:
        for span in spans:
            if span.start <= start < span.end:
                sums[span.period] = sums.get(span.period, 0) + energy_wh
                break
        else:
            raise ValueError(f"the interval that starts at {start.isoformat()} is not of {day}")
    sums.pop("", None)
    return tuple(sums.items())


class _Use:
    """Use of one piece, added up."""

    __slots__ = ("by_period", "days", "energy_wh", "piece")

    def __init__(self, piece: Piece) -> None:
        self.piece = piece
        self.days = 0
        self.energy_wh = 0
        self.by_period: dict[str, int] = {}


def _lines(tariff: Tariff, usage: Sequence[DayUsage]) -> dict[str, int]:
    """Kind to cents, zeros included, the parts added up."""
    if not usage:
        return {}
    day = usage[0].day
    month_days, pieces = month_pieces(tariff, day.year, day.month)
    uses = _by_piece(tariff, usage, pieces)
    if len(uses) == 1:
        return _part(uses, month_days)
    cents: dict[str, int] = {}
    part: list[_Use] = []
    for use in uses:
        if part and part[-1].piece.version is not use.piece.version:
            _add(cents, _part(part, month_days))
            part = []
        part.append(use)
    _add(cents, _part(part, month_days))
    return cents


def _add(into: dict[str, int], more: Mapping[str, int]) -> None:
    for kind, amount in more.items():
        into[kind] = into.get(kind, 0) + amount


def _by_piece(tariff: Tariff, usage: Sequence[DayUsage], pieces: tuple[Piece, ...]) -> list[_Use]:
    """Use added up by piece of the month; written for speed, since every day close runs through it."""
    found: list[_Use] = []
    index = -1
    last_day = previous = date.min  # last day of the piece in hand, last day seen
    days = energy_wh = 0
    hourly = False
    for use in usage:
        day = use.day
        if day <= previous:
            raise ValueError(f"the use of {day} comes twice or out of order")
        if day > last_day:
            _close(found, days, energy_wh)
            days = energy_wh = 0
            index = _next_piece(tariff, usage[0].day, day, pieces, index + 1)
            found.append(_Use(pieces[index]))
            last_day = pieces[index].last
            hourly = bool(pieces[index].season.periods)
        of_day = use.energy_wh
        if of_day < 0:
            raise ValueError(f"the use of {day} is below zero")
        energy_wh += of_day
        run = use.days
        days += run
        previous = day
        if run != 1:
            previous = day + timedelta(days=run - 1)
            if not day <= previous <= last_day:
                raise ValueError(f"the {run} days from {day} on do not all have the same prices: give them apart")
        if hourly:
            _add_periods(found[-1], use)
    _close(found, days, energy_wh)
    return found


def _next_piece(tariff: Tariff, first: date, day: date, pieces: tuple[Piece, ...], index: int) -> int:
    while index < len(pieces) and pieces[index].last < day:
        index += 1
    if (day.year, day.month) != (first.year, first.month):
        raise ValueError(f"{first} and {day} are not of one month")
    tariff.version(day)  # raises where there are no prices yet
    return index


def _close(found: list[_Use], days: int, energy_wh: int) -> None:
    if found:
        found[-1].days = days
        found[-1].energy_wh = energy_wh


def _add_periods(into: _Use, use: DayUsage) -> None:
    known = {name for name, _ in into.piece.season.periods}
    for name, energy_wh in use.by_period:
        if name not in known:
            raise ValueError(f"the use of {use.day} names the period {name!r}, which the tariff does not know")
        into.by_period[name] = into.by_period.get(name, 0) + energy_wh
    if sum(energy_wh for _, energy_wh in use.by_period) != use.energy_wh:
        raise ValueError(f"the use of {use.day} by period does not sum to the day's use")


def _part(uses: Sequence[_Use], month_days: int) -> dict[str, int]:
    """The bill of one part, by kind. Amounts are in micro-units / (1000 x days in the month) until they are rounded."""
    version = uses[0].piece.version
    per_micro = _WH_PER_KWH * month_days
    per_cent = _MICRO_PER_CENT * per_micro
    days = sum([use.days for use in uses])
    base = _energy(uses, month_days)
    more: dict[str, int] = {}
    for use in uses:
        for kind, price in use.piece.riders:
            more[kind] = more.get(kind, 0) + price * use.energy_wh * month_days
    if version.customer_charge_micro:
        base["customer_charge"] = version.customer_charge_micro * days * _WH_PER_KWH
    if version.unmetered_micro_per_day:
        more["unmetered"] = version.unmetered_micro_per_day * days * per_micro
    cents = {kind: _half_up(amount, per_cent) for kind, amount in base.items()}
    if version.minimum_micro:
        minimum = _half_up(version.minimum_micro * days * _WH_PER_KWH, per_cent)
        cents["minimum"] = max(0, minimum - sum(cents.values()))
    for kind, amount in more.items():
        cents[kind] = _half_up(amount, per_cent)
    if version.taxes:
        before_taxes = sum(cents.values())
        for tax in version.taxes:
            cents[f"tax:{tax.name}"] = _tax(tax, before_taxes)
    return cents


def _energy(uses: Sequence[_Use], month_days: int) -> dict[str, int]:
    """The energy lines of one part; the tiers of a season are on all its use, also where a rider changed between."""
    found: dict[str, int] = {}
    tiered: dict[tuple[int, int], tuple[tuple[Tier, ...], int, int]] = {}  # by the day on which the season begins
    for use in uses:
        season = use.piece.season
        if season.periods:
            for name, price in season.periods:
                kind = f"energy:{name}"
                found[kind] = found.get(kind, 0) + price * use.by_period.get(name, 0) * month_days
        else:
            _, energy_wh, days = tiered.get(season.begins, ((), 0, 0))
            tiered[season.begins] = season.tiers, energy_wh + use.energy_wh, days + use.days
    for tiers, energy_wh, days in tiered.values():
        found["energy"] = found.get("energy", 0) + _tiered(tiers, energy_wh, days, month_days)
    return found


def _tiered(tiers: tuple[Tier, ...], energy_wh: int, days: int, month_days: int) -> int:
    """The price of energy in tiers whose limits are prorated to the days, in micro-units / (1000 x month_days)."""
    if len(tiers) == 1:
        return tiers[0].micro_per_kwh * energy_wh * month_days
    scaled = energy_wh * month_days  # limits are scaled alike, so that a prorated limit needs no rounding
    amount = below = 0
    for tier in tiers:
        upper = scaled if tier.up_to_wh is None else min(scaled, tier.up_to_wh * days)
        amount += tier.micro_per_kwh * (upper - below)
        below = upper
    return amount


def _half_up(numerator: int, denominator: int) -> int:
    if numerator < 0:
        return -((2 * -numerator + denominator) // (2 * denominator))
    return (2 * numerator + denominator) // (2 * denominator)


def _tax(tax: Tax, before_taxes_cents: int) -> int:
    product = before_taxes_cents * tax.parts_per_million
    if tax.rounding is Rounding.DOWN:
        return product // _MILLION
    if tax.rounding is Rounding.UP:
        return -(-product // _MILLION)
    return _half_up(product, _MILLION)
