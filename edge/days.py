"""Closing civil days: use between two midnights from register reads, rated, posted once, and decided upon.

A day closes when the register at its end is known: from the reads just before and after midnight. A meter that does not
answer keeps its days open, and an open yesterday blocks a disconnect; when it answers again the days between are closed
in order, their use laid evenly over the time, so that they sum to what the register counted.
"""

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import structlog

from edge.core import ledger, rating, vee
from edge.core.tariffs import period_spans
from edge.facts import Circumstances, month_so_far
from edge.gateway import Gateway
from edge.notices import tell_balance
from edge.store import books, customers, fleet
from edge.store.books import ClosedDay
from edge.store.customers import Account

log = structlog.get_logger()

BATCH = 200  # accounts closed in one transaction
LOOSE_BOUNDARY = timedelta(hours=2)  # reads further apart than this leave a day's use estimated


class DayCloser:
    """The task that closes days as soon as reads allow, in order, each once."""

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
        """Close every day that can be closed; how many accounts still have an open past day.

        None while the clock is in doubt: a day that has not passed must not be called over, nor reads be forgotten.
        """
        gateway = self._gateway
        if not gateway.days_may_close():
            return 1
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
            end = today if account.last_day is None else min(today, account.last_day + timedelta(days=1))
            while (day := next_open_day(database, account)) < end:
                if not self._close(database, account, day, around):
                    still_open += 1
                    break
        return still_open

    def _close(self, database: sqlite3.Connection, account: Account, day: date, around: Circumstances) -> bool:
        use = self._use(database, account, day, around)
        if use is None:
            return False
        charges = self._charges(database, account, use)
        transaction = ledger.charge(account_id=account.account_id, day=day, charges=charges, estimated=use.estimated)
        posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by="day close")
        closed = ClosedDay(
            account_id=account.account_id,
            day=day,
            meter_id=account.meter_id,
            start_register_wh=use.start_wh,
            end_register_wh=use.end_wh,
            energy_wh=use.energy_wh,
            estimated=use.estimated,
            by_period=use.by_period,
            charges=charges,
            charge_cents=sum(charges.values()),
            balance_cents=posted.balance_cents,
            closed_at=around.now,
        )
        books.add_day(database, closed)
        if account.active:
            tell_balance(database, self._gateway, account, posted, around)
        self._gateway.rule(database, account.account_id, around)
        log.info("day closed", account=account.account_id, day=day.isoformat(), charge_cents=closed.charge_cents)
        return True

    def _use(
        self, database: sqlite3.Connection, account: Account, day: date, around: Circumstances
    ) -> "_DayUse | None":
        """What the meter counted on a day; None while no read at or after its end has come."""
        registers = _Registers(database, account.meter_id, self._gateway.limits[account.meter_id])
        start, end = vee.day_bounds(day, around.zone)
        end_wh = registers.at(end)
        if end_wh is None:
            return None
        if day == account.first_day:
            start = account.enrolled_at
            start_wh = registers.at(start) if registers.at(start) is not None else end_wh
        else:
            closed = books.last_day(database, account.account_id)
            assert closed is not None
            start_wh = closed.end_register_wh
        assert start_wh is not None
        tariff = self._gateway.tariffs[customers.tariff_of(database, account.account_id, day)]
        periods = [
            (span.period, energy)
            for span in (period_spans(tariff, day, around.zone) if tariff.time_of_use else ())
            if span.period and (energy := registers.between(max(span.start, start), span.end)) is not None
        ]
        energy_wh = vee.register_delta(start_wh, end_wh, registers.limits)
        return _DayUse(day, start_wh, end_wh, energy_wh, registers.loose, _summing_to(energy_wh, periods))

    def _charges(self, database: sqlite3.Connection, account: Account, use: "_DayUse") -> dict[str, int]:
        """The bill of the month to date less what was charged so far (architecture section 0.2), by kind."""
        span = customers.tariff_span(database, account, use.day)
        first = max(use.day.replace(day=1), span.first_day)  # a tariff that began inside the month has its own bill
        earlier = books.days(database, account.account_id, first, use.day - timedelta(days=1))
        usage, charged = month_so_far(earlier)
        usage.append(rating.DayUsage(use.day, use.energy_wh, use.by_period))
        return rating.charges_for_last_day(self._gateway.tariffs[span.tariff], usage, charged)


@dataclass(frozen=True, slots=True)
class _DayUse:
    day: date
    start_wh: int
    end_wh: int
    energy_wh: int
    estimated: bool
    by_period: tuple[tuple[str, int], ...]


class _Registers:
    """A meter's register at instants, from the accepted reads around them; ``loose``: some lay far apart."""

    def __init__(self, database: sqlite3.Connection, meter_id: str, limits: vee.Limits) -> None:
        self._database = database
        self._meter_id = meter_id
        self.limits = limits
        self.loose = False

    def at(self, instant: datetime) -> int | None:
        before, after = fleet.reads_around(self._database, self._meter_id, instant)
        if after is None:
            return None
        if before is None:
            return after.energy_wh  # the meter was first read after this instant: nothing is known to have been used
        self.loose = self.loose or after.at - before.at > LOOSE_BOUNDARY
        return vee.register_at(
            instant,
            vee.RegisterRead(before.at, before.energy_wh),
            vee.RegisterRead(after.at, after.energy_wh),
            self.limits,
        )

    def between(self, start: datetime, end: datetime) -> int | None:
        if end <= start:
            return 0
        start_wh, end_wh = self.at(start), self.at(end)
        if start_wh is None or end_wh is None:
            return None
        return vee.register_delta(start_wh, end_wh, self.limits)


def _summing_to(energy_wh: int, periods: list[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The use by period, each period once; what rounding leaves over goes to the last period of the day."""
    sums: dict[str, int] = {}
    for period, energy in periods:
        sums[period] = sums.get(period, 0) + energy
    if sums:
        sums[periods[-1][0]] += energy_wh - sum(sums.values())
    return tuple(sums.items())


def next_open_day(database: sqlite3.Connection, account: Account) -> date:
    """The first civil day of an account that is not on the books."""
    closed = books.last_day(database, account.account_id)
    return account.first_day if closed is None else closed.day + timedelta(days=1)
