"""Whose turn it is on a line."""

import asyncio

from edge.clock import pause
from protocols.turns import Turn, Turns


async def test_reconnects_go_before_disconnects_before_polls_and_cancelled_ones_not_at_all() -> None:
    turns, order = Turns(), []

    async def use(name: str, kind: Turn) -> None:
        await turns.take(kind)
        order.append(name)
        turns.give_back()

    await turns.take(Turn.POLL)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use("poll 1", Turn.POLL))
        gone = tasks.create_task(use("gone", Turn.RECONNECT))
        tasks.create_task(use("disconnect", Turn.DISCONNECT))
        tasks.create_task(use("poll 2", Turn.POLL))
        tasks.create_task(use("reconnect", Turn.RECONNECT))
        await pause(0)
        gone.cancel()
        await pause(0)
        turns.give_back()
    assert order == ["reconnect", "disconnect", "poll 1", "poll 2"]
    async with asyncio.timeout(1):
        await turns.take(Turn.POLL)
