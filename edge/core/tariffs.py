"""Tariffs as values: prices with their effective dates, and what of them is in force on each day of a month.

Prices are integer micro-units of a dollar, per kWh, per month or per day; percentages are integer parts per million;
energy is integer Wh. A month is a civil month. Forms (domain-rules R5, C15; seed 002: PSO's flat rate with customer
charge, fuel adjustment and riders, OG&E's standard and time-of-use rates prorated to a day): one price, tiers, or
periods of the day, each by season. There is no price for a disconnect or a reconnect, and none can be given.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise


class DayType(StrEnum):
    """Kinds of day that a time-of-use schedule tells apart; a holiday is one whatever its weekday."""

    WEEKDAY = "weekday"
    WEEKEND = "weekend"
    HOLIDAY = "holiday"


class Rounding(StrEnum):
    """How a tax is rounded to the cent. Half up: half a cent goes away from zero."""

    HALF_UP = "half_up"
    DOWN = "down"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Tier:
    """A block of a month's energy up to ``up_to_wh`` in total (None: the rest) and its price per kWh."""

    up_to_wh: int | None
    micro_per_kwh: int


@dataclass(frozen=True, slots=True)
class Band:
    """Hours of some kinds of day, in minutes of the wall clock from start until end (excluded), and their period."""

    days: tuple[DayType, ...]
    start_minute: int
    end_minute: int
    period: str


@dataclass(frozen=True, slots=True)
class Season:
    """Energy prices from ``begins`` (month, day) until the next season begins.

    Either ``tiers`` on the whole use, or, for time of use, ``periods`` with one price each (name, micro per kWh),
    the ``bands`` that say when they apply, and the period of all other hours.
    """

    name: str
    begins: tuple[int, int]
    tiers: tuple[Tier, ...] = ()
    periods: tuple[tuple[str, int], ...] = ()
    bands: tuple[Band, ...] = ()
    otherwise: str = ""


@dataclass(frozen=True, slots=True)
class Rider:
    """A price per kWh on top of energy: ``kind`` is ``fuel`` or ``rider:<name>``; steps (from this day, price)."""

    kind: str
    steps: tuple[tuple[date, int], ...]

    def micro_per_kwh(self, day: date) -> int:
        """The price in force on a day; zero before the first step."""
        price = 0
        for effective, micro in self.steps:
            if effective <= day:
                price = micro
        return price


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax or franchise fee in parts per million of the bill before taxes."""

    name: str
    parts_per_million: int
    rounding: Rounding = Rounding.HALF_UP


@dataclass(frozen=True, slots=True)
class Version:
    """The base prices from a day on, until the next version. ``minimum_micro`` of zero: there is no minimum."""

    effective: date
    seasons: tuple[Season, ...]
    customer_charge_micro: int = 0
    minimum_micro: int = 0
    unmetered_micro_per_day: int = 0
    taxes: tuple[Tax, ...] = ()
    holidays: tuple[str | date, ...] = ()

    def season(self, day: date) -> Season:
        """The season of a day: the one that began last."""
        begun = [season for season in self.seasons if season.begins <= (day.month, day.day)]
        return max(begun or self.seasons, key=lambda season: season.begins)

    def day_type(self, day: date) -> DayType:
        """Whether the tariff counts a day as a holiday, a weekend's or a weekday."""
        if any(day == holiday if isinstance(holiday, date) else is_holiday(holiday, day) for holiday in self.holidays):
            return DayType.HOLIDAY
        return DayType.WEEKEND if day.weekday() >= 5 else DayType.WEEKDAY


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """A named tariff: versions by effective day, oldest first, and riders with effective days of their own."""

    name: str
    versions: tuple[Version, ...]
    riders: tuple[Rider, ...] = ()
    description: str = ""

    @property
    def time_of_use(self) -> bool:
        """Whether any version prices energy by the hour, so that a day's use must come by period."""
        return any(season.periods for version in self.versions for season in version.seasons)

    def version(self, day: date) -> Version:
        """The version in force on a day. Raises ValueError before the first."""
        found = [version for version in self.versions if version.effective <= day]
        if not found:
            raise ValueError(f"tariff {self.name} has no prices for {day}: its first version begins later")
        return found[-1]


# Month, weekday (None: a fixed date), first possible day of the month.
HOLIDAYS: dict[str, tuple[int, int | None, int]] = {
    "new_years_day": (1, None, 1),
    "martin_luther_king_day": (1, 0, 15),
    "presidents_day": (2, 0, 15),
    "memorial_day": (5, 0, 25),
    "juneteenth": (6, None, 19),
    "independence_day": (7, None, 4),
    "labor_day": (9, 0, 1),
    "columbus_day": (10, 0, 8),
    "veterans_day": (11, None, 11),
    "thanksgiving": (11, 3, 22),
    "christmas_day": (12, None, 25),
}


def is_holiday(name: str, day: date) -> bool:
    """Whether a day is the holiday of a name in ``HOLIDAYS``, on its actual date. Raises KeyError for others."""
    month, weekday, first = HOLIDAYS[name]
    if weekday is None:
        return (day.month, day.day) == (month, first)
    return day.month == month and day.weekday() == weekday and first <= day.day < first + 7


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of days of one month under one version, one season and the same riders (kind, micro per kWh)."""

    first: date
    last: date
    version: Version
    season: Season
    riders: tuple[tuple[str, int], ...]


@lru_cache(maxsize=1024)
def month_pieces(tariff: Tariff, year: int, month: int) -> tuple[int, tuple[Piece, ...]]:
    """The days in a civil month, and the pieces of it for which the tariff has prices, in order."""
    first = date(year, month, 1)
    month_days = ((first + timedelta(days=31)).replace(day=1) - first).days
    pieces: list[Piece] = []
    for offset in range(month_days):
        day = first + timedelta(days=offset)
        if day < tariff.versions[0].effective:
            continue
        version = tariff.version(day)
        riders = tuple((rider.kind, rider.micro_per_kwh(day)) for rider in tariff.riders)
        piece = Piece(day, day, version, version.season(day), riders)
        before = pieces[-1] if pieces else None
        if before and (before.version, before.season, before.riders) == (version, piece.season, riders):
            pieces[-1] = Piece(before.first, day, version, piece.season, riders)
        else:
            pieces.append(piece)
    return month_days, tuple(pieces)


@dataclass(frozen=True, slots=True)
class PeriodSpan:
    """A part of a civil day, in UTC from start until end (excluded), and its period (empty: not by time of use)."""

    start: datetime
    end: datetime
    period: str


@lru_cache(maxsize=1024)
def period_spans(tariff: Tariff, day: date, zone: tzinfo) -> tuple[PeriodSpan, ...]:
    """The spans of a civil day, without gap, in order; they cover 23 or 25 hours where the clocks change.

    An instant belongs to the hours that the wall clock then shows: of hours that the clocks skip nothing is left, those
    that come twice count twice. Raises ValueError for a day before the tariff's first version.
    """
    version = tariff.version(day)
    season = version.season(day)
    kind = version.day_type(day)
    bands = [band for band in season.bands if kind in band.days]
    minutes = {0, 1440} | {minute for band in bands for minute in (band.start_minute, band.end_minute)}
    spans: list[PeriodSpan] = []
    for start, end in pairwise(_cuts(day, minutes, zone)):
        wall = start.astimezone(zone)
        minute = wall.hour * 60 + wall.minute
        found = [band.period for band in bands if band.start_minute <= minute < band.end_minute]
        period = found[0] if found else season.otherwise
        if spans and spans[-1].period == period:
            spans[-1] = PeriodSpan(spans[-1].start, end, period)
        else:
            spans.append(PeriodSpan(start, end, period))
    return tuple(spans)


def _cuts(day: date, minutes: set[int], zone: tzinfo) -> list[datetime]:
    """The instants at which the wall clock shows one of some minutes of a day, or is put forward or back, in order."""
    start, end = _instant(day, 0, zone), _instant(day, 1440, zone)
    if end - start == timedelta(days=1):
        return [_instant(day, minute, zone) for minute in sorted(minutes)]
    instants = [_instant(day, minute, zone, fold) for minute in minutes for fold in (0, 1)]
    whole = range((end - start) // timedelta(minutes=1))
    offsets = [(start + timedelta(minutes=minute)).astimezone(zone).utcoffset() for minute in whole]
    change = next((minute for minute in whole if offsets[minute] != offsets[0]), 0)
    instants.append(start + timedelta(minutes=change))
    return sorted({instant for instant in instants if start <= instant <= end})


def _instant(day: date, minute: int, zone: tzinfo, fold: int = 0) -> datetime:
    days, minute = divmod(minute, 1440)
    wall = time(minute // 60, minute % 60, fold=fold)
    return datetime.combine(day + timedelta(days=days), wall, zone).astimezone(UTC)
