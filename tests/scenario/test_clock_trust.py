"""A clock not synchronised, stepped, or of 1970: nobody is cut, days close once and in order, nothing is twice."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from edge.store import books, usage
from tests.scenario.bench import TUESDAY_TEN, Bench, on_a_bench

TUESDAY = TUESDAY_TEN.date()
EVENING = TUESDAY_TEN.replace(hour=18)


def closed(bench: Bench) -> list[usage.ClosedDay]:
    days: list[usage.ClosedDay] = bench.ask(
        lambda database: usage.days(database, "A-1", date(1970, 1, 1), date(2100, 1, 1))
    )
    return days


def assert_whole(bench: Bench, *wanted: date) -> None:
    """These days are closed, in this order, each beginning where the one before ended, and charged once."""
    days = closed(bench)
    assert [day.day for day in days] == list(wanted)
    assert all(after.start_register_wh == before.end_register_wh for before, after in pairwise(days))
    assert [day.energy_wh for day in days[1:]] == [12_000] * (len(days) - 1)  # 500 W
    assert bench.ask(lambda database: list(books.audit(database))) == []


async def cut_is_due(bench: Bench) -> None:
    """All that keeps the home connected is the clock."""
    await bench.until(lambda: bench.codes() == ["clock_untrusted"], timedelta(minutes=20))


def test_while_the_kernel_does_not_call_it_synchronised_nobody_is_cut(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.clock.kernel_says = False
        await bench.enroll(1, opening_balance="-4.20")
        await cut_is_due(bench)
        await bench.rest(hours=1)
        assert bench.relay() == "connected"
        assert [event["trusted"] for event in bench.events("clock")] == [False]
        bench.clock.kernel_says = True
        await bench.until(lambda: bench.relay() == "disconnected", timedelta(minutes=11))
        bench.clock.kernel_says = False
        await bench.pay("A-1", 1_000)  # a reconnect asks no clock
        await bench.until(lambda: bench.relay() == "connected", timedelta(seconds=10))

    on_a_bench(tmp_path, story)


@pytest.mark.parametrize("step", [timedelta(minutes=3), -timedelta(minutes=3), timedelta(seconds=20)])
def test_a_step_is_distrusted_for_a_while_and_as_long_as_the_kernel_does(tmp_path: Path, step: timedelta) -> None:
    async def story(bench: Bench) -> None:
        bench.wires["M-1"].silenced = 1
        await bench.enroll(1, opening_balance="-4.20")
        await bench.rest(minutes=6)
        bench.clock.offset += step
        bench.wires["M-1"].silenced = 0
        await bench.rest(minutes=14)
        assert bench.relay() == "connected"
        assert "clock_untrusted" in bench.codes()
        bench.clock.kernel_says = False
        await bench.rest(minutes=30)
        assert bench.relay() == "connected"
        bench.clock.kernel_says = True
        await bench.until(lambda: bench.relay() == "disconnected", timedelta(minutes=20))

    on_a_bench(tmp_path, story)


@pytest.mark.parametrize(
    ("jump", "lasts", "kernel_says"),
    [(timedelta(days=1), 120, False), (timedelta(days=400), 120, False), (timedelta(days=1), 14, True)],
)
def test_a_clock_that_jumps_forward_and_comes_back_closes_no_day_early_and_none_twice(
    tmp_path: Path, jump: timedelta, lasts: int, kernel_says: bool
) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="20.00")
        await bench.rest(minutes=30)
        reads = bench.ask(lambda database: database.execute("SELECT count(*) FROM reading").fetchone()[0])
        bench.clock.offset, bench.clock.kernel_says = jump, kernel_says
        await bench.rest(minutes=lasts)
        assert closed(bench) == []
        bench.clock.offset, bench.clock.kernel_says = timedelta(), True
        await bench.rest(hours=34)
        assert_whole(bench, TUESDAY, TUESDAY + timedelta(days=1))
        kept = bench.ask(lambda database: database.execute("SELECT count(*) FROM reading").fetchone()[0])
        assert kept > reads  # nor were reads forgotten for their age

    on_a_bench(tmp_path, story, start=EVENING)


def test_a_clock_that_falls_back_a_day_bills_that_day_once(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="20.00")
        await bench.rest(hours=10)
        assert_whole(bench, TUESDAY)
        bench.clock.offset = -timedelta(days=1)
        await bench.rest(hours=3)
        await bench.kill()  # nor does a restart forget when it was trusted last
        await bench.start()
        await bench.rest(hours=3)
        assert "clock_untrusted" in bench.codes() or not bench.gateway.clock_trusted()
        bench.clock.offset = timedelta()
        await bench.rest(hours=40)
        assert_whole(bench, TUESDAY, TUESDAY + timedelta(days=1), TUESDAY + timedelta(days=2))

    on_a_bench(tmp_path, story, start=EVENING)


def test_reads_that_a_wrong_clock_stamped_before_anybody_knew_it_count_for_nothing(tmp_path: Path) -> None:
    """The machine starts a day ahead, unsynchronised, and is put right an hour later."""

    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="20.00")
        await bench.rest(minutes=30)
        await bench.kill()
        bench.clock = type(bench.clock)(bench.physical_now())
        bench.clock.offset = timedelta(days=1)
        bench.clock.kernel_says = False
        await bench.start()
        await bench.rest(hours=1)
        assert closed(bench) == []
        bench.clock.offset = timedelta()
        bench.clock.kernel_says = True
        await bench.rest(hours=34)
        assert_whole(bench, TUESDAY, TUESDAY + timedelta(days=1))
        ahead = "SELECT count(*) FROM reading WHERE accepted = 1 AND at > '2026-10-15T12'"
        assert bench.ask(lambda database: database.execute(ahead).fetchone()[0]) == 0

    on_a_bench(tmp_path, story, start=EVENING)


def test_in_1970_nobody_is_cut_and_payments_bring_power_back(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.enroll(1, opening_balance="-4.20")
        await bench.until(lambda: bench.relay() == "disconnected")
        await bench.kill()
        bench.clock.offset = datetime(1970, 1, 1, tzinfo=UTC) - bench.clock.now()
        await bench.start()
        assert not bench.gateway.clock_trusted()
        await bench.pay("A-1", 1_000)
        await bench.until(lambda: bench.relay() == "connected", timedelta(seconds=20))
        await bench.rest(hours=3)
        assert closed(bench) == []
        bench.set_relay("disconnected")  # and what a hand does is seen all the same
        await bench.until(lambda: bench.cause() == "foreign", timedelta(minutes=3))

    on_a_bench(tmp_path, story)


def test_without_time_zone_data_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text('gateway_id = "gw1"\n')
    (tmp_path / "tzdata.py").write_text("raise ImportError\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['ami-edge', '--config',"
        f" {str(tmp_path / 'edge.toml')!r}, 'check-config']; from edge.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONTZPATH": "", "PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "edge.toml: timezone - this machine has no time zone data: install the package tzdata\n"
