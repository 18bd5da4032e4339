"""The clocks, asked from the event loop and from the store's thread."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import uvloop

from edge.clock import ScaledClock, SystemClock

START = datetime(2026, 7, 6, 13, 0, tzinfo=UTC)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_stores_thread_may_ask_whether_the_clock_is_trusted(new_loop: object) -> None:
    """Decisions are taken inside transactions, and those run in a thread of their own."""
    clock = SystemClock("always")

    async def ask() -> tuple[bool, bool]:
        return clock.trusted(), await asyncio.get_running_loop().run_in_executor(None, clock.trusted)

    with asyncio.Runner(loop_factory=new_loop) as runner:  # type: ignore[arg-type]
        assert runner.run(ask()) == (True, True)


async def test_a_scaled_clock_tells_its_threads_the_same_time() -> None:
    clock = ScaledClock(START, 60.0)
    before = clock.now()
    there = await asyncio.get_running_loop().run_in_executor(None, clock.now)
    assert before <= there <= clock.now()


async def test_a_change_of_pace_does_not_move_the_clock() -> None:
    clock = ScaledClock(START, 3600.0)
    before = clock.now()
    with clock.at_wall_pace():
        slow = clock.now()
        clock.run_at(60.0)
    after = clock.now()
    assert before <= slow <= after
    assert clock.pace == 60.0


async def test_waiting_ends_with_the_instant_or_with_the_event() -> None:
    clock = ScaledClock(START, 3600.0)
    event = asyncio.Event()
    assert not await clock.wait(clock.now() + timedelta(minutes=1), event)
    event.set()
    assert await clock.wait(clock.now() + timedelta(days=1), event)
