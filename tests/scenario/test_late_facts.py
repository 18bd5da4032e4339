"""Facts that come late: the books of a closed month are the same in whatever order its facts arrive."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from edge.core.usage import DayQuality
from edge.meter_facts import take_customer_read, take_edit, take_exchange
from edge.refusals import RequestRefused
from edge.store import manual, usage
from edge.store.usage import ClosedDay, MeterExchange
from tests.scenario.gaps import Home, clock_time, midnight, steady

FIRST = date(2026, 10, 26)  # the clocks go back on 1 November, inside the gap
NAMES = ("read", "exchange", "customer", "edit")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


async def exchanged(home: Home, at_day: int, hour: int, final_wh: int, initial_wh: int = 0) -> None:
    exchange = MeterExchange(
        "M-1", clock_time(day(at_day), hour), "old", "new", final_wh, initial_wh, "broken", home.clock.now(), "tech"
    )
    await take_exchange(home.gateway, exchange)


def content(closed: list[ClosedDay]) -> list[tuple[object, ...]]:
    return [(one.day, one.use.energy_wh, one.use.by_period, one.use.quality, dict(one.charges)) for one in closed]


async def told_in_order(folder: Path, tariff: str, order: tuple[str, ...]) -> list[tuple[object, ...]]:
    """A gap from day 4 on; one fact an hour after all its days closed on estimates, in some order."""
    home = await Home(folder, FIRST, tariff).enrolled()
    await home.read(*steady(FIRST, 4, 24_000))
    assert await home.close(clock_time(day(10), 7)) == 0
    answers = home.read if order.index("exchange") < order.index("read") else home.refused
    facts: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: answers((midnight(day(10)) + timedelta(hours=2), 41_000)),
        "exchange": lambda: exchanged(home, 8, 13, 196_000 + 60_001),
        "customer": lambda: take_customer_read(home.gateway, "A-1", clock_time(day(5), 18), 196_000 + 9_999, "desk"),
        "edit": lambda: take_edit(home.gateway, "A-1", day(7), "final", 17_000, (), "a known outage", "clerk"),
    }
    for hour, name in enumerate(order):
        await facts[name]()
        await home.close(clock_time(day(10), 8 + hour))
    closed = await home.closed()
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)
    assert await home.balance() == 900_00 - sum(one.charge_cents for one in closed)
    home.store.close()
    return content(closed)


@pytest.mark.parametrize(("tariff", "every"), [("seasonal-tiers", 1), ("time-of-use", 5)])
async def test_the_order_of_arrival_changes_no_closed_month(tmp_path: Path, tariff: str, every: int) -> None:
    """The read of a new meter counts once the exchange is known; until then the old register refuses it."""
    found = [
        await told_in_order(tmp_path / "-".join(order), tariff, order) for order in [*permutations(NAMES)][::every]
    ]
    assert all(one == found[0] for one in found)
    by_day = {one[0]: one for one in found[0]}
    assert by_day[day(7)][1::2][:2] == (17_000, DayQuality.EDITED)
    assert by_day[day(6)][3] == DayQuality.INTERPOLATED


async def test_reads_that_the_old_register_refused_count_once_the_exchange_is_told(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 4, 24_000))
    refused = [(clock_time(day(4), 12), 1_000), (midnight(day(5)), 7_000), (midnight(day(6)), 19_000)]
    await home.refused(*refused)
    assert await home.close(clock_time(day(6), 7)) == 0
    assert [one.use.quality for one in (await home.closed())[4:]] == [DayQuality.ESTIMATED] * 2
    await exchanged(home, 4, 10, 196_000 + 10_000)
    closed = await home.closed()
    assert [(one.energy_wh, one.use.quality) for one in closed[4:]] == [
        (17_000, DayQuality.ACTUAL),
        (12_000, DayQuality.ACTUAL),
    ]
    last = await home.store.read(lambda database: usage.last_register(database, "M-1"))
    assert last is not None
    assert last.energy_wh == 19_000


@pytest.mark.parametrize("hour", [0, 12])
async def test_an_exchange_in_time_costs_nothing_and_loses_nothing(tmp_path: Path, hour: int) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 2, 24_000))
    home.clock.instant = clock_time(day(2), 13)
    await exchanged(home, 2, hour, 148_000 + 1_000 * hour, 500)
    await home.read((midnight(day(3)), 500 + 24_000 - 1_000 * hour))
    assert await home.close(clock_time(day(3), 1)) == 0
    closed = await home.closed()
    assert [one.energy_wh for one in closed] == [12_000, 24_000, 24_000]
    assert closed[2].end_register_wh == 500 + 24_000 - 1_000 * hour
    assert closed[2].start_register_wh == (148_000 if hour else 500)


async def test_a_person_ends_the_wait_of_a_day_that_no_rule_may_estimate(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 2, 24_000))
    assert await home.close(clock_time(day(3), 7)) == 1
    (listed,) = await home.store.read(manual.queue)
    assert (listed.day, listed.why) == (day(2), "no_history")
    await take_edit(home.gateway, "A-1", day(2), "estimate", 20_000, (), "as the neighbours", "clerk")
    assert await home.close(clock_time(day(3), 8)) == 0
    assert await home.store.read(manual.queue) == []
    (closed,) = await home.closed(day(2))
    assert (closed.energy_wh, closed.use.quality, closed.use.method) == (20_000, DayQuality.ESTIMATED, "manual")
    assert closed.use.reason == "clerk: as the neighbours"
    await home.read((midnight(day(3)) + timedelta(hours=9), 148_000 + 33_000))
    await home.close(clock_time(day(3), 10))
    (closed,) = await home.closed(day(2))
    assert (closed.energy_wh, closed.use.quality) == (24_000, DayQuality.INTERPOLATED)


async def test_a_customers_read_ends_a_gap_and_yields_to_the_meters_own(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 4, 24_000))
    assert await home.close(clock_time(day(5), 7)) == 0
    correction = await take_customer_read(home.gateway, "A-1", midnight(day(5)), 196_000 + 20_000, "desk")
    assert correction is not None
    assert (correction.days, correction.energy_wh) == (1, -4_000)
    (closed,) = await home.closed(day(4))
    assert (closed.energy_wh, closed.use.quality) == (20_000, DayQuality.CUSTOMER)
    await home.read((midnight(day(6)), 196_000 + 10_000))
    assert await home.close(clock_time(day(6), 1)) == 0
    await take_edit(home.gateway, "A-1", day(4), "final", 1, (), "to be found again", "clerk")
    await take_edit(home.gateway, "A-1", day(4), "withdrawn", 0, (), "a mistake", "clerk")
    assert [one.energy_wh for one in await home.closed(day(4))] == [5_000, 5_000]


async def test_facts_that_cannot_be_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 4, 24_000))
    assert await home.close(clock_time(day(4), 1)) == 0
    before = content(await home.closed())
    attempts: dict[str, Awaitable[object]] = {
        "does not follow": take_customer_read(home.gateway, "A-1", clock_time(day(2), 1), 1, "desk"),
        "is not followed by": take_customer_read(home.gateway, "A-1", clock_time(day(2), 23), 173_000, "desk"),
        "is still to come": take_customer_read(home.gateway, "A-1", clock_time(day(4), 2), 197_000, "desk"),
        "before the account was enrolled": take_customer_read(home.gateway, "A-1", midnight(FIRST), 1, "desk"),
        "there is no account": take_edit(home.gateway, "A-9", day(1), "final", 1, (), "so", "clerk"),
        "is not over yet": take_edit(home.gateway, "A-1", day(4), "final", 1, (), "so", "clerk"),
        "a reason": take_edit(home.gateway, "A-1", day(1), "final", 1, (), " ", "clerk"),
        "no edit to withdraw": take_edit(home.gateway, "A-1", day(1), "withdrawn", 0, (), "so", "clerk"),
        "does not sum": take_edit(home.gateway, "A-1", day(1), "final", 1, (("on_peak", 2),), "so", "clerk"),
        "not rest on an estimate": take_edit(home.gateway, "A-1", FIRST, "estimate", 1, (), "so", "clerk"),
        "Wh does not follow": exchanged(home, 3, 12, 100_000),
    }
    for said, attempt in attempts.items():
        with pytest.raises(RequestRefused, match=said):
            await attempt
    assert content(await home.closed()) == before
    assert await home.events("meter_exchanged", "customer_read", "day_edited", "days_trued_up") == []
