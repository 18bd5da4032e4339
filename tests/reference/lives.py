"""Random lives of prepaid accounts, and what each must have cost in the end, worked out from the facts alone.

A life is a set of facts: what the register showed when, what was paid, returned, charged and credited, which tariff was
ordered from when, and when the customer left. Nothing of ``edge`` is used: use is cut from the facts on straight lines,
billed by ``tests.reference.billing``, and the money is plain addition. When the facts arrive is not this file's matter.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from tests.reference.billing import Biller, Use
from tests.reference.programs import PROGRAMMES

ZONE = ZoneInfo("America/Chicago")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
QUARTER = timedelta(minutes=15)


def midnight(day: date) -> datetime:
    """The beginning of a civil day."""
    return datetime.combine(day, time(), ZONE).astimezone(UTC)


@dataclass(frozen=True)
class Payment:
    """Money paid. ``fee``: of the bank's return, None where it was honoured."""

    payment_id: str
    cents: int
    made_at: datetime
    source: str
    fee: int | None


@dataclass(frozen=True)
class Item:
    """A charge (below zero) or credit beside the tariff, at an instant."""

    item_id: str
    cents: int
    at: datetime


@dataclass(frozen=True)
class TariffOrder:
    """A tariff ordered at an instant from a civil day on."""

    at: datetime
    first_day: date
    tariff: str


@dataclass(frozen=True)
class Exchange:
    """Another meter took over at an instant: the last register of the old one, the first of the new one."""

    at: datetime
    final: int
    initial: int
    count: int


@dataclass(frozen=True)
class Reported:
    """A register that the customer read, well or badly; ``count``: the same on a register that never turns."""

    at: datetime
    shown: int
    count: int


@dataclass(frozen=True)
class Edit:
    """A day's use as a person says it: for good, or until reads say it."""

    day: date
    wh: int
    final: bool


@dataclass
class Life:
    """All facts about one account. ``reads``: instant, register shown, and the same on a register that never turns.

    Registers count ``multiplier`` Wh as one.
    """

    number: int
    programme: str
    tariff: str
    enrolled_at: datetime
    opening: int
    debt: int
    reads: list[tuple[datetime, int, int]] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    orders: list[TariffOrder] = field(default_factory=list)
    leaves_at: datetime | None = None
    multiplier: int = 1
    exchange: Exchange | None = None
    reported: list[Reported] = field(default_factory=list)
    edits: dict[date, Edit] = field(default_factory=dict)

    @property
    def account_id(self) -> str:
        """The account's name."""
        return f"A-{self.number}"

    @property
    def meter_id(self) -> str:
        """The name of the meter's place."""
        return f"M-{self.number}"

    @property
    def first_day(self) -> date:
        """The first civil day that is charged."""
        return self.enrolled_at.astimezone(ZONE).date()

    def last_day(self, end: date) -> date:
        """The last civil day that is charged by the beginning of ``end``."""
        leaves = end if self.leaves_at is None else self.leaves_at.astimezone(ZONE).date()
        return min(leaves, end - DAY)


def random_life(chance: Random, number: int, first: date, end: date, tariffs: list[str], modulo: int) -> Life:
    """A life that begins on some day from ``first`` on; the register is read for the last time just after ``end``."""
    length = (end - first).days
    day = first + timedelta(days=chance.choice((0, 0, chance.randrange(max(1, length - 3)))))
    enrolled_at = midnight(day) + timedelta(minutes=chance.choice((0, chance.randrange(1380))))
    programme = chance.choice(("default", "default", "strict", "oec-prepaid", "lake-region"))
    life = Life(number, programme, chance.choice(tariffs), enrolled_at, chance.randrange(-2_000, 9_000), 0)
    life.debt = chance.choice((0, chance.randrange(1, 40_000)))
    if chance.random() < 0.3:
        life.leaves_at = _moment(chance, enrolled_at, midnight(end) - HOUR)
    _measure(chance, life, midnight(first) - 6 * HOUR, midnight(end) + HOUR, modulo)
    for index in range(chance.randrange(9)):
        fee = chance.choice((None, None, None, 0, 2_500))
        source = chance.choice(("", "", "customer", "LIHEAP", "third_party"))
        cents = chance.choice((1, 99, chance.randrange(1, 20_000), 3_000))
        at = _moment(chance, enrolled_at, midnight(end))
        life.payments.append(Payment(f"P-{number}-{index}", cents, at, source, fee))
    for index in range(chance.choice((0, 0, 1, 3))):
        cents = chance.choice((-1, 1)) * chance.randrange(1, 3_000)
        life.items.append(Item(f"I-{number}-{index}", cents, _moment(chance, enrolled_at, midnight(end))))
    for at in sorted(_moment(chance, enrolled_at, midnight(end)) for _ in range(chance.choice((0, 0, 1, 2, 3)))):
        today = at.astimezone(ZONE).date()
        ahead = today + timedelta(days=chance.choice((0, 1, chance.randrange(12))))
        life.orders.append(TariffOrder(at, min(ahead, life.last_day(end + DAY)), chance.choice(tariffs)))
    life.orders = [order for order in life.orders if order.first_day >= order.at.astimezone(ZONE).date()]
    for _ in range(chance.choice((0, 0, 1, 2))):
        day = life.first_day + timedelta(days=chance.randrange((life.last_day(end) - life.first_day).days + 1))
        life.edits[day] = Edit(day, chance.randrange(60_000), chance.random() < 0.6)
    return life


def _moment(chance: Random, start: datetime, end: datetime) -> datetime:
    return start + timedelta(seconds=chance.randrange(1, max(2, int((end - start).total_seconds()))))


def _measure(chance: Random, life: Life, start: datetime, end: datetime, modulo: int) -> None:
    """Reads every few hours, a minute or so late, with silences of hours or days; the register turns over in some."""
    hours = (end - start) // HOUR + 2
    life.multiplier = chance.choice((1, 1, 1, 20))
    hourly = [chance.choice((0, chance.randrange(300), chance.randrange(4_000))) for _ in range(hours)]
    hourly = [used // life.multiplier for used in hourly]
    shown = chance.choice((chance.randrange(5_000), chance.randrange(500_000), modulo - chance.randrange(200_000)))
    counts = [shown]
    for used in hourly:
        counts.append(counts[-1] + used)
    silences = [_moment(chance, start, end) for _ in range(chance.choice((0, 1, 2, 4)))]
    lengths = [timedelta(hours=chance.choice((3, 9, 30, 80, 200))) for _ in silences]
    step = chance.choice((1, 3, 6, 12))
    for index in range(0, hours - 1, step):
        at = start + index * HOUR + timedelta(seconds=chance.randrange(0, 240))
        silent = any(since <= at < since + length for since, length in zip(silences, lengths, strict=True))
        if index == 0 or not silent:
            life.reads.append((at, counts[index] % modulo, counts[index]))
    last = end + timedelta(minutes=5)
    life.reads.append((last, counts[hours - 1] % modulo, counts[hours - 1]))
    if 50_000 < shown < modulo - 1_000_000 and chance.random() < 0.5:
        _exchange(chance, life, start, counts)
    for since, length in zip(silences, lengths, strict=True):
        if chance.random() < 0.6:
            _report(chance, life, start, since + length * chance.random(), counts, modulo)


def _exchange(chance: Random, life: Life, start: datetime, counts: list[int]) -> None:
    """A new meter within the hour after one of the reads; what is read after it counts from its first register."""
    index = chance.randrange(1, len(counts) - 3)
    minutes = chance.randrange(5, 59)
    at = start + index * HOUR + timedelta(minutes=minutes)
    if at <= life.enrolled_at:
        return
    initial = chance.choice((0, 7, chance.randrange(900)))
    final = counts[index] + (counts[index + 1] - counts[index]) * minutes // 60
    life.exchange = Exchange(at, final, initial, final)
    life.reads = [(on, shown if on < at else initial + count - final, count) for on, shown, count in life.reads]


def _report(chance: Random, life: Life, start: datetime, at: datetime, counts: list[int], modulo: int) -> None:
    """What the customer reads off the meter at some minute, sometimes wrongly."""
    index = (at - start) // HOUR
    if not life.enrolled_at < at or index >= len(counts) - 4:
        return
    count = max(0, counts[index] + chance.choice((0, 0, chance.randrange(-20_000, 20_000))))
    exchange = life.exchange
    shown = count % modulo if exchange is None or at < exchange.at else exchange.initial + count - exchange.count
    if shown >= 0:
        life.reported.append(Reported(at, shown, count))


def possible(counted: int, time_between: timedelta, multiplier: int) -> bool:
    """Whether a service of 25 kW can use so much; a register is right within 10 Wh of its own, stamps within 5 s."""
    microseconds = (time_between + timedelta(seconds=5)) // MICROSECOND
    return counted >= 0 and (counted - 10) * multiplier * 3_600_000_000 <= 25_000 * microseconds


def points_of(life: Life) -> list[tuple[datetime, int]]:
    """The facts about the register: the meter's own, and what the customer read where the meter's own allow it."""
    own = [(at, count) for at, _, count in life.reads]
    if life.exchange is not None:
        own = sorted([*own, (life.exchange.at, life.exchange.count)])
    points = list(own)
    for read in sorted(life.reported, key=lambda each: each.at):
        before = max(point for point in own if point[0] <= read.at)
        after = min(point for point in own if point[0] >= read.at)
        fits_before = possible(read.count - before[1], read.at - before[0], life.multiplier)
        fits_after = possible(after[1] - read.count, after[0] - read.at, life.multiplier)
        lately = max(point for point in points if point[0] <= read.at)
        if fits_before and fits_after and lately[1] <= read.count:
            points = sorted([*points, (read.at, read.count)])
    return points


class Cut:
    """Use between instants: straight lines between the facts, the count rounded down to the Wh at each cut."""

    def __init__(self, points: list[tuple[datetime, int]]) -> None:
        self._instants = [at for at, _ in points]
        self._counts = [count for _, count in points]

    def count(self, at: datetime) -> int:
        """The unturned count at an instant; before the first fact it is that of the first."""
        right = bisect_left(self._instants, at)
        if right == 0 or self._instants[right] == at:
            return self._counts[right]
        since, whole = at - self._instants[right - 1], self._instants[right] - self._instants[right - 1]
        ahead = (self._counts[right] - self._counts[right - 1]) * (since // MICROSECOND) // (whole // MICROSECOND)
        return self._counts[right - 1] + ahead


def days_of(life: Life, end: date, billers: Mapping[str, Biller]) -> dict[date, Use]:
    """The use of every day that is charged by the beginning of ``end``, in quarters of an hour where prices ask so."""
    cut = Cut(points_of(life))
    found = {}
    day = life.first_day
    while day <= life.last_day(end):
        start, stop = max(midnight(day), life.enrolled_at), midnight(day + DAY)
        biller = billers[tariff_on(life, day)]
        cuts = [start, stop]
        if "periods" in biller.season(day):
            quarter = midnight(day) + ((start - midnight(day)) // QUARTER + 1) * QUARTER
            while quarter < stop:
                cuts.insert(-1, quarter)
                quarter += QUARTER
        counts = [cut.count(at) * life.multiplier for at in cuts]
        intervals = tuple((at, two - one) for at, one, two in zip(cuts, counts, counts[1:], strict=False))
        found[day] = Use(counts[-1] - counts[0], intervals if len(cuts) > 2 else ())
        if day in life.edits and life.edits[day].final:
            found[day] = _edited(life.edits[day], found[day], biller)
        day += DAY
    return found


def _edited(edit: Edit, measured: Use, biller: Biller) -> Use:
    """A day as a person said it: its periods in the proportion of the registers, or of their lengths."""
    if "periods" not in biller.season(edit.day):
        return Use(edit.wh)
    first: dict[str, datetime] = {}
    lengths: dict[str, int] = {}
    at = midnight(edit.day)
    while at < midnight(edit.day + DAY):
        period = biller.period(at)
        first.setdefault(period, at)
        lengths[period] = lengths.get(period, 0) + 1
        at += QUARTER
    registers = biller.by_period(measured)
    weights = {period: registers.get(period, 0) for period in lengths} if measured.wh else lengths
    given = weighed = 0
    parts = []
    for period, weight in weights.items():
        weighed += weight
        upto = edit.wh * weighed // sum(weights.values())
        parts.append((first[period], upto - given))
        given = upto
    return Use(edit.wh, tuple(parts))


def tariff_on(life: Life, day: date) -> str:
    """The tariff of a day: of the orders for that day or earlier ones the one for the latest day, then the last.

    An order of what the account would have had on that day anyway changes nothing, whatever is ordered after it.
    """
    kept: list[TariffOrder] = []
    for order in life.orders:
        if order.tariff != _in_force(life, kept, order.first_day):
            kept.append(order)
    return _in_force(life, kept, day)


def _in_force(life: Life, orders: list[TariffOrder], day: date) -> str:
    begun = sorted((order.first_day, order.at, order.tariff) for order in orders if order.first_day <= day)
    return begun[-1][2] if begun else life.tariff


def bills_of(life: Life, use: Mapping[date, Use], billers: Mapping[str, Biller]) -> dict[date, int]:
    """The ordinary bills, by their first day: one a month, and one more wherever another tariff begins."""
    bills: dict[date, dict[date, Use]] = {}
    begins = life.first_day
    for day in sorted(use):
        if day.day == 1 or (day > life.first_day and tariff_on(life, day) != tariff_on(life, day - DAY)):
            begins = day
        bills.setdefault(begins, {})[day] = use[day]
    return {begins: billers[tariff_on(life, begins)].total(days) for begins, days in bills.items()}


def worth_of(life: Life, bills: int) -> int:
    """Balance less carried debt in the end: what came in and stayed, less what was charged."""
    kept = sum(payment.cents for payment in life.payments if payment.fee is None)
    fees = sum(payment.fee for payment in life.payments if payment.fee is not None)
    return life.opening - life.debt + kept - fees + sum(item.cents for item in life.items) - bills


def standing_of(life: Life, bills: int) -> tuple[int, int]:
    """Balance and carried debt in the end, where no payment was returned: then the order of payments says nothing."""
    share = PROGRAMMES[life.programme].share
    parts = sum(int(payment.cents * share) for payment in life.payments if payment.source in ("", "customer"))
    left = max(0, life.debt - parts)
    return worth_of(life, bills) + left, left
