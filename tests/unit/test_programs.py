"""Programs from files: what ships, what is inherited and overridden, and a sentence for every fault."""

from collections.abc import Iterator
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.core.arrears import split_payment
from edge.core.programs import Threshold
from edge.programs import ProgramError, find_program, known_names, load_programs
from edge.settings import packaged_config

FOLDER = packaged_config() / "programs"
LONG, SHORT = (time(8), time(14, 30)), (time(8), time(12))


def shipped(name: str, overrides: dict[str, Any] | None = None) -> Any:
    return find_program(name, overrides or {})[0]


def test_the_programs_that_ship() -> None:
    assert set(load_programs(FOLDER)) == {
        *("default", "oge-pay-as-you-go", "pso-prepay", "oec-prepaid", "lake-region", "strict", "missouri"),
    }
    assert known_names([FOLDER]) == sorted(load_programs(FOLDER))


def test_the_default_program_is_the_contracts() -> None:
    program = shipped("default")
    assert program.windows == (LONG, LONG, LONG, LONG, SHORT, None, None)
    assert (program.trip, program.grace, program.grace_hours) == ("negative", "later", 24)
    assert (program.guard_seconds, program.day_before_holiday) == (0, "normal")
    assert (program.max_read_age_hours, program.max_payment_feed_age_minutes) == (24, 15)
    assert program.notice_after_moratorium is False
    assert (program.reconnect_from_cents, program.reconnect_payments_cents) == (1, 0)
    assert (program.arrears_share_ppm, program.arrears_first, program.max_carried_arrears_cents) == (
        300_000,
        True,
        50_000,
    )
    assert program.cold.below == Threshold(3200, inclusive=False)
    assert (program.cold.horizon_hours, program.cold.season, program.cold.night_low) == (24, None, None)
    assert program.heat.index == Threshold(10_100, inclusive=True)
    assert (program.heat.horizon_hours, program.heat.season, program.heat.temperature) == (None, None, None)
    assert program.heat.alerts == ()
    assert program.customer_classes == ("residential",)
    assert (program.max_past_due_cents, program.minimum_activation_cents) == (50_000, 2500)
    assert (program.max_participants, program.account_current, program.rate_halves) == (None, False, False)
    assert (program.notice_days_left, program.grace_from) == ((3, 1), "sent")


def test_what_the_other_programs_do_differently() -> None:
    afternoon = (time(8), time(15, 30))
    assert shipped("pso-prepay").windows == (afternoon, afternoon, afternoon, afternoon, SHORT, None, None)
    assert shipped("oge-pay-as-you-go").reconnect_payments_cents == 2500
    assert (shipped("oge-pay-as-you-go").max_participants, shipped("oge-pay-as-you-go").rate_halves) == (660, True)
    assert shipped("oec-prepaid").reconnect_from_cents == 1000
    lake = shipped("lake-region")
    assert (lake.arrears_share_ppm, lake.max_carried_arrears_cents, lake.account_current) == (0, 0, True)
    strict = shipped("strict")
    assert (strict.guard_seconds, strict.day_before_holiday, strict.notice_after_moratorium) == (120, "block", True)
    assert (strict.notice_days_left, strict.grace_from) == ((7, 3, 1), "delivered")
    assert strict.cold.below == Threshold(3200, inclusive=True)
    assert strict.cold.night_low == Threshold(2000, inclusive=True)
    assert strict.heat.temperature == Threshold(9500, inclusive=False)
    assert (strict.cold.horizon_hours, strict.heat.horizon_hours, strict.heat.alerts) == (72, 72, ("heat",))
    missouri = shipped("missouri")
    assert missouri.cold.season == ((11, 1), (3, 31))
    assert missouri.heat.season == ((6, 1), (9, 30))
    assert missouri.heat.index == Threshold(10_500, inclusive=False)
    assert (missouri.cold.horizon_hours, missouri.heat.horizon_hours) == (72, 72)


def test_a_threshold_tells_its_source_and_since_when_it_holds() -> None:
    assert shipped("missouri").sources["weather_cold"] == "RSMo 393.109; R29 (in force since 2025-08-28)"
    assert shipped("strict").sources["guard"].endswith("(in force since 2026-01-01)")
    assert shipped("strict").sources["outside_window"] == shipped("default").sources["outside_window"]
    assert shipped("default").sources["outside_window"].endswith("(in force since 2011-06-22)")
    assert (
        shipped("pso-prepay")
        .sources["outside_window"]
        .endswith("3:30, Fri 8:00 to noon; R2 (in force since 2011-05-23)")
    )


@pytest.mark.parametrize(
    ("name", "day", "told"),
    [
        ("default", date(2026, 7, 3), "Independence Day (observed)"),
        ("default", date(2026, 7, 4), "Independence Day"),
        ("default", date(2026, 10, 12), "Columbus Day"),
        ("default", date(2026, 11, 27), "Day After Thanksgiving"),
        ("default", date(2027, 12, 31), "New Year's Day (observed)"),
        ("default", date(2026, 5, 8), None),
        ("missouri", date(2026, 5, 8), "Truman Day"),
        ("missouri", date(2026, 11, 27), None),
        ("missouri", date(2026, 7, 6), None),
    ],
)
def test_holidays_are_federal_and_state_actual_and_observed(name: str, day: date, told: str | None) -> None:
    _, holiday = find_program(name, {})
    assert holiday(day) == told


def test_the_utilitys_own_days() -> None:
    own = {"holidays.own": ["2026-12-24 Christmas Eve", "2026-12-28"], "holidays.half_days": ["2026-12-23 12:00"]}
    program, holiday = find_program("default", own)
    assert holiday(date(2026, 12, 24)) == "Christmas Eve"
    assert holiday(date(2026, 12, 28)) == "holiday of the utility"
    assert holiday(date(2026, 12, 25)) == "Christmas Day"
    assert holiday(date(2026, 12, 24) + timedelta(days=5)) is None
    assert program.half_days == {date(2026, 12, 23): time(12)}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("disconnect.tripp", "zero", "disconnect.tripp - is not a known key"),
        ("disconect.trip", "zero", "set - 'disconect.trip' is not a key of a program"),
        ("trip", "zero", "trip - is not a known key"),
        ("base", "strict", "set - 'base' is not a key of a program"),
        ("disconnect.trip.deep", 1, "set - 'disconnect.trip.deep' is not a key of a program"),
        ("disconnect.trip", "never", "disconnect.trip - Input should be 'negative' or 'zero'"),
        ("disconnect.trip", None, "disconnect.trip - "),
        ("disconnect.guard_seconds", -1, "disconnect.guard_seconds - "),
        ("disconnect.guard_seconds", 10**12, "disconnect.guard_seconds - "),
        ("disconnect.guard_seconds", "120", "disconnect.guard_seconds - "),
        ("disconnect.guard_seconds", True, "disconnect.guard_seconds - "),
        ("disconnect.grace_hours", 10**9, "disconnect.grace_hours - "),
        ("disconnect.windows", "Mon 14:00-08:00", "'Mon 14:00-08:00' ends before it starts"),
        ("disconnect.windows", "Monday 08:00-09:00", "is not a window such as"),
        ("disconnect.windows", "Mon 08:00-25:00", "'25:00' is not a time of day such as 08:00"),
        ("disconnect.windows", "Mon 08:00-09:00, Mon 10:00-11:00", "mon has two windows"),
        ("disconnect.windows", "Xyz 08:00-09:00", "'Xyz' is not a weekday such as Mon"),
        ("disconnect.windows", 8, "must be text such as"),
        ("arrears.share", 1.01, "arrears.share - "),
        ("arrears.share", "a third", "arrears.share - 'a third' is not a number"),
        ("arrears.share", float("nan"), "arrears.share - "),
        ("reconnect.balance_above", 0, "reconnect.balance_above - must be a decimal string"),
        ("reconnect.balance_above", "0.001", "is not an amount in dollars and cents"),
        ("holidays.own", ["Christmas"], "holidays.own - 'Christmas' does not begin with a date"),
        ("holidays.calendars", ["ZZ"], "holidays.calendars - 'ZZ' is not a calendar of the holidays library"),
        ("holidays.calendars", ["US-ZZ"], "holidays.calendars - 'US-ZZ' is not a calendar"),
        ("holidays.calendars", ["__doc__"], "holidays.calendars - '__doc__' is not a calendar"),
        ("weather.cold.season_from", "02-30", 'must be month and day such as "11-01"'),
        ("weather.cold.season_from", "11-01", "season_from and season_until belong together"),
        ("sources.whim", "mine", "whim is not the code of a block"),
        ("weather", {}, "weather.cold - "),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_by_its_key(key: str, value: Any, told: str) -> None:
    with pytest.raises(ProgramError) as refused:
        find_program("default", {key: value})
    assert any(told in fault for fault in refused.value.faults), refused.value.faults
    assert all(fault.startswith("set") for fault in refused.value.faults)


def test_an_unknown_program_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ProgramError, match="there is no program 'defualt'; known are default, lake-region, missouri"):
        find_program("defualt", {})


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


TITLE = 'title = "Ours"\nsource = "our tariff"\n'


def test_a_sites_program_inherits_from_one_that_ships_and_hides_its_namesake(tmp_path: Path) -> None:
    ours = write(
        tmp_path / "programs",
        ours=TITLE + 'base = "pso-prepay"\n[disconnect]\nguard_seconds = 30\n',
        strict=TITLE + 'base = "ours"\n',
    )
    programs = load_programs(ours, FOLDER)
    assert programs["ours"][0].guard_seconds == 30
    assert programs["ours"][0].windows == programs["pso-prepay"][0].windows
    assert programs["strict"][0].guard_seconds == 30
    write(ours, ours=TITLE + 'base = "pso-prepay"\n[disconnect]\nguard_seconds = 31\n')
    assert load_programs(ours, FOLDER)["ours"][0].guard_seconds == 31


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    ours = write(
        tmp_path / "programs",
        one=TITLE + 'base = "default"\n[disconnect]\ntrip = "maybe"\ngraze = 1\n',
        two=TITLE + 'base = "nowhere"\n',
        three=TITLE + 'base = "four"\n',
        four=TITLE + 'base = "three"\n',
    )
    with pytest.raises(ProgramError) as refused:
        load_programs(ours, FOLDER)
    told = "\n".join(refused.value.faults)
    assert "programs/one.toml: disconnect.trip - Input should be 'negative' or 'zero'" in told
    assert "programs/one.toml: disconnect.graze - is not a known key" in told
    assert "programs/two.toml: base - there is no program 'nowhere'" in told
    assert "programs/three.toml: base - its bases go round in a circle" in told
    assert "programs/four.toml: base - its bases go round in a circle" in told


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"programs/broken\.toml: .*line 1"):
        load_programs(write(tmp_path / "programs", broken="title = \n"), FOLDER)


@pytest.mark.parametrize(
    ("amount", "balance", "arrears", "overrides", "split"),
    [
        (3000, 0, 25_000, {}, (900, 2100)),  # the seeds' own example: 30 dollars, 9 to arrears, 21 to use
        (1143, -800, 25_000, {}, (342, 801)),
        (1, 0, 25_000, {}, (0, 1)),
        (10_000, 0, 12, {}, (12, 9988)),
        (10_000, 0, 0, {}, (0, 10_000)),
        (800, -800, 25_000, {"arrears.first": False}, (0, 800)),
        (1001, -800, 25_000, {"arrears.first": False}, (60, 941)),
        (1001, 500, 25_000, {"arrears.first": False}, (300, 701)),
        (999, 0, 25_000, {"arrears.share": "0.3333"}, (332, 667)),
    ],
)
def test_the_share_of_a_payment(
    amount: int, balance: int, arrears: int, overrides: dict[str, Any], split: tuple[int, int]
) -> None:
    assert split_payment(amount, balance, arrears, shipped("default", overrides)) == split


def federal_holidays(year: int) -> Iterator[date]:
    """5 U.S.C. 6103, by counting: third Mondays and the like; fixed days, and when they are observed."""
    for month, weekday, number in ((1, 0, 3), (2, 0, 3), (9, 0, 1), (10, 0, 2), (11, 3, 4)):
        first = date(year, month, 1)
        yield first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))
    yield date(year, 5, 31) - timedelta(days=date(year, 5, 31).weekday())
    for fixed in ((1, 1), (6, 19), (7, 4), (11, 11), (12, 25)):
        day = date(year, *fixed)
        yield day
        yield day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


@pytest.mark.parametrize("name", ["default", "strict", "pso-prepay", "missouri"])
def test_no_federal_holiday_is_missing(name: str) -> None:
    _, holiday = find_program(name, {})
    missing = [day for year in range(2026, 2041) for day in federal_holidays(year) if not holiday(day)]
    assert missing == []
