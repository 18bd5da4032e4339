"""Closing civil days: use between two midnights from register reads, rated, posted once, and decided upon.

A day closes when the register at its end is known: from the reads just before and after midnight. A meter that does not
answer keeps its days open, and an open yesterday blocks a disconnect; when it answers again the days between are closed
in order, their use laid evenly over the time, so that they sum to what the register counted.
"""

import sqlite3
from datetime import date, datetime, timedelta

import structlog

from edge.core import ledger, rating, vee
from edge.core.calendar import day_start, midnight_after
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance
from edge.store import books, customers, fleet
from edge.store.books import ClosedDay
from edge.store.customers import Account
from edge.store.fleet import StoredRead

log = structlog.get_logger()

BATCH = 200  # accounts closed in one transaction
LOOSE_BOUNDARY = timedelta(hours=2)  # reads further apart than this leave a day's use estimated


class DayCloser:
    """The task that closes days as soon as reads allow, in order, each once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def run(self) -> None:
        """Close what is due at every midnight, and again whenever reads come while something is still open."""
        gateway = self._gateway
        while True:
            gateway.reads_saved.clear()
            still_open = await self.close_due()
            gateway.made_progress("ledger")
            now = gateway.clock.now()
            if still_open:
                await gateway.clock.wait(now + timedelta(minutes=5), gateway.reads_saved)
            else:
                midnight = midnight_after(now, gateway.settings.zone)
                await gateway.clock.wait(min(midnight, now + timedelta(minutes=5)))

    async def close_due(self) -> int:
        """Close every day that can be closed; how many accounts still have an open past day."""
        gateway = self._gateway
        account_ids = await gateway.store.read(self._open_accounts)
        still_open = 0
        for start in range(0, len(account_ids), BATCH):
            batch = account_ids[start : start + BATCH]
            around = gateway.circumstances()
            still_open += await gateway.record(
                lambda database, batch=batch, around=around: self._close_batch(database, batch, around)  # type: ignore[misc]
            )
        return still_open

    def _open_accounts(self, database: sqlite3.Connection) -> list[str]:
        gateway = self._gateway
        today = gateway.clock.now().astimezone(gateway.settings.zone).date()
        return customers.accounts_open_before(database, today)

    def _close_batch(self, database: sqlite3.Connection, account_ids: list[str], around: Circumstances) -> int:
        still_open = 0
        today = around.now.astimezone(around.zone).date()
        for account_id in account_ids:
            account = customers.account(database, account_id)
            assert account is not None
            while (day := next_open_day(database, account)) < today:
                if not self._close(database, account, day, around):
                    still_open += 1
                    break
        return still_open

    def _close(self, database: sqlite3.Connection, account: Account, day: date, around: Circumstances) -> bool:
        end = day_start(day + timedelta(days=1), around.zone)
        before, after = fleet.reads_around(database, account.meter_id, end)
        if after is None:
            return False
        start_wh = _start_register(database, account, day)
        end_wh = _register_at(end, before, after)
        if start_wh is None or before is None:
            start_wh = end_wh  # the meter was first read after this day: nothing is known to have been used
        estimated = before is None or after.at - before.at > LOOSE_BOUNDARY
        limits = self._gateway.limits[account.meter_id]
        energy_wh = vee.register_delta(start_wh, end_wh, limits)
        closed = self._post(database, account, day, (start_wh, end_wh, energy_wh, estimated), around)
        self._gateway.rule(database, account.account_id, around)
        log.info("day closed", account=account.account_id, day=day.isoformat(), charge_cents=closed.charge_cents)
        return True

    def _post(
        self,
        database: sqlite3.Connection,
        account: Account,
        day: date,
        use: tuple[int, int, int, bool],
        around: Circumstances,
    ) -> ClosedDay:
        start_wh, end_wh, energy_wh, estimated = use
        charges = self._charges(database, account, day, energy_wh)
        total = sum(charges.values())
        transaction = ledger.charge(account_id=account.account_id, day=day, charges=charges, estimated=estimated)
        posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by="day close")
        closed = ClosedDay(
            account.account_id,
            day,
            account.meter_id,
            start_wh,
            end_wh,
            energy_wh,
            estimated,
            charges,
            total,
            posted.balance_cents,
            around.now,
        )
        books.add_day(database, closed)
        tell_balance(database, account, posted, around)
        return closed

    def _charges(self, database: sqlite3.Connection, account: Account, day: date, energy_wh: int) -> dict[str, int]:
        """The bill of the month to date less what was charged so far (architecture section 0.2), by kind."""
        month_start = day.replace(day=1)
        earlier = books.days(database, account.account_id, month_start, day - timedelta(days=1))
        usage = [rating.DayUsage(past.day, past.energy_wh) for past in earlier]
        usage.append(rating.DayUsage(day, energy_wh))
        charged: dict[str, int] = {}
        for past in earlier:
            for kind, cents in past.charges.items():
                charged[kind] = charged.get(kind, 0) + cents
        return rating.charges_for_last_day(self._gateway.tariffs[account.tariff], usage, charged)


def next_open_day(database: sqlite3.Connection, account: Account) -> date:
    """The first civil day of an account that is not on the books."""
    closed = books.last_day(database, account.account_id)
    return account.first_day if closed is None else closed.day + timedelta(days=1)


def _start_register(database: sqlite3.Connection, account: Account, day: date) -> int | None:
    """The register at the day's beginning: where the day before ended, or at the instant of enrolment."""
    if day != account.first_day:
        closed = books.last_day(database, account.account_id)
        assert closed is not None
        return closed.end_register_wh
    before, after = fleet.reads_around(database, account.meter_id, account.enrolled_at)
    if before is None and after is None:
        return None
    return _register_at(account.enrolled_at, before, after) if after else None


def _register_at(instant: datetime, before: StoredRead | None, after: StoredRead) -> int:
    if before is None:
        return after.energy_wh
    return vee.register_at(
        instant, vee.RegisterRead(before.at, before.energy_wh), vee.RegisterRead(after.at, after.energy_wh)
    )
