"""Closing civil days: use between two midnights, rated, posted once, and decided upon.

A day closes when the register at its end is known: from the reads just before and after midnight. A meter that does
not answer in time has its day closed on an estimate where the rules allow one (domain-rules R59, R62), marked as such;
it blocks a disconnect until a read takes its place (C21). Where no rule estimates, the day stays open, on a list for a
person. When the meter answers again, the days that rested on estimates are trued up (``corrections``), and those that
stayed open are closed in order, their use laid evenly over the time, so that they sum to what the register counted.
"""

import sqlite3
from datetime import date, timedelta

import structlog

from edge.core import ledger, vee
from edge.core.usage import DayUse
from edge.corrections import BillToDate, recompute
from edge.day_use import WHY, DayFinder
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance
from edge.store import books, customers, fleet, manual, records, usage
from edge.store.customers import Account
from edge.store.manual import ManualDay, Why
from edge.store.usage import ClosedDay

log = structlog.get_logger()

BATCH = 200  # accounts closed in one transaction


class DayCloser:
    """The task that closes days as soon as reads allow, in order, each once, and trues up what rested on estimates."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._pruned_on: date | None = None

    async def run(self) -> None:
        """Close what is due at every midnight, and again whenever reads come while something is still open."""
        gateway = self._gateway
        while True:
            gateway.reads_saved.clear()
            still_open = await self.close_due()
            await self._forget_old_reads()
            gateway.made_progress("ledger")
            now = gateway.clock.now()
            if still_open:
                await gateway.clock.wait(now + timedelta(minutes=5), gateway.reads_saved)
            else:
                midnight = vee.day_bounds(now.astimezone(gateway.settings.zone).date(), gateway.settings.zone)[1]
                await gateway.clock.wait(min(midnight, now + timedelta(minutes=5)))

    async def _forget_old_reads(self) -> None:
        """Once a day, drop register reads that are older than the site keeps them; closed days keep their registers."""
        gateway = self._gateway
        today = gateway.clock.now().astimezone(gateway.settings.zone).date()
        if self._pruned_on == today or not gateway.days_may_close():
            return
        self._pruned_on = today
        before = gateway.clock.now() - timedelta(days=gateway.settings.site.polling.keep_readings_days)
        await gateway.store.write(lambda database: fleet.prune_reads(database, before))

    async def close_due(self) -> int:
        """True up and close every day that can be; how many accounts still have an open past day.

        None while the clock is in doubt: a day that has not passed must not be called over, nor reads be forgotten.
        """
        gateway = self._gateway
        if not gateway.days_may_close():
            return 1
        known_after_all, account_ids = await gateway.store.read(self._accounts)
        await self._true_up(known_after_all)
        still_open = 0
        for start in range(0, len(account_ids), BATCH):
            batch = account_ids[start : start + BATCH]
            around = gateway.circumstances()
            still_open += await gateway.record(
                lambda database, batch=batch, around=around: self._close_batch(database, batch, around)  # type: ignore[misc]
            )
        return still_open

    def _accounts(self, database: sqlite3.Connection) -> tuple[list[str], list[str]]:
        """Accounts whose estimates a read overtook, and those with an open past day."""
        gateway = self._gateway
        today = gateway.clock.now().astimezone(gateway.settings.zone).date()
        return usage.known_after_all(database), customers.accounts_open_before(database, today)

    async def _true_up(self, account_ids: list[str]) -> None:
        gateway = self._gateway
        for account_id in account_ids:
            around = gateway.circumstances()

            def work(
                database: sqlite3.Connection, account_id: str = account_id, around: Circumstances = around
            ) -> None:
                first = usage.first_estimated_day(database, account_id)
                if first is not None:
                    recompute(database, gateway, account_id, first, around, "an actual read after estimates")

            await gateway.record(work)

    def _close_batch(self, database: sqlite3.Connection, account_ids: list[str], around: Circumstances) -> int:
        still_open = 0
        listed = manual.listed_accounts(database)
        today = around.now.astimezone(around.zone).date()
        for account_id in account_ids:
            account = customers.account(database, account_id)
            assert account is not None
            end = today if account.last_day is None else min(today, account.last_day + timedelta(days=1))
            closing = _Closing(database, self._gateway, account, around)
            while closing.next_day < end:
                if not closing.close():
                    still_open += 1
                    break
                if account_id in listed:
                    manual.unlist(database, account_id)
                    listed.remove(account_id)
        return still_open


class _Closing:
    """The open days of one account, closed in order inside one transaction."""

    def __init__(self, database: sqlite3.Connection, gateway: Gateway, account: Account, around: Circumstances) -> None:
        self._database = database
        self._gateway = gateway
        self._account = account
        self._around = around
        self._finder = DayFinder(database, gateway, account)
        self._previous = usage.last_day(database, account.account_id)
        self._bill: BillToDate | None = None

    @property
    def next_day(self) -> date:
        """The first civil day of the account that is not on the books."""
        return self._account.first_day if self._previous is None else self._previous.day + timedelta(days=1)

    def close(self) -> bool:
        """Close the next day; whether that was possible."""
        day = self.next_day
        previous_end_wh = None if self._previous is None else self._previous.end_register_wh
        use = self._finder.known(day, previous_end_wh)
        if use is None:
            use = self._estimate(day, previous_end_wh)
            if use is None:
                return False
        self._post(use)
        return True

    def _estimate(self, day: date, previous_end_wh: int | None) -> DayUse | None:
        _, end = self._finder.bounds(day)
        if self._around.now < end + timedelta(hours=self._gateway.settings.site.estimation.after_hours):
            return None
        found = self._finder.estimate(day, previous_end_wh, {})
        if isinstance(found, DayUse):
            return found
        self._list(day, found)
        return None

    def _list(self, day: date, why: Why) -> None:
        """Leave a day to a person; the head end is told once that no more estimates follow."""
        account_id, now = self._account.account_id, self._around.now
        listed = ManualDay(account_id, day, why, f"{WHY[why]}: {self._finder.efforts()}", now)
        if manual.list_day(self._database, listed):
            kind = "estimation_ended" if why == "too_long" else "day_needs_a_person"
            data = {"account_id": account_id, "day": day.isoformat(), "why": why, "reason": listed.reason}
            records.add_event(self._database, kind, now, data)

    def _post(self, use: DayUse) -> None:
        database, account, now = self._database, self._account, self._around.now
        charges = self._bill_to_date(use.day).charge(use)
        estimated = use.quality.value == "estimated"
        transaction = ledger.charge(
            account_id=account.account_id, day=use.day, charges=charges, estimated=estimated, note=use.reason
        )
        posted = books.post(database, transaction, posted_at=now, received_at=now, by="day close")
        closed = ClosedDay(
            account.account_id,
            1,
            account.meter_id,
            use,
            charges,
            posted.balance_cents,
            posted.transaction_id,
            now,
        )
        usage.add_day(database, closed, self._finder.bounds(use.day)[1])
        self._previous = closed
        if estimated:
            self._tell_estimated(closed)
        if account.active:
            tell_balance(database, self._gateway, account, posted, self._around)
        self._gateway.rule(database, account.account_id, self._around)
        log.info("day closed", account=account.account_id, day=use.day.isoformat(), charge_cents=closed.charge_cents)

    def _bill_to_date(self, day: date) -> BillToDate:
        """The bill that a day belongs to, with what is on the books of it (architecture section 0.2)."""
        tariff, begins = self._finder.bill_of(day)
        if self._bill is None or self._bill.begins != begins:
            self._bill = BillToDate(tariff, begins)
            for earlier in usage.days(self._database, self._account.account_id, begins, day - timedelta(days=1)):
                self._bill.add(earlier.use, earlier.charges)
        return self._bill

    def _tell_estimated(self, closed: ClosedDay) -> None:
        use = closed.use
        data = {
            "account_id": closed.account_id,
            "day": use.day.isoformat(),
            "energy_wh": use.energy_wh,
            "method": use.method,
            "days_used": [used.isoformat() for used in use.days_used],
            "reason": use.reason,
        }
        records.add_event(self._database, "day_estimated", self._around.now, data)
