"""Money, whatever the tariff, the month and the use: days sum to the bill, postings to zero, days to registers."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core import ledger, vee
from edge.core.rating import DayUsage, bill, by_period, charges_for_last_day
from edge.core.tariffs import Band, DayType, Rider, Rounding, Season, Tariff, Tax, Tier, Version, period_spans
from edge.core.vee import DayRecord, Limits, Quality, RegisterRead

CHICAGO = ZoneInfo("America/Chicago")
ALWAYS = date(2000, 1, 1)
days_of_2026 = st.dates(date(2026, 1, 1), date(2026, 12, 31))
prices = st.integers(-50_000, 500_000)
monthly = st.integers(0, 40_000_000)
begins = st.tuples(st.integers(1, 12), st.integers(1, 28))


@st.composite
def seasons(draw: st.DrawFn, begin: tuple[int, int], by_the_hour: bool) -> Season:
    if not by_the_hour or draw(st.booleans()):
        limits = sorted(draw(st.sets(st.integers(1, 1500), max_size=3)))
        tiers = [Tier(limit * 1000, draw(prices)) for limit in limits]
        return Season("tiers", begin, (*tiers, Tier(None, draw(prices))))
    start, end = sorted(draw(st.lists(st.integers(0, 1440), min_size=2, max_size=2, unique=True)))
    kinds = tuple(draw(st.sets(st.sampled_from(DayType), min_size=1)))
    periods = (("on_peak", draw(prices)), ("off_peak", draw(prices)))
    return Season("periods", begin, (), periods, (Band(kinds, start, end, "on_peak"),), "off_peak")


@st.composite
def versions(draw: st.DrawFn, effective: date, by_the_hour: bool) -> Version:
    percents = st.integers(0, 150_000)
    taxes = [
        Tax(name, draw(percents), draw(st.sampled_from(Rounding))) for name in draw(st.sets(st.sampled_from("ab")))
    ]
    return Version(
        effective,
        tuple([draw(seasons(begin, by_the_hour)) for begin in draw(st.sets(begins, min_size=1, max_size=3))]),
        draw(monthly),
        draw(st.just(0) | monthly),
        draw(st.just(0) | st.integers(0, 1_000_000)),
        tuple(taxes),
        draw(st.sampled_from([(), ("independence_day", "christmas_day")])),
    )


@st.composite
def tariffs(draw: st.DrawFn, by_the_hour: bool = True) -> Tariff:
    changes = sorted(draw(st.sets(days_of_2026, max_size=2)))
    found = [draw(versions(effective, by_the_hour)) for effective in (ALWAYS, *changes)]
    steps = [(day, draw(prices)) for day in (ALWAYS, *sorted(draw(st.sets(days_of_2026, max_size=3))))]
    return Tariff("any", tuple(found), (Rider("fuel", tuple(steps)),))


@st.composite
def months_of_use(draw: st.DrawFn, tariff: Tariff) -> list[DayUsage]:
    """Use of a run of days inside one month, which may begin late and end early."""
    first = draw(days_of_2026)
    count = draw(st.integers(1, 31))
    days = [first + timedelta(days=index) for index in range(count)]
    found = []
    for day in days:
        if day.month == first.month:
            spans = period_spans(tariff, day, CHICAGO)
            parts = [(span.start, draw(st.integers(0, 60_000))) for span in spans]
            periods = by_period(tariff, day, parts, CHICAGO)
            found.append(DayUsage(day, sum(energy_wh for _, energy_wh in parts), periods))
    return found


@given(st.data(), tariffs())
@settings(max_examples=80, deadline=None)
def test_the_days_of_a_month_sum_to_its_bill(data: st.DataObject, tariff: Tariff):
    usage = data.draw(months_of_use(tariff))
    charged: dict[str, int] = {}
    total = 0
    for index in range(len(usage)):
        charges = charges_for_last_day(tariff, usage[: index + 1], charged)
        total += sum(charges.values())
        for kind, cents in charges.items():
            charged[kind] = charged.get(kind, 0) + cents
    whole = bill(tariff, usage)
    assert total == whole.total_cents == sum(line.cents for line in whole.lines)
    assert {kind: cents for kind, cents in charged.items() if cents} == dict(whole.lines)


@given(st.data(), tariffs(), days_of_2026)
@settings(max_examples=80, deadline=None)
def test_a_day_split_into_parts_costs_the_same(data: st.DataObject, tariff: Tariff, day: date):
    spans = period_spans(tariff, day, CHICAGO)
    assert spans[-1].end - spans[0].start == vee.day_bounds(day, CHICAGO)[1] - vee.day_bounds(day, CHICAGO)[0]
    whole: list[tuple[datetime, int]] = []
    parts: list[tuple[datetime, int]] = []
    for span in spans:
        pieces = data.draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=6))
        step = (span.end - span.start) // len(pieces)
        parts += [(span.start + index * step, wh) for index, wh in enumerate(pieces)]
        whole.append((span.start, sum(pieces)))
    energy_wh = sum(wh for _, wh in whole)
    bills = [
        bill(tariff, [DayUsage(day, energy_wh, by_period(tariff, day, intervals, CHICAGO))])
        for intervals in (whole, parts)
    ]
    assert bills[0] == bills[1]


@given(
    tariffs(by_the_hour=False),
    days_of_2026,
    st.lists(st.integers(0, 90_000), min_size=1, max_size=28),
    st.data(),
)
@settings(max_examples=50, deadline=None)
def test_estimate_then_actual_nets_to_the_actual(tariff: Tariff, day: date, wh: list[int], data: st.DataObject):
    first = day.replace(day=1)
    actual = [DayUsage(first + timedelta(days=index), energy) for index, energy in enumerate(wh)]
    wrong = data.draw(st.integers(0, len(wh) - 1))
    estimated = list(actual)
    estimated[wrong] = DayUsage(actual[wrong].day, data.draw(st.integers(0, 90_000)))
    before = bill(tariff, estimated)
    correction = charges_for_last_day(tariff, actual, dict(before.lines))
    assert before.total_cents + sum(correction.values()) == bill(tariff, actual).total_cents


cents = st.integers(0, 1_000_000)
kinds = st.dictionaries(st.sampled_from(["energy", "fuel", "rider:a", "tax:a", "minimum"]), st.integers(-9_999, 9_999))


@given(cents, cents, st.integers(-100_000, 100_000), kinds, st.integers(0, 5_000))
def test_transactions_sum_to_zero_and_undo_each_other(
    to_arrears: int, to_balance: int, amount: int, charges: dict[str, int], fee: int
):
    day = date(2026, 1, 1)
    paid = ledger.payment(
        account_id="A",
        day=day,
        payment_id="p",
        channel="web",
        to_arrears_cents=to_arrears,
        to_balance_cents=to_balance + 1,
    )
    charge = ledger.charge(account_id="A", day=day, charges=charges)
    given_back = ledger.reversal(of=charge, transaction_id=1, day=day, note="")
    returned = ledger.returned_payment(of=paid, transaction_id=2, day=day, fee_cents=fee)
    adjusted = ledger.adjustment(account_id="A", day=day, amount_cents=amount, ref="a", note="")
    opened = ledger.opening(account_id="A", day=day, balance_cents=amount, arrears_cents=to_arrears)
    for transaction in (paid, charge, given_back, returned, adjusted, opened):
        assert sum(posting.amount_cents for posting in transaction.postings) == 0
        assert all(posting.amount_cents for posting in transaction.postings)
    on_prepaid = [ledger.effect_on_prepaid(found, "A") for found in (paid, returned, charge, given_back, adjusted)]
    assert on_prepaid == [to_balance + 1, -to_balance - 1 - fee, -sum(charges.values()), sum(charges.values()), amount]
    assert ledger.effect_on_arrears(paid, "A") == -ledger.effect_on_arrears(returned, "A") == -to_arrears


@given(
    st.integers(0, 999_999_999),
    st.integers(0, 50_000_000),
    st.integers(0, 86_399),
    st.integers(1, 12 * 86_400),
    days_of_2026,
)
def test_days_sum_to_the_register(start_wh: int, used_wh: int, second: int, seconds: int, day: date):
    limits = Limits(modulo_wh=1_000_000_000)
    if start_wh + used_wh >= 1_000_000_000:
        start_wh = 999_999_999 - start_wh % 1_000_000  # a rollover begins near the last digit
    first_at = vee.day_bounds(day, CHICAGO)[0] + timedelta(seconds=second)
    before = RegisterRead(first_at, start_wh)
    after = RegisterRead(first_at + timedelta(seconds=seconds), (start_wh + used_wh) % 1_000_000_000)
    counts = [before.energy_wh]
    while (midnight := vee.day_bounds(day, CHICAGO)[1]) <= after.at:
        counts.append(vee.register_at(midnight, before, after, limits))
        day += timedelta(days=1)
    counts.append(after.energy_wh)
    days = [vee.register_delta(one, two, limits) for one, two in pairwise(counts)]
    assert sum(days) == used_wh
    assert all(energy >= 0 for energy in days)


@given(
    st.dictionaries(
        st.dates(date(2025, 1, 1), date(2025, 1, 20)) | st.dates(date(2026, 1, 1), date(2026, 1, 20)),
        st.builds(DayRecord, st.integers(0, 90_000), st.sampled_from(Quality)),
    ),
    st.dates(date(2026, 1, 1), date(2026, 1, 20)),
)
def test_estimates_rest_on_actual_days_alone(history: dict[date, DayRecord], day: date):
    found = vee.estimate(history, day)
    assert all(history[used].quality is not Quality.ESTIMATED for used in found.days_used)
    assert len(found.days_used) == {"three_prior_days": 3, "prior_year_five_reads": 5, "manual": 0}[found.method]
    without_estimates = {other: record for other, record in history.items() if record.quality is not Quality.ESTIMATED}
    assert vee.estimate(without_estimates, day) == found
    if found.method is vee.Method.THREE_PRIOR_DAYS:
        gap = [found.days_used[-1] + timedelta(days=ahead) for ahead in range(1, (day - found.days_used[-1]).days)]
        assert not any(between in without_estimates for between in gap)


fields = st.lists(st.none() | st.integers() | st.text(max_size=8), min_size=1, max_size=5).map(tuple)


@given(st.lists(fields, min_size=1, max_size=6), st.data())
def test_the_chain_notices_any_altered_field(entries: list[tuple[str | int | None, ...]], data: st.DataObject):
    rows = []
    previous = ledger.GENESIS_HASH
    for entry in entries:
        previous = ledger.entry_hash(previous, entry)
        rows.append((entry, previous))
    assert ledger.check_chain(rows) is None
    index = data.draw(st.integers(0, len(rows) - 1))
    altered = data.draw(fields.filter(lambda other: other != entries[index]))
    rows[index] = (altered, rows[index][1])
    assert ledger.check_chain(rows) == index
