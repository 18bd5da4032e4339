"""The power of the machine that the daemon runs on: it fails at chosen steps, and nothing is done without it.

A step is what a crash may come just before or just after: a commit, a switch command, a publication, an
acknowledgement. From the instant of the failure on every step fails, so that nothing that the dying daemon still does
is kept or heard, as after ``SIGKILL``.
"""

import asyncio
import sqlite3
from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from edge.store.engine import Store
from edge.store.history import Marks, marks_of

T = TypeVar("T")
STEPS = tuple(
    f"{when} {what}" for what in ("commit", "command", "publication", "acknowledgement") for when in ("before", "after")
)


class PowerFailure(BaseException):
    """The machine is off; not an Exception, so that nothing in the daemon handles it."""


class Power:
    """The power of one machine. ``failed`` is told of the step at which it went."""

    def __init__(self) -> None:
        self.on = True
        self.failed: Callable[[str], None] = lambda _: None
        self._fails_at: str | None = None
        self._times = 0

    def fail_at(self, step: str, times: int) -> None:
        """Fail at the ``times``-th such step from now on; replaces what was planned before."""
        self._fails_at, self._times = step, times

    def cut(self) -> None:
        """Off at once."""
        self.on = False
        self._fails_at = None

    def restore(self) -> None:
        """On again, with nothing planned."""
        self.on = True

    def step(self, step: str) -> None:
        """The daemon is at a step. Raises PowerFailure."""
        if self.on and step == self._fails_at:
            self._times -= 1
            if self._times <= 0:
                self.cut()
                self.failed(step)
        if not self.on:
            raise PowerFailure(step)


class CommitLog:
    """When what was committed was committed, by the world's clock, whatever the daemon's clock said."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._marks: dict[str, tuple[list[int], list[datetime]]] = {}

    def note(self, marks: Marks) -> None:
        """Rows up to these ids are there by now."""
        for table, row in marks.items():
            rows, times = self._marks.setdefault(table, ([], []))
            if not rows or rows[-1] < row:
                rows.append(row)
                times.append(self._now())

    def committed_at(self, table: str, row: int) -> datetime:
        """When a row came. Raises LookupError for one that never did."""
        rows, times = self._marks[table]
        return times[bisect_left(rows, row)]


class WatchedStore(Store):
    """A store in one thread whose commits may be a machine's last, and are logged."""

    def __init__(self, path: Path, power: Power, log: CommitLog) -> None:
        super().__init__(path, threaded=False, durable=False)
        self._power = power
        self._log = log

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._power.step("before commit")
        before = self._database.total_changes
        result = super()._transact(work)
        if self._database.total_changes != before:
            self._log.note(marks_of(self._database))
        self._power.step("after commit")
        return result


class HostTime:
    """The clock of that machine: the world's, set wrong for a while now and then."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._asked_at = -1.0
        self._instant = now()
        self.wrong_by = timedelta(0)

    def now(self) -> datetime:
        """What the machine takes the time for; nobody asks the world twice at the same instant."""
        loop_now = asyncio.get_running_loop().time()
        if loop_now != self._asked_at:
            self._asked_at, self._instant = loop_now, self._now()
        return self._instant + self.wrong_by if self.wrong_by else self._instant

    def synchronised(self, stepped: bool) -> bool:  # noqa: ARG002 - this kernel forgets
        """Whether its kernel says that it is synchronised: not while it was set wrong."""
        return not self.wrong_by
