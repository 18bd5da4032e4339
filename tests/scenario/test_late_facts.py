"""Facts that come late: the books of a closed month are the same in whatever order its facts arrive."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from edge.core.usage import DayQuality
from edge.metering import EditRequest, ExchangeRequest, edit_day, exchange_meter, report_read
from edge.refusals import RequestRefused
from edge.store import registers
from edge.store.usage import ClosedDay, Standing
from tests.scenario.gaps import Home, clock_time, midnight, steady

FIRST = date(2026, 10, 26)  # the clocks go back on 1 November, inside the gap
NAMES = ("read", "exchange", "customer", "edit")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


async def exchanged(home: Home, at_day: int, hour: int, final_wh: int, initial_wh: int = 0) -> None:
    wanted = ExchangeRequest("M-1", "new", final_wh, initial_wh, "broken", clock_time(day(at_day), hour))
    await exchange_meter(home.gateway, wanted, "tech")


async def edited(home: Home, number: int, energy_wh: int, standing: Standing) -> None:
    await edit_day(home.gateway, EditRequest("A-1", day(number), energy_wh, "a known outage", standing), "clerk")


def content(closed: list[ClosedDay]) -> list[tuple[object, ...]]:
    return [(one.day, one.use.energy_wh, one.use.by_period, one.use.quality, dict(one.charges)) for one in closed]


async def told_in_order(folder: Path, tariff: str, order: tuple[str, ...]) -> list[tuple[object, ...]]:
    """A gap from day 4 on; one fact an hour after all its days closed on estimates, in some order."""
    home = await Home(folder, FIRST, tariff).enrolled()
    await home.read(*steady(FIRST, 4, 24_000))
    assert await home.close(clock_time(day(10), 7)) == 0
    answers = home.read if order.index("exchange") < order.index("read") else home.refused_as_backwards
    facts: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: answers((midnight(day(10)) + timedelta(hours=2), 41_000)),
        "exchange": lambda: exchanged(home, 8, 13, 196_000 + 60_001),
        "customer": lambda: report_read(home.gateway, "A-1", 196_000 + 9_999, clock_time(day(5), 18), "desk"),
        "edit": lambda: edited(home, 7, 17_000, "final"),
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
    await home.refused_as_backwards(*refused)
    assert await home.close(clock_time(day(6), 7)) == 0
    assert [one.use.quality for one in (await home.closed())[4:]] == [DayQuality.ESTIMATED] * 2
    await exchanged(home, 4, 10, 196_000 + 10_000)
    closed = await home.closed()
    assert [(one.energy_wh, one.use.quality) for one in closed[4:]] == [
        (17_000, DayQuality.ACTUAL),
        (12_000, DayQuality.ACTUAL),
    ]
    last = await home.store.read(lambda database: registers.last_register(database, "M-1"))
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


async def test_a_customers_read_ends_a_gap_and_yields_to_the_meters_own(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 4, 24_000))
    assert await home.close(clock_time(day(5), 7)) == 0
    told = await report_read(home.gateway, "A-1", 196_000 + 20_000, midnight(day(5)), "desk")
    assert [(one["days"], one["energy_wh"]) for one in told["corrections"]] == [(1, -4_000)]
    with pytest.raises(RequestRefused, match="is known for"):
        await report_read(home.gateway, "A-1", 196_000 + 20_000, midnight(day(5)), "desk")
    (closed,) = await home.closed(day(4))
    assert (closed.energy_wh, closed.use.quality) == (20_000, DayQuality.CUSTOMER)
    await home.read((midnight(day(6)), 196_000 + 10_000))
    assert await home.close(clock_time(day(6), 1)) == 0
    assert [one.energy_wh for one in await home.closed(day(4))] == [5_000, 5_000]


async def test_an_initial_bill_rests_on_no_estimate_of_a_person_either(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    assert await home.close(clock_time(day(1), 7)) == 1
    with pytest.raises(RequestRefused, match="R62"):
        await edited(home, 0, 9_000, "estimate")
    await edited(home, 0, 9_000, "final")
    assert await home.close(clock_time(day(1), 8)) == 0
    (closed,) = await home.closed()
    assert (closed.energy_wh, closed.use.quality) == (9_000, DayQuality.EDITED)


async def test_a_fact_of_days_whose_reads_are_gone_is_refused(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 70, 24_000))
    assert await home.close(clock_time(day(70), 1)) == 0
    with pytest.raises(RequestRefused, match="older than the 62 days"):
        await report_read(home.gateway, "A-1", 124_500, clock_time(day(1), 1), "desk")
    with pytest.raises(RequestRefused, match="older than the 62 days"):
        await exchanged(home, 1, 1, 124_500)


async def test_what_a_person_takes_back_before_any_read_is_an_estimate_again(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 5, 24_000))
    assert await home.close(clock_time(day(6), 7)) == 0
    await edited(home, 5, 3_000, "final")
    (closed,) = await home.closed(day(5))
    assert (closed.energy_wh, closed.use.quality) == (3_000, DayQuality.EDITED)
    await edited(home, 5, 0, "withdrawn")
    (closed,) = await home.closed(day(5))
    assert (closed.energy_wh, closed.use.quality) == (24_000, DayQuality.ESTIMATED)
    assert closed.use.days_used == (day(2), day(3), day(4))
    await edited(home, 0, 3_000, "final")
    assert await home.close(clock_time(day(6), 8)) == 0
    closed_days = await home.closed()
    assert sum(one.charge_cents for one in closed_days) == await home.bill_of(closed_days)
