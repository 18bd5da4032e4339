"""The transaction path beside bare SQL: days closed, payments posted, an account shown over a ledger that has grown.

The peer is a Python script with a copy of the database: it inserts the very rows that the real code has just written,
their texts and hashes given, by one ``executemany`` a table. Both work on one disk, in turns, and wait for it.
"""

import asyncio
import gc
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from edge.catalog import load_catalog
from edge.core import ledger
from edge.daemon import Ports, build_gateway
from edge.days import DayCloser
from edge.gateway import Gateway
from edge.payments import PaymentRequest, take_payment, take_payments
from edge.settings import load_settings
from edge.store import books, customers, fleet
from edge.store.customers import Account
from edge.store.engine import Store
from edge.store.posting import post_many
from edge.views import account_view
from tests.bench.table import Aim, Figure, ratio_of_turns
from tests.stand_ins import SettableClock, SilentHeadEnd

ZONE = ZoneInfo("America/Chicago")
FIRST_DAY = date(2026, 10, 5)
OPENING_CENTS = 90_00
PAYMENT_CENTS = 25_00
BATCH = 1_000  # payments in one durable batch
SINGLES = 50  # payments that are committed one by one
SHOWN = 200  # accounts
BY = "bench"
METER = "M-1"
SITE = f"""
[[lines]]
id = "bus"
transport = "modbus-tcp"
host = "127.0.0.1"
[[meters]]
id = "{METER}"
profile = "hiking-dds238-2-znsr"
line = "bus"
unit = 1
"""
# The tables that a closed day or a payment writes, and how the rows of a turn are told from those before it.
BY_NUMBER = {
    "ledger_entry": "entry_id",
    "ledger_transaction": "transaction_id",
    "decision": "decision_id",
    "outbox": "outbox_id",
    "event": "event_id",
    "circumstance": "circumstance_id",
}
BY_TIME = {"day": "closed_at", "payment": "received_at", "notice": "created_at"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured: accounts (and payments), turns, entries under the account that is shown."""

    accounts: int
    turns: int
    entries: int


class Peer:
    """The script with bare SQL on a copy of the database, which takes over what the real code has written."""

    def __init__(self, original: Path, directory: Path) -> None:
        shutil.copy(original, directory / "bare.db")
        self._original = sqlite3.connect(f"{original.absolute().as_uri()}?mode=ro", uri=True)
        self._bare = sqlite3.connect(directory / "bare.db", isolation_level=None)
        self._bare.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-16000;"
            " PRAGMA wal_autocheckpoint=2000;"
        )
        self._marks: dict[str, int] = {}
        self.mark()

    def mark(self) -> None:
        """From here on rows are new."""
        for table, number in BY_NUMBER.items():
            self._marks[table] = self._original.execute(f"SELECT coalesce(max({number}), 0) FROM {table}").fetchone()[0]

    def insert_what_is_new(self, since: datetime) -> float:
        """Insert what the real code has written since the mark; the seconds that it took, the reading not counted."""
        new = list(self._new(since.isoformat(timespec="microseconds")))
        started = time.perf_counter()
        self._bare.execute("BEGIN IMMEDIATE")
        for statement, rows in new:
            self._bare.executemany(statement, rows)
        self._bare.execute("COMMIT")
        took = time.perf_counter() - started
        self.mark()
        return took

    def _new(self, since: str) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
        for table in (*BY_NUMBER, *BY_TIME):
            number = BY_NUMBER.get(table)
            after = f"{number} > ?" if number else f"{BY_TIME[table]} >= ?"
            mark = self._marks[table] if number else since
            rows = self._original.execute(f"SELECT * FROM {table} WHERE {after}", (mark,)).fetchall()
            if rows:
                yield f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows
        changed = (
            "SELECT * FROM balance WHERE ledger_account IN (SELECT ledger_account FROM ledger_entry WHERE entry_id > ?)"
        )
        rows = self._original.execute(changed, (self._marks["ledger_entry"],)).fetchall()
        yield "INSERT INTO balance VALUES (?, ?) ON CONFLICT DO UPDATE SET cents = excluded.cents", rows

    def close(self) -> None:
        """Close both files."""
        self._original.close()
        self._bare.close()


class Office:
    """A gateway with many accounts and no wires, whose clock is set by hand."""

    def __init__(self, directory: Path, accounts: int) -> None:
        (directory / "edge.toml").write_text(SITE, encoding="utf-8")
        settings = load_settings(directory / "edge.toml", directory)
        self.accounts = accounts
        self.clock = SettableClock(_at(FIRST_DAY, hour=0))
        self.store = Store(settings.database, threaded=True)
        self.gateway = build_gateway(
            settings, load_catalog(settings), Ports(self.clock, self.store, {}, SilentHeadEnd())
        )
        self.gateway.clock_in_doubt = False
        gear, limits = self.gateway.switchgear[METER], self.gateway.limits[METER]
        meters = [meter_of(number) for number in range(accounts)]
        self.gateway.switchgear, self.gateway.limits = dict.fromkeys(meters, gear), dict.fromkeys(meters, limits)

    async def open(self) -> None:
        """Open the books of all accounts, their relays connected, and close their first day."""
        await self.gateway.record(self._enrol)
        await self.close_day(FIRST_DAY)

    def _enrol(self, database: sqlite3.Connection) -> None:
        now = self.clock.now()
        openings = []
        for number in range(self.accounts):
            account = Account(
                account_of(number), meter_of(number), "", "residential", "flat", "default", 10_00, now, FIRST_DAY, True
            )
            customers.add_account(database, account, BY)
            fleet.add_relay_change(database, account.meter_id, now, "connected", "foreign", None)
            opening = ledger.opening(
                account_id=account.account_id, day=FIRST_DAY, balance_cents=OPENING_CENTS, arrears_cents=100_00
            )
            openings.append((opening, now))
        post_many(database, openings, posted_at=now, by=BY)

    async def close_day(self, day: date) -> float:
        """Close a day from reads around its end; the seconds that the closer took."""
        await self.store.write(lambda database: fleet.save_reads(database, self._reads(day)))
        self.clock.instant = _at(day + timedelta(days=1), hour=1)
        closer = DayCloser(self.gateway)
        gc.collect()
        started = time.perf_counter()
        still_open = await closer.close_due()
        assert still_open == 0
        return time.perf_counter() - started

    def _reads(self, day: date) -> Iterator[fleet.StoredRead]:
        midnight = _at(day + timedelta(days=1), hour=0)
        for number in range(self.accounts):
            register = 1_000_000 + number + (day - FIRST_DAY).days * 24_000
            for minutes in (-45, -15, 15, 45):
                at = midnight + timedelta(minutes=minutes)
                yield fleet.StoredRead(meter_of(number), at, register + minutes, 1_000, "connected", True, ())

    def later(self) -> datetime:
        """Let a minute go by; the instant then."""
        self.clock.instant += timedelta(minutes=1)
        return self.clock.instant

    def payments(self, first: int, count: int) -> list[PaymentRequest]:
        """Payments that were never made before, each by another account."""
        return [
            PaymentRequest(f"P-{number}", account_of(number % self.accounts), PAYMENT_CENTS, None, "kiosk", "customer")
            for number in range(first, first + count)
        ]


def account_of(number: int) -> str:
    """The id of an account."""
    return f"A-{number:06d}"


def meter_of(number: int) -> str:
    """The id of its meter."""
    return f"M-{number:06d}"


def _at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=ZONE)


@contextmanager
def _office(directory: Path, sizes: Sizes) -> Iterator[tuple[Office, Path]]:
    directory.mkdir(parents=True)
    office = Office(directory, sizes.accounts)
    try:
        yield office, office.gateway.settings.database
    finally:
        office.store.close()


def transactions(directory: Path, sizes: Sizes) -> list[Figure]:
    """Closed days, payments and the view of an account."""
    with _office(directory / "office", sizes) as (office, database):
        return asyncio.run(_transactions(office, database, sizes))


async def _transactions(office: Office, database: Path, sizes: Sizes) -> list[Figure]:
    await office.open()
    await office.store.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    with closing(Peer(database, database.parent)) as peer:
        figures = await _closes(office, peer, sizes)
        figures += await _batches(office, peer, sizes)
        figures += await _singles(office, peer, sizes)
    return [*figures, await _view(office, sizes)]


async def _closes(office: Office, peer: Peer, sizes: Sizes) -> list[Figure]:
    ours, bare = [], []
    for turn in range(1, sizes.turns + 1):
        ours.append(await office.close_day(FIRST_DAY + timedelta(days=turn)))
        bare.append(peer.insert_what_is_new(office.clock.now().astimezone(ZoneInfo("UTC"))))
    what = f"day of {sizes.accounts:,} accounts closed"
    ratio = ratio_of_turns(ours, bare)
    return [Figure(what, median(ours), "s", "bare SQL", median(bare), ratio, Aim("at most", 4))]


async def _batches(office: Office, peer: Peer, sizes: Sizes) -> list[Figure]:
    ours, bare = [], []
    for first in range(0, sizes.accounts, BATCH):
        requests, now = office.payments(first, min(BATCH, sizes.accounts - first)), office.later()
        started = time.perf_counter()
        receipts = await take_payments(office.gateway, requests, BY)
        ours.append((time.perf_counter() - started) / len(requests))
        assert all(receipt.status == "posted" for receipt in receipts)
        bare.append(peer.insert_what_is_new(now.astimezone(ZoneInfo("UTC"))) / len(requests))
    rate, peers_rate = 1 / median(ours), 1 / median(bare)
    aim = Aim("at least", 20_000, "figure")
    return [
        Figure("payments in batches, a second", rate, "/s", "bare SQL", peers_rate, 1 / ratio_of_turns(ours, bare), aim)
    ]


async def _singles(office: Office, peer: Peer, sizes: Sizes) -> list[Figure]:
    ours, bare = [], []
    for request in office.payments(sizes.accounts, SINGLES):
        now = office.later()
        started = time.perf_counter()
        receipt = await take_payment(office.gateway, request, BY)
        ours.append((time.perf_counter() - started) * 1e3)
        assert receipt.status == "posted"
        bare.append(peer.insert_what_is_new(now.astimezone(ZoneInfo("UTC"))) * 1e3)
    ratio = ratio_of_turns(ours, bare)
    return [
        Figure("single durable payment", median(ours), "ms", "bare commit", median(bare), ratio, Aim("at most", 1.5))
    ]


async def _view(office: Office, sizes: Sizes) -> Figure:
    entries = await office.store.read(lambda database: books.counts(database)[1])
    missing = max(0, sizes.entries - entries)
    for first in range(0, missing, 2 * BATCH):
        numbers = range(first, min(missing, first + 2 * BATCH), 2)
        await office.store.write(lambda database, numbers=numbers: _grow(database, office, numbers))  # type: ignore[misc]
    took = await office.store.read(lambda database: [_show(database, office.gateway, turn) for turn in range(SHOWN)])
    entries = await office.store.read(lambda database: books.counts(database)[1])
    what = f"account show over {entries:,} entries, in the process"
    return Figure(what, median(took) * 1e3, "ms", aim=Aim("at most", 50, "figure"))


def _grow(database: sqlite3.Connection, office: Office, numbers: Sequence[int]) -> None:
    now = office.clock.now()
    growth = [
        ledger.adjustment(
            account_id=account_of(number // 2 % office.accounts),
            day=FIRST_DAY,
            amount_cents=1,
            ref=f"growth:{number}",
            note="",
        )
        for number in numbers
    ]
    post_many(database, [(transaction, now) for transaction in growth], posted_at=now, by=BY)


def _show(database: sqlite3.Connection, gateway: Gateway, turn: int) -> float:
    around = gateway.circumstances()
    started = time.perf_counter()
    account_view(
        database,
        account_of(turn),
        gateway.rulebook,
        gateway.switchgear,
        gateway.tariffs,
        around,
        gateway.settings,
    )
    return time.perf_counter() - started
