"""Whose turn it is on a line that takes one question at a time."""

import asyncio
from collections import deque
from enum import IntEnum


class Turn(IntEnum):
    """What a turn is for; the lower goes first."""

    RECONNECT = 0  # and every look at a switch
    DISCONNECT = 1
    POLL = 2


class Turns:
    """Who may use the line: one at a time; a reconnect before a disconnect before a poll, each kind in its order."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: dict[Turn, deque[asyncio.Future[None]]] = {kind: deque() for kind in Turn}

    async def take(self, kind: Turn) -> None:
        """Wait for a turn."""
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[kind].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # the turn came in the same instant: hand it on
            raise

    def give_back(self) -> None:
        """Let the next one in."""
        for queue in self._waiting.values():
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._taken = False
