"""Killed with SIGKILL at every step to and after a commit, and begun again: the books are as if nothing had been."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from edge.adjustments import ItemRequest, charge
from edge.days import DayCloser
from edge.metering import ExchangeRequest, exchange_meter, report_read
from edge.payments import PaymentRequest, take_payment
from edge.refusals import RequestRefused
from edge.returned_payments import return_payment
from edge.store import books, usage
from tests.scenario.gaps import Home, clock_time, midnight, steady

FIRST = date(2026, 4, 20)
FORK = multiprocessing.get_context("fork")  # a child begins where the test stands, without importing all again
NIGHT = clock_time(FIRST + timedelta(days=3), 1)
MORNING = clock_time(FIRST + timedelta(days=4), 9)


def pay(payment_id: str, cents: int) -> PaymentRequest:
    return PaymentRequest(payment_id, "A-1", cents, None, "kiosk", "customer")


async def a_life(home: Home) -> None:
    """What happens to an account in four days, each thing told again by whoever has had no answer."""
    home.clock.instant = clock_time(FIRST, 13)
    await take_payment(home.gateway, pay("P-1", 40_00), "test")
    await take_payment(home.gateway, pay("P-2", 5_00), "test")
    home.clock.instant = NIGHT
    await DayCloser(home.gateway).close_due()
    await return_payment(home.gateway, "P-2", None, 3_00, "no funds", "test")
    await charge(home.gateway, ItemRequest("C-1", "A-1", 15_00, "seal found cut", kind="cut_seal"), "test")
    home.clock.instant = MORNING
    await DayCloser(home.gateway).close_due()  # the last day on an estimate
    for again in (report, exchange):
        try:
            await again(home)
        except RequestRefused as refused:
            assert any(word in str(refused) for word in ("already", "does not fit", "on record")), refused  # noqa: PT017
    await DayCloser(home.gateway).close_due()


async def report(home: Home) -> None:
    await report_read(home.gateway, "A-1", 180_000, midnight(FIRST + timedelta(days=4)), "test")


async def exchange(home: Home) -> None:
    at = midnight(FIRST + timedelta(days=4)) + timedelta(hours=6)
    await exchange_meter(home.gateway, ExchangeRequest("M-1", "N-2", 183_000, 0, "dark", at), "test")


async def account_of_it(home: Home) -> dict[str, Any]:
    """What the books say in the end, whatever happened on the way."""

    def tell(database: Any) -> dict[str, Any]:
        days = usage.days(database, "A-1", date.min, date.max)
        return {
            "problems": list(books.audit(database)),
            "balance": books.balance_cents(database, "A-1"),
            "entries": books.counts(database)[1],
            "refs": [line.ref for line in books.statement(database, "A-1")],
            "days": [(day.day, day.energy_wh, dict(day.charges), day.use.quality.value) for day in days],
        }

    return await home.store.read(tell)


def on(folder: Path, work: Callable[[Home], Awaitable[Any]], watch: Callable[[str, str], None] | None = None) -> Any:
    """Do something with the home in a folder."""

    async def live() -> Any:
        home = Home(folder, FIRST, watch=watch)
        try:
            return await work(home)
        finally:
            home.store.close()

    return asyncio.run(live())


async def begin(home: Home) -> None:
    await home.enrolled()
    await home.read(*steady(FIRST, 3, 24_000))


def die_at(folder: Path, step: int) -> None:
    """Live, and die by SIGKILL at the given step."""
    steps = 0

    def watch(step_name: str, work: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    on(folder, a_life, watch)
    os._exit(0)


def test_a_life_that_is_killed_at_any_step_and_begun_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    on(tmp_path / "whole", begin)
    on(tmp_path / "whole", a_life)
    whole = on(tmp_path / "whole", account_of_it)
    assert whole["problems"] == []
    assert len(whole["days"]) == 4
    for step in range(1, 200):
        folder = tmp_path / f"killed-{step}"
        on(folder, begin)
        child = FORK.Process(target=die_at, args=(folder, step))
        child.start()
        child.join(60)
        assert child.exitcode in (0, -signal.SIGKILL)
        if child.exitcode == 0:
            assert step > 16, "each of nine transactions at least has a step before and one after its commit"
            return
        on(folder, a_life)
        assert on(folder, account_of_it) == whole, f"killed at step {step}"
    raise AssertionError("the life never ends")
