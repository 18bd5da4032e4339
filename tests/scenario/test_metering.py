"""Meter exchanges, reads that customers report, edited days: recorded with who and why, and the books follow."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from edge.core.usage import DayQuality
from edge.metering import EditRequest, ExchangeRequest, edit_day, exchange_meter, report_read, serial_in_force
from edge.refusals import NotThere, RequestRefused
from edge.store import fleet, manual, records, usage
from edge.usage_views import days_view, queue_view
from tests.scenario.gaps import Home, clock_time, midnight, steady

FIRST = date(2026, 4, 20)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


async def a_home_that_was_read(folder: Path, days: int, tariff: str = "flat") -> Home:
    """Enrolled at noon of FIRST, 24 kWh a day, read at every midnight up to that of ``days``."""
    home = await Home(folder, FIRST, tariff).enrolled()
    await home.read(*steady(FIRST, days, 24_000))
    for number in range(1, days + 1):
        assert await home.close(clock_time(day(number), 1)) == 0
    return home


def exchange(final_wh: int, initial_wh: int, serial: str = "N-2", **more: object) -> ExchangeRequest:
    return ExchangeRequest("M-1", serial, final_wh, initial_wh, "display dark", **more)  # type: ignore[arg-type]


async def last_register_wh(home: Home) -> int:
    read = await home.store.read(lambda database: fleet.last_read(database, "M-1", accepted_only=True))
    assert read is not None
    return read.energy_wh


async def test_an_exchanged_meter_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    register = await last_register_wh(home)
    home.clock.instant = clock_time(day(5), 10)
    told = await exchange_meter(home.gateway, exchange(register + 10_000, 7), "uid 0")
    assert (told["new_serial"], told["by"]) == ("N-2", "uid 0")
    await home.read((midnight(day(6)), 7 + 14_000))
    assert await home.close(clock_time(day(6), 1)) == 0
    last = (await home.closed())[-1]
    assert (last.day, last.energy_wh) == (day(5), 24_000)
    assert (last.use.start_register_wh, last.use.end_register_wh) == (register, 14_007)
    assert await home.store.read(lambda database: serial_in_force(database, home.gateway, "M-1")) == "N-2"
    assert [event["final_register_wh"] for event in await home.events("meter_exchanged")] == [register + 10_000]


async def test_an_exchange_that_is_recorded_late_sets_the_books_right(tmp_path: Path) -> None:
    """The new meter's reads were refused as running backwards; the day was estimated; then the form arrives."""
    home = await a_home_that_was_read(tmp_path, 5)
    register = await last_register_wh(home)
    await home.read_refused((midnight(day(6)), 14_007), flags=("backwards",))
    assert await home.close(clock_time(day(6), 7)) == 0
    assert (await home.closed())[-1].use.quality is DayQuality.ESTIMATED
    home.clock.instant = clock_time(day(6), 9)
    told = await exchange_meter(home.gateway, exchange(register + 3_000, 7, at=clock_time(day(5), 10)), "uid 0")
    assert told["corrections"][0]["energy_wh"] == 17_000 - 24_000
    last = (await home.closed())[-1]
    assert (last.energy_wh, last.estimated, last.revision) == (17_000, False, 2)
    assert await home.close(clock_time(day(6), 10)) == 0


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        (lambda register: exchange(register - 1, 0), "does not follow the last read"),
        (lambda register: exchange(register + 900_000, 0), "does not follow the last read"),
        (lambda register: exchange(register, -1), "is not one that meter M-1 can show"),
        (lambda register: exchange(register, 0, at=clock_time(day(9), 1)), "later than the gateway's clock"),
    ],
)
async def test_an_impossible_exchange_is_refused(tmp_path: Path, request_of: object, words: str) -> None:
    home = await a_home_that_was_read(tmp_path, 2)
    home.clock.instant = clock_time(day(2), 10)
    register = await last_register_wh(home)
    with pytest.raises(RequestRefused, match=words):
        await exchange_meter(home.gateway, request_of(register), "uid 0")  # type: ignore[operator]
    assert await home.store.read(lambda database: usage.exchanges(database, "M-1")) == []


async def test_the_same_exchange_is_not_recorded_twice(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 2)
    home.clock.instant = clock_time(day(2), 10)
    register = await last_register_wh(home)
    await exchange_meter(home.gateway, exchange(register, 0), "uid 0")
    with pytest.raises(RequestRefused, match="already has the serial number N-2"):
        await exchange_meter(home.gateway, exchange(register, 0), "uid 0")
    with pytest.raises(NotThere):
        await exchange_meter(home.gateway, ExchangeRequest("M-9", "N", 0, 0, ""), "uid 0")


async def test_a_meter_that_comes_from_the_store_disconnected_is_ours_to_close(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 2)
    home.clock.instant = clock_time(day(2), 10)
    await exchange_meter(home.gateway, exchange(await last_register_wh(home), 0), "uid 0")
    (order,) = await home.store.read(fleet.live_orders)
    assert (order.action, order.state) == ("reconnect", "wanted")


async def test_what_a_customer_reads_ends_an_estimate_but_lets_nobody_be_cut(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    register = await last_register_wh(home)
    assert await home.close(clock_time(day(7), 7)) == 0
    home.clock.instant = clock_time(day(7), 8)
    told = await report_read(home.gateway, "A-1", register + 20_000, midnight(day(7)), "uid 0")
    assert told["corrections"][0]["energy_wh"] == 20_000 - 48_000
    closed = await home.closed(day(5))
    assert [one.energy_wh for one in closed] == [10_000, 10_000]
    assert closed[-1].use.quality in (DayQuality.CUSTOMER, DayQuality.INTERPOLATED)
    facts = await home.store.write(lambda d: home.gateway.rule(d, "A-1", home.gateway.circumstances()).facts)
    assert facts.last_actual_read_at == midnight(day(5))


async def test_what_a_customer_reads_must_fit_the_gateways_own_reads(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    home.clock.instant = clock_time(day(5), 8)
    register = await last_register_wh(home)
    for wrong in (register - 1, register + 10_000_000):
        with pytest.raises(RequestRefused, match="does not fit the gateway's own read"):
            await report_read(home.gateway, "A-1", wrong, clock_time(day(5), 7), "uid 0")
    with pytest.raises(RequestRefused, match="before account A-1 was enrolled"):
        await report_read(home.gateway, "A-1", register, clock_time(day(-1), 7), "uid 0")


async def test_a_person_ends_the_manual_queue_and_a_read_corrects_the_person(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 2)
    register = await last_register_wh(home)
    assert await home.close(clock_time(day(4), 7)) == 1
    settings = home.gateway.settings
    (listed,) = await home.store.read(lambda database: queue_view(database, settings))
    assert (listed["account_id"], listed["day"], listed["why"]) == ("A-1", day(2).isoformat(), "no_history")
    for number in (2, 3):
        await edit_day(home.gateway, EditRequest("A-1", day(number), 30_000, "like the neighbour"), "uid 7")
    assert await home.close(clock_time(day(4), 8)) == 0
    assert await home.store.read(manual.queue) == []
    view = (await home.store.read(lambda database: days_view(database, "A-1", "2026-04", settings)))[-1]
    assert (view["kwh"], view["estimated"], view["reason"]) == ("30.000", True, "uid 7: like the neighbour")
    await home.read((midnight(day(4)), register + 40_000))
    assert await home.close(clock_time(day(4), 9)) == 0
    assert [one.energy_wh for one in await home.closed(day(2))] == [20_000, 20_000]


async def test_a_final_edit_stands_until_it_is_withdrawn(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 4)
    home.clock.instant = clock_time(day(4), 9)
    told = await edit_day(home.gateway, EditRequest("A-1", day(3), 1_000, "the neighbour's line"), "uid 7")
    assert told["standing"] == "final"
    assert [one.energy_wh for one in await home.closed(day(3))] == [1_000]
    await edit_day(home.gateway, EditRequest("A-1", day(3), 0, "it was not", "withdrawn"), "uid 7")
    assert [one.energy_wh for one in await home.closed(day(3))] == [24_000]
    assert await home.close(clock_time(day(4), 10)) == 0
    told_events = await home.store.read(lambda database: records.last_events(database, 100))
    assert [kind for _, kind, _ in told_events].count("day_edited") == 2


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (EditRequest("A-1", day(9), 0, "x"), "is not a past day of account A-1"),
        (EditRequest("A-1", day(1), 10**9, "x"), "more than the service can carry"),
        (EditRequest("A-1", day(1), 0, "x", "withdrawn"), "no edit of 2026-04-21 stands"),
    ],
)
async def test_an_impossible_edit_is_refused(tmp_path: Path, request_: EditRequest, words: str) -> None:
    home = await a_home_that_was_read(tmp_path, 2)
    home.clock.instant = clock_time(day(2), 9)
    with pytest.raises(RequestRefused, match=words):
        await edit_day(home.gateway, request_, "uid 7")
