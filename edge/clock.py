"""The one place that asks what time it is and that waits.

*What date is it?* is asked of a ``Clock``; *how long?* of the event loop, through ``pause``. The same daemon runs on
the machine's clock, on a scaled one, or on any other object with these five methods.
"""

import asyncio
import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

WAKE_MAX = timedelta(minutes=5)  # bounds how late a stepped clock is noticed
STEP = timedelta(seconds=5)  # the clock and the loop drift apart by this much: somebody set the clock
SETTLE = timedelta(minutes=15)
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # before this program existed: the clock was never set

Trust = Literal["kernel", "always"]


class Clock(Protocol):
    """Civil time, and waiting for it."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def trusted(self) -> bool:
        """Whether a disconnect may rest on this clock, or the end of a civil day. A reconnect never asks."""
        ...

    def steady(self) -> bool:
        """Whether nothing speaks against this clock, synchronised or not: a register read may be stamped with it."""
        ...

    async def wait(self, until: datetime, event: asyncio.Event | None = None) -> bool:
        """Return once the clock reads at least ``until`` (False) or ``event`` is set (True), however it is stepped."""
        ...

    def at_wall_pace(self) -> AbstractContextManager[None]:
        """While this lasts, a second of the clock is a second of the wall: a relay command is under way."""
        ...


async def pause(seconds: float) -> None:
    """Let ``seconds`` of the event loop pass."""
    await asyncio.sleep(seconds)


async def _wait_slice(seconds: float, event: asyncio.Event | None) -> bool:
    if event is None:
        await asyncio.sleep(seconds)
        return False
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


class _LoopTime:
    """The seconds of the event loop that asked first, for its threads too: the store's work asks the time there."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> float:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()


class SystemClock:
    """The machine's clock.

    It is steady from 2026 on, except for a settling time after a step of more than 5 seconds, forwards or backwards,
    against the event loop's clock. It is trusted while it is steady and the kernel says that it is disciplined
    (``trust="kernel"``: ``adjtimex``, or, before any step, the mark that systemd-timesyncd leaves) or always
    (``trust="always"``, for benches).
    """

    def __init__(
        self,
        trust: Trust = "kernel",
        settle: timedelta = SETTLE,
        wall: Callable[[], datetime] | None = None,
        synchronised: Callable[[bool], bool] | None = None,
    ) -> None:
        """``settle``: how long a step is distrusted. ``wall``, ``synchronised``: the machine's, unless they are given.

        ``synchronised`` is told whether the clock was stepped since we started.
        """
        self._trust = trust
        self._settle = settle
        self._wall = wall or _machine_time
        self._synchronised = synchronised or _kernel_is_synchronised
        self._loop_time = _LoopTime()
        self._offset: timedelta | None = None
        self._stepped_at: float | None = None

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return self._wall()

    def trusted(self) -> bool:
        """Whether a disconnect may rest on this clock."""
        if not self.steady():
            return False
        return self._trust == "always" or self._synchronised(self._stepped_at is not None)

    def steady(self) -> bool:
        """Whether nothing speaks against this clock."""
        now, loop_now = self.now(), self._loop_time()
        offset = timedelta(seconds=now.timestamp() - loop_now)
        if self._offset is not None and abs(offset - self._offset) > STEP:
            self._stepped_at = loop_now
        self._offset = offset
        settling = self._stepped_at is not None and loop_now - self._stepped_at < self._settle.total_seconds()
        return now >= EARLIEST and not settling

    async def wait(self, until: datetime, event: asyncio.Event | None = None) -> bool:
        """Return once the clock reads at least ``until`` (False) or ``event`` is set (True), however it is stepped.

        A clock that is set back does not make the wait longer: it ends when it would have ended.
        """
        end = self._loop_time() + (until - self.now() + STEP).total_seconds()
        while (remaining := until - self.now()) > timedelta(0) and self._loop_time() < end:
            if await _wait_slice(min(remaining, WAKE_MAX).total_seconds(), event):
                return True
        return event is not None and event.is_set()

    def at_wall_pace(self) -> AbstractContextManager[None]:
        """The machine's clock has no other pace."""
        return nullcontext()


class ScaledClock:
    """A clock that starts at ``start`` and runs ``rate`` times as fast as the event loop's.

    With a rate of 1 it is the clock of whatever loop it runs on, with no pace to change.
    """

    def __init__(self, start: datetime, rate: float) -> None:
        self._start = start.astimezone(UTC)
        self._rate = rate
        self._loop_time = _LoopTime()
        self._anchor: tuple[datetime, float, float] | None = None  # one value: another thread never sees half of it
        self._slow = 0

    def now(self) -> datetime:
        """The present instant of this clock, aware, in UTC."""
        loop_now = self._loop_time()
        if self._anchor is None:
            self._anchor = self._start, loop_now, self.pace
        instant, anchored_at, pace = self._anchor
        return instant + timedelta(seconds=(loop_now - anchored_at) * pace)

    def trusted(self) -> bool:
        """A scaled clock is its own authority."""
        return True

    def steady(self) -> bool:
        """Nothing speaks against a scaled clock."""
        return True

    @property
    def pace(self) -> float:
        """Seconds of this clock that go by in a second of the event loop, at present."""
        return 1.0 if self._slow else self._rate

    def _slice_max(self) -> float:
        """How long to wait before looking again: the pace may change meanwhile, unless there is only one."""
        return float("inf") if self._rate == 1.0 else 0.05

    def _go_on(self, rate: float, slow: int) -> None:
        """Go on from this instant at the pace that these say."""
        instant, loop_now = self.now(), self._loop_time()
        self._rate, self._slow = rate, slow
        self._anchor = instant, loop_now, self.pace

    async def wait(self, until: datetime, event: asyncio.Event | None = None) -> bool:
        """Return once the clock reads at least ``until`` (False) or ``event`` is set (True)."""
        while (remaining := (until - self.now()).total_seconds()) > 0:
            if await _wait_slice(min(remaining / self.pace, self._slice_max()), event):
                return True
        return event is not None and event.is_set()

    def run_at(self, rate: float) -> None:
        """Go on from this instant ``rate`` times as fast as the event loop's clock; not for a clock of rate 1."""
        self._go_on(rate, self._slow)

    @contextmanager
    def at_wall_pace(self) -> Iterator[None]:
        """While this lasts, a second of the clock is a second of the wall."""
        self._go_on(self._rate, self._slow + 1)
        try:
            yield
        finally:
            self._go_on(self._rate, self._slow - 1)


class _Timex(ctypes.Structure):
    """The head of the kernel's ``struct timex``; we only read ``status``."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_STA_UNSYNC = 0x40
_TIME_ERROR = 5


def _machine_time() -> datetime:
    return datetime.now(UTC)


def _kernel_is_synchronised(stepped: bool) -> bool:
    """What ``timedatectl`` calls "System clock synchronized". Not known counts as no.

    The mark of systemd-timesyncd outlives a clock that was set by hand: once ``stepped``, the kernel alone counts.
    """
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    if 0 <= state != _TIME_ERROR and not timex.status & _STA_UNSYNC:
        return True
    return not stepped and Path("/run/systemd/timesync/synchronized").exists()
