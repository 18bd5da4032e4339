"""Waiting takes no time, in the right order, for longer than a float's nanoseconds last."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edge.clock import ScaledClock, pause
from meter_sim.virtual_time import IdleForever, VirtualTimeLoop

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_waits_end_in_the_order_of_their_times() -> None:
    order: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        await pause(seconds)
        order.append(name)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as tasks:
            for name, seconds in (("c", 3600.0), ("a", 0.5), ("b", 60.0)):
                tasks.create_task(wait(name, seconds))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())
        assert runner.get_loop().time() >= 3600

    assert order == ["a", "b", "c"]


def test_a_clock_on_it_reads_civil_time_and_wakes_past_day_194() -> None:
    async def scenario() -> tuple[datetime, bool]:
        clock = ScaledClock(START, 1.0)
        clock.now()
        for _ in range(400):
            await clock.wait(clock.now() + timedelta(days=1))
        try:
            async with asyncio.timeout(5):
                await pause(6)
        except TimeoutError:
            return clock.now(), True
        return clock.now(), False

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        now, timed_out = runner.run(scenario())

    assert timed_out
    assert timedelta(0) <= now - START - timedelta(days=400, seconds=5) < timedelta(milliseconds=5)


def test_a_wait_that_nobody_can_end_is_told() -> None:
    async def scenario() -> None:
        await asyncio.Event().wait()

    with pytest.raises(IdleForever), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())
