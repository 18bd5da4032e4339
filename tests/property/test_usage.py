"""Use from registers, for any reads, exchanges and rollovers: nothing is lost, counted twice, or dependent on order."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from edge.core import vee
from edge.core.tariffs import PeriodSpan
from edge.core.usage import DayQuality, Exchange, Line, Read, boundaries, by_period_like, line, measured

ZONE = ZoneInfo("America/Chicago")
START = datetime(2026, 10, 30, tzinfo=UTC)
MODULO = 100_000
LIMITS = vee.Limits(modulo_wh=MODULO)
minutes = st.integers(1, 3_000)


@st.composite
def registers(draw: st.DrawFn) -> tuple[list[Read], list[Exchange]]:
    """A supply's reads in time, its register rolling over, its meter now and then exchanged."""
    at, register = START, draw(st.integers(0, MODULO - 1))
    reads, exchanges = [Read(at, register)], []
    for gap, used, changed in draw(st.lists(st.tuples(minutes, st.integers(0, 40_000), st.booleans()), max_size=12)):
        at += timedelta(minutes=gap)
        register = (register + used) % MODULO
        if changed and gap % 3 == 0:
            exchanges.append(Exchange(at, register, gap % 500))
            register = gap % 500
        else:
            reads.append(Read(at, register))
    return reads, exchanges


def known(reads: list[Read], exchanges: list[Exchange]) -> tuple[datetime, datetime]:
    instants = [fact.at for fact in [*reads, *exchanges]]
    return min(instants), max(instants)


def counted(reads: list[Read], exchanges: list[Exchange]) -> int:
    """What the meters counted between the first fact and the last, the long way round."""
    facts = sorted([*reads, *exchanges], key=lambda fact: fact.at)
    total = 0
    for one, other in pairwise(facts):
        start = one.initial_wh if isinstance(one, Exchange) else one.register_wh
        end = other.final_wh if isinstance(other, Exchange) else other.register_wh
        total += (end - start) % MODULO
    return total


@given(registers(), st.lists(st.integers(0, 40_000), max_size=8), st.integers(1, 60))
def test_parts_sum_to_what_was_counted_wherever_time_is_cut(
    facts: tuple[list[Read], list[Exchange]], cuts: list[int], multiplier: int
) -> None:
    first, last = known(*facts)
    whole = line(*facts, vee.Limits(modulo_wh=MODULO, multiplier=multiplier))
    inside = sorted({first, last, *(first + timedelta(minutes=cut) for cut in cuts if cut < (last - first).seconds)})
    inside = [at for at in inside if at <= last]
    parts = [whole.used(start, end) for start, end in pairwise(inside)]
    assert None not in parts
    assert all(part is not None and part >= 0 for part in parts)
    assert sum(part or 0 for part in parts) == counted(*facts) * multiplier
    assert whole.used(first, last + timedelta(microseconds=1)) is None


@given(registers(), st.randoms())
def test_the_order_of_facts_does_not_matter(facts: tuple[list[Read], list[Exchange]], chance: object) -> None:
    reads, exchanges = facts
    shuffled, mixed = list(reads), list(exchanges)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    first, last = known(reads, exchanges)
    middle = first + (last - first) // 3
    assert line(shuffled, mixed, LIMITS).used(first, middle) == line(reads, exchanges, LIMITS).used(first, middle)


@given(registers(), st.lists(st.integers(0, 20_000), min_size=1, max_size=4))
def test_the_facts_around_the_boundaries_are_all_that_counts(
    facts: tuple[list[Read], list[Exchange]], offsets: list[int]
) -> None:
    """What the store hands out for a day: the reads next to each boundary, and the exchanges."""
    reads, exchanges = facts
    first, last = known(reads, exchanges)
    cuts = sorted({min(last, first + timedelta(minutes=offset)) for offset in [0, *offsets]})
    near = {
        read
        for cut in cuts
        for read in (
            max((one for one in reads if one.at <= cut), key=lambda one: one.at, default=None),
            min((one for one in reads if one.at >= cut), key=lambda one: one.at, default=None),
        )
        if read is not None
    }
    dense, sparse = line(reads, exchanges, LIMITS), line(near, exchanges, LIMITS)
    if _turns(near, exchanges) == _turns(reads, exchanges):  # a register that turned twice unseen counts as once
        assert [sparse.used(*pair) for pair in pairwise(cuts)] == [dense.used(*pair) for pair in pairwise(cuts)]


def _turns(reads: object, exchanges: list[Exchange]) -> int:
    return counted(list(reads), exchanges)  # type: ignore[call-overload]


@given(registers(), st.integers(0, 3_000), st.integers(0, MODULO - 1))
def test_a_customers_read_never_changes_what_was_counted_between_the_gateways_own(
    facts: tuple[list[Read], list[Exchange]], offset: int, register: int
) -> None:
    reads, exchanges = facts
    reported = Read(START + timedelta(minutes=offset), register, customer=True)
    plain, more = line(reads, exchanges, LIMITS), line([*reads, reported], exchanges, LIMITS)
    instants = sorted({fact.at for fact in [*reads, *exchanges]})
    assert [more.used(*pair) for pair in pairwise(instants)] == [plain.used(*pair) for pair in pairwise(instants)]
    if plain.covers(reported.at):
        part = more.used(START, reported.at)
        assert part is not None
        assert 0 <= part <= counted(reads, exchanges)


@given(st.dates(date(2026, 1, 1), date(2026, 12, 31)), st.integers(0, 90_000), st.integers(0, 90_000))
def test_a_day_by_period_sums_to_the_day_whatever_its_length(day: date, before: int, after: int) -> None:
    start, end = vee.day_bounds(day, ZONE)
    peak = start + timedelta(hours=14), start + timedelta(hours=19)
    spans = (PeriodSpan(start, peak[0], "off"), PeriodSpan(*peak, "on"), PeriodSpan(peak[1], end, "off"))
    reads = [Read(start - timedelta(hours=5), 0), Read(end + timedelta(hours=7), before + after)]
    found = measured(line(reads, [], vee.Limits()), day, start, end, spans)
    assert found is not None
    assert sum(part for _, part in found.by_period) == found.energy_wh
    assert found.quality is DayQuality.INTERPOLATED
    assert boundaries(start, end, spans) == [start, *peak, end]
    whole = before + after
    hours = (end - start) // timedelta(hours=1)
    assert abs(found.energy_wh - whole * hours // (hours + 12)) <= 1
    assert sum(part for _, part in by_period_like(before, spans, [found.by_period])) == before
    evenly = dict(by_period_like(hours * 1_000, spans, []))
    assert evenly == {"off": (hours - 5) * 1_000, "on": 5_000}


def test_before_the_first_read_nothing_is_known_to_have_been_used() -> None:
    registers_: Line = line([Read(START, 500), Read(START + timedelta(hours=2), 700)], [], vee.Limits())
    assert registers_.used(START - timedelta(days=1), START + timedelta(hours=1)) == 100
    assert not registers_.begins_by(START - timedelta(seconds=1))
    assert not line([], [], vee.Limits()).covers(START)
