"""A home whose meter may fall silent: its reads are given by hand, its days closed by the daemon's own task."""

import sqlite3
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge.catalog import load_catalog
from edge.core import rating, vee
from edge.daemon import Ports, build_gateway
from edge.days import DayCloser
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.settings import load_settings
from edge.store import books, customers, fleet, records, registers, usage
from edge.store.engine import Store, Watch
from edge.store.usage import ClosedDay
from tests.stand_ins import SettableClock, SilentHeadEnd

ZONE = ZoneInfo("America/Chicago")
SITE = """
[[lines]]
id = "bus"
transport = "modbus-tcp"
host = "127.0.0.1"
"""
METER = """
[[meters]]
id = "M-{0}"
profile = "hiking-dds238-2-znsr"
line = "bus"
unit = {0}
"""


def midnight(day: date) -> datetime:
    """The beginning of a civil day."""
    return vee.day_bounds(day, ZONE)[0]


def clock_time(day: date, hour: int, minute: int = 0) -> datetime:
    """A civil time of a day."""
    return datetime.combine(day, time(hour, minute), ZONE)


class Home:
    """Account A-1 at meter M-1, enrolled at noon of ``first_day`` with plenty of credit."""

    def __init__(self, folder: Path, first_day: date, tariff: str = "flat", watch: Watch | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "edge.toml").write_text(SITE + METER.format(1) + METER.format(2))
        settings = load_settings(folder / "edge.toml", folder)
        self.store = Store(settings.database, threaded=False, durable=False, watch=watch)
        self.clock = SettableClock(clock_time(first_day, 12))
        self.gateway: Gateway = build_gateway(
            settings, load_catalog(settings), Ports(self.clock, self.store, {}, SilentHeadEnd())
        )
        self.gateway.clock_in_doubt = False
        self.tariff = tariff

    async def enrolled(self) -> "Home":
        """Enrol the account now."""
        cells = {"account_id": "A-1", "meter_id": "M-1", "opening_balance": "900.00", "takeover": "yes"}
        outcomes = await enroll(self.gateway, [Row("row 1", {**cells, "tariff": self.tariff})], "test")
        assert outcomes[0].accepted, outcomes
        return self

    async def read(self, *reads: tuple[datetime, int]) -> None:
        """The meter answers."""
        stored = [fleet.StoredRead("M-1", at, wh, None, "connected", True, ()) for at, wh in reads]
        await self.store.write(lambda database: fleet.save_reads(database, stored))

    async def polled(self, at: datetime, wh: int) -> None:
        """The meter answers a poll, and validation judges what it says."""

        def work(database: sqlite3.Connection) -> None:
            last = registers.last_register(database, "M-1")
            found = vee.validate(last, vee.RegisterRead(at, wh), self.gateway.limits["M-1"])
            flags = tuple(flag.value for flag in found.flags)
            fleet.save_reads(database, [fleet.StoredRead("M-1", at, wh, None, "connected", found.accepted, flags)])

        await self.store.write(work)

    async def read_refused(self, *reads: tuple[datetime, int], flags: tuple[str, ...]) -> None:
        """The meter answers what validation refuses."""
        stored = [fleet.StoredRead("M-1", at, wh, None, "connected", False, flags) for at, wh in reads]
        await self.store.write(lambda database: fleet.save_reads(database, stored))

    async def refused_as_backwards(self, *reads: tuple[datetime, int]) -> None:
        """Another meter answers, and the old one's register speaks against it."""
        await self.read_refused(*reads, flags=("backwards",))

    async def close(self, now: datetime) -> int:
        """The day closer works at an instant; how many accounts stay open."""
        self.clock.instant = now
        still_open = await DayCloser(self.gateway).close_due()
        assert await self.store.read(lambda database: list(books.audit(database))) == []
        return still_open

    async def closed(self, first: date = date.min, last: date = date.max) -> list[ClosedDay]:
        """The days on the books, at their last revision."""
        return await self.store.read(lambda database: usage.days(database, "A-1", first, last))

    async def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What the head end is told, oldest first, of some kinds."""
        told = await self.store.read(lambda database: records.last_events(database, 10_000))
        return [{"kind": kind, **data} for _, kind, data in reversed(told) if kind in kinds]

    async def balance(self) -> int:
        """The customer's balance in cents."""
        return await self.store.read(lambda database: books.balance_cents(database, "A-1"))

    async def bill_of(self, days: Iterable[ClosedDay]) -> int:
        """What the ordinary bill of these days is, month by month and tariff by tariff."""

        def tariffs(database: sqlite3.Connection) -> dict[tuple[date, str], list[rating.DayUsage]]:
            found: dict[tuple[date, str], list[rating.DayUsage]] = {}
            for closed in days:
                name = customers.tariff_of(database, "A-1", closed.day)
                found.setdefault((closed.day.replace(day=1), name), []).append(closed.usage)
            return found

        bills = await self.store.read(tariffs)
        return sum(rating.bill(self.gateway.tariffs[name], used).total_cents for (_, name), used in bills.items())


def steady(first: date, days: int, daily_wh: int, start_wh: int = 100_000) -> list[tuple[datetime, int]]:
    """Reads at every midnight from ``first`` on, the same use every day."""
    return [(midnight(first + timedelta(days=n)), start_wh + n * daily_wh) for n in range(days + 1)]
