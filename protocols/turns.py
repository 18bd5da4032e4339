"""Whose turn it is on a line that takes one question at a time."""

import asyncio
from collections import deque


class Turns:
    """Who may use the line: one at a time; urgent requests go before waiting ordinary ones, each kind in its order."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    async def take(self, *, urgent: bool) -> None:
        """Wait for a turn."""
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting[0 if urgent else 1]
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # the turn came in the same instant: hand it on
            raise

    def give_back(self) -> None:
        """Let the next one in."""
        for queue in self._waiting:
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._taken = False
