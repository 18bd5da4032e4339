"""Closing civil days: use between two midnights, rated, posted once, and decided upon.

A day closes when the register at its end is known: from the reads just before and after midnight. A meter that does
not answer in time has its day closed on an estimate where the rules allow one (domain-rules R59, R62), marked as such;
it blocks a disconnect until a read takes its place (C21). Where no rule estimates, the day stays open, on a list for a
person. When the meter answers again, the days that rested on estimates are trued up (``corrections``), and those that
stayed open are closed in order, their use laid evenly over the time, so that they sum to what the register counted.
"""

import sqlite3
from datetime import date, datetime, timedelta

import structlog

from edge.core import ledger, vee
from edge.core.usage import DayQuality, DayUse, Line
from edge.corrections import BillToDate, recompute
from edge.day_use import WHY, DayFinder
from edge.facts import Circumstances, register_lines
from edge.gateway import Gateway
from edge.notices import tell_balances
from edge.store import bills, customers, fleet, manual, provisional, records, usage
from edge.store.bills import SumsToDate
from edge.store.customers import Account
from edge.store.manual import ManualDay, Why
from edge.store.posting import Posted, post_many
from edge.store.usage import ClosedDay

log = structlog.get_logger()

BATCH = 500  # accounts closed in one transaction: fewer write the same pages more often, more let a payment wait


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

        Not while the clock is in doubt: a day that has not passed must not be called over, nor reads be forgotten.
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
        """Accounts with provisional days that a read overtook, and those with an open past day."""
        gateway = self._gateway
        today = gateway.clock.now().astimezone(gateway.settings.zone).date()
        return provisional.known_after_all(database), customers.accounts_open_before(database, today)

    async def _true_up(self, account_ids: list[str]) -> None:
        gateway = self._gateway
        for account_id in account_ids:
            around = gateway.circumstances()

            def work(
                database: sqlite3.Connection, account_id: str = account_id, around: Circumstances = around
            ) -> None:
                first = provisional.first_day(database, account_id)
                if first is not None:
                    recompute(database, gateway, account_id, first, around, "an actual read after days without")

            await gateway.record(work)

    def _close_batch(self, database: sqlite3.Connection, account_ids: list[str], around: Circumstances) -> int:
        """Close the open days of some accounts, the oldest of each first; how many accounts keep one."""
        closings = _open_closings(database, self._gateway, account_ids, around)
        still_open = closed_days = 0
        while closings:
            closed = _close_next(database, self._gateway, closings, around)
            still_open += len(closings) - len(closed)
            closed_days += len(closed)
            closings = [closing for closing in closed if closing.is_open]
        if closed_days:
            log.info("days closed", accounts=len(account_ids), days=closed_days, still_open=still_open)
        return still_open


def _open_closings(
    database: sqlite3.Connection, gateway: Gateway, account_ids: list[str], around: Circumstances
) -> "list[_Closing]":
    accounts = customers.accounts_of(database, account_ids)
    tariffs = customers.tariff_spans_of(database, accounts.values())
    ends = usage.last_ends(database, account_ids)
    edited = usage.with_edits(database, account_ids)
    listed = manual.listed_accounts(database)
    sums = bills.sums_to_date(database, account_ids)
    closings = []
    for account_id in account_ids:
        finder = DayFinder(database, gateway, accounts[account_id], tariffs[account_id])
        kept = sums.get(account_id)
        closing = _Closing(database, gateway, accounts[account_id], around, finder, ends.get(account_id), kept)
        closing.edited = account_id in edited
        closing.listed = account_id in listed
        if closing.is_open:
            closings.append(closing)
    return closings


def _close_next(
    database: sqlite3.Connection, gateway: Gateway, closings: "list[_Closing]", around: Circumstances
) -> "list[_Closing]":
    """Close the next open day of each account where that can be done: posted, told and decided upon together."""
    now = around.now
    lines = _registers(database, closings)
    ready = [
        (closing, use) for closing in closings if (use := closing.use(lines[closing.account.account_id])) is not None
    ]
    charged = [(closing, use, *closing.charge(use)) for closing, use in ready]
    posted = post_many(database, [(transaction, now) for *_, transaction in charged], posted_at=now, by="day close")
    days = [
        (closing.closed(use, charges, entered), closing.finder.bounds(use.day)[1])
        for (closing, use, charges, _), entered in zip(charged, posted, strict=True)
    ]
    usage.add_days(database, days)
    bills.keep_sums(database, {closing.account.account_id: closing.kept() for closing, _ in ready})
    for closed, _ in days:
        if closed.estimated:
            _tell_estimated(database, closed, now)
    listed = manual.listed_accounts(database)
    for closing, _ in ready:
        if closing.account.account_id in listed:
            manual.unlist(database, closing.account.account_id)
    told = [(closing.account, entered) for (closing, _), entered in zip(ready, posted, strict=True)]
    tell_balances(database, gateway, told, around)
    gateway.rule_many(database, [closing.account.account_id for closing, _ in ready], around)
    return [closing for closing, _ in ready]


def _registers(database: sqlite3.Connection, closings: "list[_Closing]") -> dict[str, Line]:
    """By account the register around its next day; nearly all have the same midnights, and are looked up together."""
    alike: dict[tuple[datetime, ...], list[_Closing]] = {}
    for closing in closings:
        alike.setdefault(closing.finder.instants(closing.next_day), []).append(closing)
    found: dict[str, Line] = {}
    for instants, group in alike.items():
        limits = {closing.account.meter_id: closing.finder.limits for closing in group}
        lines = register_lines(database, limits, instants)
        found |= {closing.account.account_id: lines[closing.account.meter_id] for closing in group}
    return found


class _Closing:
    """One account's open days, closed in order inside one transaction; it knows where the account's bill stands."""

    edited = False  # whether a person said the use of any day of the account
    listed = False  # whether its next day waits for a person: no rule estimates it, now or later

    def __init__(
        self,
        database: sqlite3.Connection,
        gateway: Gateway,
        account: Account,
        around: Circumstances,
        finder: DayFinder,
        previous: tuple[date, int] | None,
        kept: SumsToDate | None,
    ) -> None:
        self._database = database
        self._gateway = gateway
        self.account = account
        self._around = around
        self.finder = finder
        self._previous = previous  # the last closed day, and the register at its end
        self._kept = kept
        self._bill: BillToDate | None = None
        today = around.now.astimezone(around.zone).date()
        self._end = today if account.last_day is None else min(today, account.last_day + timedelta(days=1))

    @property
    def next_day(self) -> date:
        """The first civil day of the account that is not on the books."""
        return self.account.first_day if self._previous is None else self._previous[0] + timedelta(days=1)

    @property
    def is_open(self) -> bool:
        """Whether that day is over, and the account's to pay."""
        return self.next_day < self._end

    def use(self, registers: Line) -> DayUse | None:
        """The use of the next day; None where it cannot be closed yet."""
        day = self.next_day
        previous_end_wh = None if self._previous is None else self._previous[1]
        use = self.finder.known(day, previous_end_wh, registers, edits=self.edited)
        return self._estimate(day, previous_end_wh) if use is None else use

    def charge(self, use: DayUse) -> tuple[dict[str, int], ledger.Transaction]:
        """What the next day costs by kind, and the transaction that charges it."""
        charges = self._bill_to_date(use.day).charge(use)
        estimated = use.quality is DayQuality.ESTIMATED
        transaction = ledger.charge(
            account_id=self.account.account_id, day=use.day, charges=charges, estimated=estimated, note=use.reason
        )
        return charges, transaction

    def closed(self, use: DayUse, charges: dict[str, int], posted: Posted) -> ClosedDay:
        """The next day as it goes on the books; the one after it is the next from here on."""
        self._previous = use.day, use.end_register_wh
        self.listed = False
        account, now = self.account, self._around.now
        return ClosedDay(
            account.account_id, 1, account.meter_id, use, charges, posted.balance_cents, posted.transaction_id, now
        )

    def kept(self) -> SumsToDate:
        """The bill so far, to be kept."""
        assert self._bill is not None
        assert self._previous is not None
        return self._bill.kept(self._previous[0])

    def _bill_to_date(self, day: date) -> BillToDate:
        """The bill that a day belongs to, with what is on the books of it (architecture section 0.2)."""
        tariff, begins = self.finder.bill_of(day)
        if self._bill is None or self._bill.begins != begins:
            before = day - timedelta(days=1)
            self._bill = BillToDate.resumed(tariff, begins, before, self._kept)
            if self._bill is None:
                self._bill = BillToDate(tariff, begins)
                for earlier in usage.days(self._database, self.account.account_id, begins, before):
                    self._bill.add(earlier.use, earlier.charges)
        return self._bill

    def _estimate(self, day: date, previous_end_wh: int | None) -> DayUse | None:
        _, end = self.finder.bounds(day)
        if self.listed or self._around.now < end + timedelta(hours=self._gateway.settings.site.estimation.after_hours):
            return None
        found = self.finder.estimate(day, previous_end_wh, {})
        if isinstance(found, DayUse):
            return found
        self._list(day, found)
        return None

    def _list(self, day: date, why: Why) -> None:
        """Leave a day to a person; the head end is told once that no more estimates follow."""
        account_id, now = self.account.account_id, self._around.now
        listed = ManualDay(account_id, day, why, f"{WHY[why]}: {self.finder.efforts()}", now)
        if manual.list_day(self._database, listed):
            kind = "estimation_ended" if why == "too_long" else "day_needs_a_person"
            data = {"account_id": account_id, "day": day.isoformat(), "why": why, "reason": listed.reason}
            records.add_event(self._database, kind, now, data)


def _tell_estimated(database: sqlite3.Connection, closed: ClosedDay, now: datetime) -> None:
    use = closed.use
    data = {
        "account_id": closed.account_id,
        "day": use.day.isoformat(),
        "energy_wh": use.energy_wh,
        "method": use.method,
        "days_used": [used.isoformat() for used in use.days_used],
        "reason": use.reason,
    }
    records.add_event(database, "day_estimated", now, data)
