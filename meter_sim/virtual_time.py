"""An event loop on which waiting takes no time: it looks at its own clock's next timer and is there.

Everything that waits through the loop, with time-outs, retries and back-off, runs unchanged; what waits for a thread
or another process must stay outside, because to this loop such a wait looks like idleness.
"""

import asyncio
import selectors
from datetime import datetime, timedelta
from typing import Protocol


class IdleForever(RuntimeError):
    """Every task waits and no timer is set: nothing can ever happen again."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop whose ``time()`` stands still while tasks run and leaps to the next timer when none can."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        super().__init__(_LeapingSelector(self))
        # asyncio runs a timer when it is due before time() + resolution. The usual 1e-9 s is below the spacing of
        # floats once time() passes 2**24 s, about day 194: a timer would be due and never run, and the loop would spin.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the loop was made, as far as its tasks can tell."""
        return self._elapsed_s

    def leap(self, seconds: float) -> None:
        """Let idle time pass."""
        self._elapsed_s += seconds


class _LeapingSelector(selectors.DefaultSelector):
    """Asks the sockets without waiting; where nothing is ready, the time until the next timer is over at once."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; else leap over ``timeout``. Raises IdleForever when there is no timer either."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise IdleForever("every task waits for something that nobody will do")
            if timeout > 0:
                self._loop.leap(timeout)
        return ready


class CivilClock(Protocol):
    """What a world asks for the date, and waits on."""

    def now(self) -> datetime:
        """The present instant, aware."""
        ...

    async def wait(self, until: datetime) -> bool:
        """Return once the clock reads at least ``until``."""
        ...


async def rest(clock: CivilClock, seconds: float) -> None:
    """Let some seconds of the clock pass."""
    await clock.wait(clock.now() + timedelta(seconds=seconds))
