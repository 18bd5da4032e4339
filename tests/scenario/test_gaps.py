"""Silent meters: estimates where the rules allow them, true-up when the read comes, and what is never estimated."""

from datetime import date, timedelta
from pathlib import Path

from edge.core.usage import DayQuality
from edge.leaving import unenroll
from edge.store import manual, many, usage
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


async def test_a_day_without_a_read_waits_until_six_and_is_then_estimated(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    assert await home.close(clock_time(day(6), 5, 59)) == 1
    assert await home.close(clock_time(day(6), 6)) == 0
    last = (await home.closed())[-1]
    assert (last.day, last.energy_wh, last.use.quality) == (day(5), 24_000, DayQuality.ESTIMATED)
    assert (last.use.method, last.use.days_used) == ("three_prior_days", (day(2), day(3), day(4)))
    assert "the last read is of 2026-04-25T00:00" in last.use.reason
    assert await home.store.read(lambda database: many.resting_on_estimates(database, ["A-1"]))
    (event,) = await home.events("day_estimated")
    assert (event["day"], event["energy_wh"], event["method"]) == (day(5).isoformat(), 24_000, "three_prior_days")
    decision = await home.store.write(lambda d: home.gateway.rule(d, "A-1", home.gateway.circumstances()).facts)
    assert decision.balance_rests_on_estimates is True


async def test_estimates_are_trued_up_when_the_meter_answers_across_a_months_end(tmp_path: Path) -> None:
    """24 kWh a day are estimated, 12 are used: the customer gets the difference back, each month its bill."""
    home = await a_home_that_was_read(tmp_path, 6, "seasonal-tiers")
    for number in range(7, 16):
        assert await home.close(clock_time(day(number), 7)) == 0
    estimated = await home.closed(day(6))
    assert [one.use.quality for one in estimated] == [DayQuality.ESTIMATED] * 9
    before = await home.balance()
    await home.read((midnight(day(15)) + timedelta(hours=9), 100_000 + 6 * 24_000 + 9 * 12_000 + 4_500))
    assert await home.close(clock_time(day(15), 10)) == 0
    closed = await home.closed()
    assert [one.energy_wh for one in closed[6:]] == [12_000] * 9
    assert {one.use.quality for one in closed[6:]} == {DayQuality.INTERPOLATED}
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)
    assert not await home.store.read(lambda database: many.resting_on_estimates(database, ["A-1"]))
    (event,) = await home.events("days_trued_up")
    assert (event["days"], event["energy_wh"]) == (9, -9 * 12_000)
    assert await home.balance() - before == sum(one.charge_cents for one in estimated) - sum(
        one.charge_cents for one in closed[6:]
    )
    revisions = await home.store.read(lambda database: usage.revisions(database, "A-1", day(6)))
    assert [one.revision for one in revisions] == [1, 2]


async def test_the_first_day_is_never_estimated(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    assert await home.close(clock_time(day(3), 12)) == 1
    assert await home.closed() == []
    (listed,) = await home.store.read(manual.queue)
    assert (listed.account_id, listed.day, listed.why) == ("A-1", FIRST, "first_day")
    await home.read((clock_time(day(3), 13), 5_000))
    assert await home.close(clock_time(day(3), 14)) == 0
    assert [one.energy_wh for one in await home.closed()] == [0, 0, 0]
    assert await home.store.read(manual.queue) == []


async def test_the_last_day_waits_for_an_actual_read_and_then_all_is_trued_up(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    home.clock.instant = clock_time(day(7), 12)
    await unenroll(home.gateway, "A-1", "moved", "test")
    assert await home.close(clock_time(day(9), 12)) == 1
    closed = await home.closed()
    assert [one.use.quality for one in closed[5:]] == [DayQuality.ESTIMATED] * 2
    await home.read((midnight(day(10)), 100_000 + 5 * 24_000 + 5 * 10_000))
    assert await home.close(clock_time(day(10), 1)) == 0
    closed = await home.closed()
    assert [(one.day, one.energy_wh) for one in closed[5:]] == [(day(5), 10_000), (day(6), 10_000), (day(7), 10_000)]
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)


async def test_after_three_billing_periods_estimates_end_and_the_head_end_is_told_once(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    assert await home.close(clock_time(day(108), 7)) == 0
    assert await home.close(clock_time(day(112), 7)) == 1
    assert await home.close(clock_time(day(113), 7)) == 1
    assert (await home.closed())[-1].day == day(4) + timedelta(days=105)
    (event,) = await home.events("estimation_ended")
    assert "R62, R63" in event["reason"]
    await home.read((midnight(day(113)), 100_000 + 5 * 24_000 + 108 * 20_000))
    assert await home.close(clock_time(day(113), 8)) == 0
    closed = await home.closed()
    assert sum(one.energy_wh for one in closed) == 12_000 + 4 * 24_000 + 108 * 20_000
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)
    assert max(one.energy_wh for one in closed[5:]) <= 20_001


async def test_days_after_a_true_up_are_charged_on_the_corrected_month(tmp_path: Path) -> None:
    """What was kept of the bill rests on the estimates, so a correction throws it away."""
    home = await a_home_that_was_read(tmp_path, 5, "seasonal-tiers")
    for number in range(6, 8):
        assert await home.close(clock_time(day(number), 7)) == 0
    register_wh = 100_000 + 5 * 24_000 + 4 * 12_000
    await home.read((midnight(day(9)), register_wh), (midnight(day(10)), register_wh + 12_000))
    assert await home.close(clock_time(day(10), 1)) == 0
    closed = await home.closed()
    assert [one.energy_wh for one in closed[5:]] == [12_000] * 5
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)
