"""Whatever a meter goes through, and whenever it is told: the same facts lead to the same books and to the bill."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.usage import DayQuality, DayUse
from edge.metering import EditRequest, ExchangeRequest, edit_day, exchange_meter, report_read
from tests.scenario.gaps import Home, clock_time, midnight

FIRST = date(2026, 10, 22)
DAYS = 13  # over the end of the daylight saving time and of the month
HOUR_WH = (200, 900, 1_700)


@dataclass(frozen=True)
class Life:
    """What happens: hours in which the meter answers, an exchange, what a customer reads, what a clerk says of days."""

    answers: tuple[int, ...]
    exchanged_at: int
    initial_wh: int
    read_at: int
    edits: tuple[tuple[int, int], ...]
    told_after_it: tuple[int, ...]

    def register_wh(self, hour: int) -> int:
        """The register of whatever meter hangs there, so many hours after enrolment."""
        counted = 50_000 + sum(HOUR_WH[n % 24 // 8] for n in range(hour))
        if hour < self.exchanged_at:
            return counted
        return counted - self.final_wh + self.initial_wh

    @property
    def final_wh(self) -> int:
        """The old meter's last register."""
        return 50_000 + sum(HOUR_WH[n % 24 // 8] for n in range(self.exchanged_at))


def at(hour: int) -> datetime:
    return clock_time(FIRST, 12).astimezone(midnight(FIRST).tzinfo) + timedelta(hours=hour)


HOURS = st.integers(30, DAYS * 24 - 40)
LIVES = st.builds(
    Life,
    st.lists(st.integers(1, DAYS * 24), max_size=12, unique=True).map(lambda hours: tuple(sorted(hours))),
    HOURS,
    st.integers(0, 400),
    HOURS.map(lambda hour: hour * 2 + 1).filter(lambda half: half < DAYS * 48),
    st.lists(st.tuples(st.integers(1, DAYS - 3), st.integers(0, 30_000)), max_size=2, unique_by=lambda one: one[0]).map(
        tuple
    ),
    st.permutations((1, 2, 3)).map(tuple),
)


async def lived(folder: Path, life: Life, tariff: str, *, late: bool) -> list[tuple[object, ...]]:
    """Live through it: every fact told when it happens, or at the very end in some order.

    The exchange goes first: until it is known, what a customer reads off the new meter is refused, and is no fact.
    """
    home = await Home(folder, FIRST, tariff).enrolled()
    facts: list[tuple[int, Callable[[], Awaitable[object]]]] = [
        (life.exchanged_at, lambda: exchange_meter(home.gateway, _exchange(life), "tech")),
        (life.read_at // 2 + 1, lambda: report_read(home.gateway, "A-1", _reported(life), _read_at(life), "desk")),
    ]
    for number, energy_wh in life.edits:
        edit = EditRequest("A-1", FIRST + timedelta(days=number), energy_wh, "an outage", "final")
        facts.append((number * 24 + 20, lambda edit=edit: edit_day(home.gateway, edit, "clerk")))  # type: ignore[misc]
    ordered = [facts[index] for index in (0, *life.told_after_it) if index < len(facts)]
    for hour in range(DAYS * 24 + 1):
        if hour in life.answers or hour == DAYS * 24:
            await home.polled(at(hour), life.register_wh(hour))
        for due, fact in facts:
            if not late and due == hour:
                home.clock.instant = at(hour)
                await fact()
        if hour % 24 == 20:
            await home.close(at(hour))
    for _, fact in ordered if late else []:
        await fact()
    assert await home.close(at(DAYS * 24)) == 0
    closed = await home.closed()
    assert sum(one.charge_cents for one in closed) == await home.bill_of(closed)
    assert await home.balance() == 900_00 - sum(one.charge_cents for one in closed)
    assert DayQuality.ESTIMATED not in {one.use.quality for one in closed}
    home.store.close()
    return [(_without_guessed_registers(one.use), dict(one.charges)) for one in closed]


def _without_guessed_registers(use: DayUse) -> DayUse:
    """A day that a person edited before any read keeps the registers that were likely then."""
    edited = use.quality is DayQuality.EDITED
    return replace(use, start_register_wh=0, end_register_wh=0) if edited else use


def _exchange(life: Life) -> ExchangeRequest:
    return ExchangeRequest("M-1", "new", life.final_wh, life.initial_wh, "old", at(life.exchanged_at))


def _read_at(life: Life) -> datetime:
    return at(life.read_at // 2) + timedelta(minutes=30)


def _reported(life: Life) -> int:
    return life.register_wh(life.read_at // 2) + 70


@settings(max_examples=8, deadline=None)
@given(life=LIVES, tariff=st.sampled_from(["flat", "seasonal-tiers", "time-of-use"]))
def test_the_same_facts_lead_to_the_same_books_whenever_they_are_told(life: Life, tariff: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        in_time = asyncio.run(lived(Path(folder) / "in-time", life, tariff, late=False))
        too_late = asyncio.run(lived(Path(folder) / "late", life, tariff, late=True))
    assert in_time == too_late
