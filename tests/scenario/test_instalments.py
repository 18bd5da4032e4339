"""An under-estimate in instalments, from the silent meter on: what the true-up cost in all, and not a cent more."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from edge.adjustments import defer
from edge.refusals import RequestRefused
from edge.store import books
from tests.scenario.gaps import Home, clock_time, midnight, steady
from tests.scenario.money_site import standing

FIRST = date(2026, 4, 6)


async def test_what_a_silent_meter_cost_too_little_is_paid_in_instalments(tmp_path: Path) -> None:
    """Seed 003, 6.04; domain-rules R62. 24 kWh a day are estimated, 40 are used, for three days."""
    home = await Home(tmp_path, FIRST).enrolled()
    await home.read(*steady(FIRST, 5, 24_000))
    for number in range(1, 9):
        assert await home.close(clock_time(FIRST + timedelta(days=number), 7)) == 0
    before = await home.balance()
    last = FIRST + timedelta(days=8)
    await home.read((midnight(last) + timedelta(hours=9), 100_000 + 5 * 24_000 + 3 * 40_000 + 15_000))
    assert await home.close(clock_time(last, 10)) == 0
    cost = before - await home.balance()
    assert cost == 3 * 16 * 975 // 100  # the flat tariff's 9.75 cents
    with pytest.raises(RequestRefused, match="corrections of estimated days that are not deferred yet have cost"):
        await defer(home.gateway, "A-1", "I-1", cost + 1, "asked by phone", "test")
    agreed = await defer(home.gateway, "A-1", "I-1", cost, "asked by phone", "test")
    assert (agreed.balance_cents, agreed.arrears_cents) == (before, cost)
    assert await standing(home.gateway) == (before, cost)
    assert await home.store.read(lambda database: list(books.audit(database))) == []
    home.store.close()
