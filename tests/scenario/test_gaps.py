"""Silent meters: estimates where the rules allow them, true-up when the read comes, and what is never estimated."""

import sqlite3
from datetime import date, timedelta
from pathlib import Path

from edge.core.usage import DayQuality
from edge.leaving import unenroll
from edge.store import fleet, manual, many, past, usage
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


async def test_a_gap_longer_than_reads_are_kept_is_trued_up_from_its_very_beginning(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    for number in range(20, 90, 10):
        assert await home.close(clock_time(day(number), 7)) == 0
        kept_from = home.clock.now() - timedelta(days=62)
        await home.store.write(lambda database, kept_from=kept_from: fleet.prune_reads(database, kept_from))  # type: ignore[misc]
    await home.read((midnight(day(85)), 100_000 + 5 * 24_000 + 80 * 10_000))
    assert await home.close(clock_time(day(85), 8)) == 0
    closed = await home.closed(day(5))
    assert [one.energy_wh for one in closed] == [10_000] * 80
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)


async def test_a_second_gap_rests_on_measured_days_those_of_the_first_among_them(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    assert await home.close(clock_time(day(7), 7)) == 0
    await home.read((midnight(day(8)), 100_000 + 5 * 24_000 + 3 * 6_000))
    assert await home.close(clock_time(day(9), 7)) == 0
    closed = await home.closed(day(5))
    assert [(one.energy_wh, one.estimated) for one in closed] == [(6_000, False)] * 3 + [(6_000, True)]
    assert closed[-1].use.days_used == (day(5), day(6), day(7))


async def test_who_enrols_while_the_meter_is_silent_pays_from_that_hour_on(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read((midnight(day(-1)), 0), (midnight(day(3)), 96_000))
    assert await home.close(clock_time(day(3), 1)) == 0
    assert [one.energy_wh for one in await home.closed()] == [12_000, 24_000, 24_000]


async def test_an_estimate_by_the_hour_is_like_the_days_of_its_kind(tmp_path: Path) -> None:
    """Prior days are a Thursday, a Friday and a Saturday; only the Saturday is like the Sunday to be estimated."""
    home = await Home(tmp_path, FIRST, "time-of-use").enrolled()  # a Monday
    register, reads = 0, []
    for number in range(6):
        for hour in range(24):
            reads.append((midnight(day(number)) + timedelta(hours=hour), register))
            register += 2_000 if number < 5 and 14 <= hour < 19 else 500
    await home.read(*reads, (midnight(day(6)), register))
    assert await home.close(clock_time(day(7), 6)) == 0
    closed = await home.closed(day(3))
    assert [one.use.quality for one in closed] == [DayQuality.ACTUAL] * 3 + [DayQuality.ESTIMATED]
    sunday = closed[-1].use
    assert sunday.days_used == (day(3), day(4), day(5))
    assert sunday.energy_wh == (2 * (5 * 2_000 + 19 * 500) + 24 * 500) // 3
    assert sum(part for _, part in sunday.by_period) == sunday.energy_wh
    assert {name for name, _ in sunday.by_period} == {name for name, _ in closed[-2].by_period}
    await home.read((midnight(day(7)) + timedelta(hours=7), register + 31 * 700))
    await home.close(clock_time(day(7), 8))
    closed = await home.closed()
    assert closed[-1].energy_wh == 24 * 700
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)


async def test_the_past_is_seen_with_its_estimates_and_with_the_efforts_to_read(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    silent_since = clock_time(day(5), 3)
    await home.store.write(lambda d: fleet.save_links(d, [("M-1", "failing", silent_since, "no answer in 1 s")]))
    home.gateway.polls_missed["M-1"] = 14
    assert await home.close(clock_time(day(6), 7)) == 0
    (estimated,) = await home.closed(day(5))
    assert "no answer since 2026-04-25T03:00-05:00, 14 polls tried in vain (no answer in 1 s)" in estimated.use.reason
    await home.read((clock_time(day(6), 9), 100_000 + 5 * 24_000 + 33_000))
    await home.close(clock_time(day(6), 10))

    def rested_on_estimates(database: sqlite3.Connection) -> list[bool]:
        found = []
        for hour in (6, 8, 11):
            with past.as_of(database, clock_time(day(6), hour)):
                found.append(bool(many.resting_on_estimates(database, ["A-1"])))
        return found

    assert await home.store.read(rested_on_estimates) == [False, True, False]


async def test_a_day_whose_charges_stay_gets_a_revision_and_no_posting(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    assert await home.close(clock_time(day(6), 7)) == 0
    before = await home.balance()
    await home.read((midnight(day(6)) + timedelta(hours=8), 100_000 + 6 * 24_000 + 8_000))
    await home.close(clock_time(day(6), 9))
    first, second = await home.store.read(lambda database: usage.revisions(database, "A-1", day(5)))
    assert (first.energy_wh, first.charges) == (second.energy_wh, second.charges)
    assert (second.transaction_id, await home.balance()) == (first.transaction_id, before)
    assert not await home.store.read(lambda database: bool(many.resting_on_estimates(database, ["A-1"])))


async def test_a_correction_names_what_it_corrects_and_falls_on_today(tmp_path: Path) -> None:
    home = await a_home_that_was_read(tmp_path, 5)
    assert await home.close(clock_time(day(6), 7)) == 0
    await home.read((midnight(day(6)) + timedelta(hours=8), 100_000 + 5 * 24_000 + 64_000))
    await home.close(clock_time(day(6), 9))
    first, second = await home.store.read(lambda database: usage.revisions(database, "A-1", day(5)))
    row = await home.store.read(
        lambda database: database.execute(
            "SELECT kind, ref, day, reverses, estimated FROM ledger_transaction WHERE transaction_id = ?",
            (second.transaction_id,),
        ).fetchone()
    )
    ref = f"correction:A-1:{day(5)}:2"
    assert row == ("adjustment", ref, day(6).isoformat(), first.transaction_id, 0)
