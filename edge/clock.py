"""The one place that asks what time it is and that waits.

*What date is it?* is asked of a ``Clock``; *how long?* of the event loop, through ``pause``. The same daemon runs on
the machine's clock, on a scaled one, or on any other object with these four methods.
"""

import asyncio
import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

WAKE_MAX = timedelta(minutes=5)  # bounds how late a stepped clock is noticed
STEP = timedelta(seconds=5)  # the clock and the loop drift apart by this much: somebody set the clock
TRUST_AFTER_STEP = timedelta(minutes=15)
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # before this program existed: the clock was never set

Trust = Literal["kernel", "always"]


class Clock(Protocol):
    """Civil time, and waiting for it."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def trusted(self) -> bool:
        """Whether a disconnect may rest on this clock. A reconnect never asks."""
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

    It is trusted while the kernel says that it is disciplined (``trust="kernel"``: ``adjtimex``, or the mark that
    systemd-timesyncd leaves) or always (``trust="always"``, for benches), except before 2026 and for 15 minutes after
    a step of more than 5 seconds.
    """

    def __init__(self, trust: Trust = "kernel") -> None:
        self._trust = trust
        self._loop_time = _LoopTime()
        self._offset: timedelta | None = None
        self._stepped_at: float | None = None

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def trusted(self) -> bool:
        """Whether a disconnect may rest on this clock."""
        now = self.now()
        if now < EARLIEST or self._recently_stepped(now):
            return False
        return self._trust == "always" or _kernel_is_synchronised()

    def _recently_stepped(self, now: datetime) -> bool:
        loop_now = self._loop_time()
        offset = timedelta(seconds=now.timestamp() - loop_now)
        if self._offset is not None and abs(offset - self._offset) > STEP:
            self._stepped_at = loop_now
        self._offset = offset
        return self._stepped_at is not None and loop_now - self._stepped_at < TRUST_AFTER_STEP.total_seconds()

    async def wait(self, until: datetime, event: asyncio.Event | None = None) -> bool:
        """Return once the clock reads at least ``until`` (False) or ``event`` is set (True), however it is stepped."""
        while (remaining := until - self.now()) > timedelta(0):
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


def _kernel_is_synchronised() -> bool:
    """What ``timedatectl`` calls "System clock synchronized". Not known counts as no."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    if 0 <= state != _TIME_ERROR and not timex.status & _STA_UNSYNC:
        return True
    return Path("/run/systemd/timesync/synchronized").exists()
