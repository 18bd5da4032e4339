"""Correcting closed days: after a late fact they are found and rated again, and what changed is posted as adjustments.

The use of a day follows from the facts on record, and the charges of a month from the use of its days: so both come
out as if every fact had been there in time. A day's new revision says what it costs in full; the difference to the
revision before is one transaction that names the one it corrects (architecture sections 0.2 and 8). When an actual
read ends a gap that held estimates, this is the true-up: the use is spread evenly over the time between the reads that
enclose the gap, and tiers and periods come out as if the reads had been there.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from edge.core import ledger, rating
from edge.core.money import format_cents
from edge.core.tariffs import Tariff
from edge.core.usage import DayUse
from edge.day_use import DayFinder, differs
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_balance
from edge.store import books, customers, manual, records, usage
from edge.store.bills import SumsToDate
from edge.store.books import Posted
from edge.store.customers import Account
from edge.store.usage import ClosedDay


@dataclass
class BillToDate:
    """The use and the charges by kind of a bill's days so far. ``begins``: its first day.

    Days that follow on each other at the same prices are added up to one run, so that a bill is as quickly made on the
    month's last day as on its first, and comes out the same.
    """

    tariff: Tariff
    begins: date
    usage: list[rating.DayUsage] = field(default_factory=list)
    charged: dict[str, int] = field(default_factory=dict)

    @classmethod
    def resumed(cls, tariff: Tariff, begins: date, last_day: date, kept: SumsToDate | None) -> "BillToDate | None":
        """A bill as it was kept with ``last_day``; None where that is not kept, or other prices cut its runs by now."""
        if kept is None or kept.begins != begins or kept.last_day != last_day:
            return None
        if any(not rating.same_prices(tariff, run.day, run.day + timedelta(days=run.days - 1)) for run in kept.usage):
            return None
        return cls(tariff, begins, list(kept.usage), dict(kept.charged))

    def kept(self, last_day: date) -> SumsToDate:
        """The bill as it is kept, up to its last day."""
        return SumsToDate(self.begins, last_day, tuple(self.usage), self.charged)

    def add(self, use: DayUse, charges: Mapping[str, int]) -> None:
        """Take in a day with what it costs."""
        run = self.usage[-1] if self.usage else None
        one = rating.DayUsage(use.day, use.energy_wh, use.by_period)
        if run is not None and rating.same_prices(self.tariff, run.day, use.day) and _follows(run, use.day):
            self.usage[-1] = _longer(run, one)
        else:
            self.usage.append(one)
        for kind, cents in charges.items():
            self.charged[kind] = self.charged.get(kind, 0) + cents

    def charge(self, use: DayUse) -> dict[str, int]:
        """What the next day costs: the bill with it less what was charged so far; the day is taken in."""
        last = rating.DayUsage(use.day, use.energy_wh, use.by_period)
        charges = rating.charges_for_last_day(self.tariff, [*self.usage, last], self.charged)
        self.add(use, charges)
        return charges


def _follows(run: rating.DayUsage, day: date) -> bool:
    return run.day + timedelta(days=run.days) == day


def _longer(run: rating.DayUsage, day: rating.DayUsage) -> rating.DayUsage:
    """A run with the day that follows it."""
    periods = dict(run.by_period)
    for name, energy_wh in day.by_period:
        periods[name] = periods.get(name, 0) + energy_wh
    return rating.DayUsage(run.day, run.energy_wh + day.energy_wh, tuple(periods.items()), days=run.days + 1)


@dataclass(frozen=True, slots=True)
class Correction:
    """What a late fact changed on an account's books: its days, by how many Wh, and the charge in cents."""

    account_id: str
    first_day: date
    last_day: date
    days: int
    energy_wh: int
    charge_cents: int


@dataclass(frozen=True, slots=True)
class _Revision:
    before: ClosedDay
    after: ClosedDay
    posted: Posted | None


def recompute(
    database: sqlite3.Connection,
    gateway: Gateway,
    account_id: str,
    first_day: date,
    around: Circumstances,
    cause: str,
) -> Correction | None:
    """Inside the transaction of a late fact: find and rate an account's closed days from ``first_day`` on again.

    New revisions, corrections, one event ``days_trued_up``, the notice and the ruling follow where anything changed;
    otherwise None. ``cause`` says in words what the fact was. Days under any of the account's tariffs are rated by it,
    so this serves for a tariff change in the past too.
    """
    account = customers.account(database, account_id)
    last = usage.last_day(database, account_id)
    if account is None or last is None or last.day < first_day:
        return None
    revisions = _revise_days(database, gateway, account, max(first_day, account.first_day), last.day, around, cause)
    if not revisions:
        return None
    first, final = revisions[0], revisions[-1]
    correction = Correction(
        account_id,
        first.before.day,
        final.before.day,
        len(revisions),
        sum(one.after.energy_wh - one.before.energy_wh for one in revisions),
        sum(one.after.charge_cents - one.before.charge_cents for one in revisions),
    )
    records.add_event(database, "days_trued_up", around.now, _told(correction, cause))
    manual.unlist(database, account_id)  # what is known now may be enough for an estimate
    postings = [one.posted for one in revisions if one.posted is not None]
    if postings:
        tell_balance(database, gateway, account, replace(postings[-1], before_cents=postings[0].before_cents), around)
    gateway.rule(database, account_id, around)
    return correction


def _told(correction: Correction, cause: str) -> dict[str, Any]:
    return {
        "account_id": correction.account_id,
        "first_day": correction.first_day.isoformat(),
        "last_day": correction.last_day.isoformat(),
        "days": correction.days,
        "energy_wh": correction.energy_wh,
        "amount": format_cents(-correction.charge_cents),
        "cause": cause,
    }


def _revise_days(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    first_day: date,
    last_day: date,
    around: Circumstances,
    cause: str,
) -> list[_Revision]:
    finder = DayFinder(database, gateway, account)
    fresh: dict[date, DayUse] = {}
    previous_end_wh: int | None = None
    bill: BillToDate | None = None
    revisions = []
    for closed in usage.days(database, account.account_id, first_day.replace(day=1), last_day):
        tariff, begins = finder.bill_of(closed.day)
        if bill is None or bill.begins != begins:
            bill = BillToDate(tariff, begins)
        if closed.day < first_day:
            use = closed.use
            bill.add(use, closed.charges)
        else:
            use = finder.again(closed, fresh, previous_end_wh)
            charges = bill.charge(use)
            if differs(use, closed.use) or charges != closed.charges:
                revisions.append(_revise(database, finder, closed, use, charges, around, cause))
        fresh[closed.day] = use
        previous_end_wh = use.end_register_wh
    return revisions


def _revise(
    database: sqlite3.Connection,
    finder: DayFinder,
    closed: ClosedDay,
    use: DayUse,
    charges: dict[str, int],
    around: Circumstances,
    cause: str,
) -> _Revision:
    """A new revision of a day, and the posting of what changed for the customer; none where its charges stay."""
    account_id, revision = closed.account_id, closed.revision + 1
    net = {
        kind: cents
        for kind in [*closed.charges, *(kind for kind in charges if kind not in closed.charges)]
        if (cents := charges.get(kind, 0) - closed.charges.get(kind, 0))
    }
    posted = None
    if net:
        transaction = ledger.correction(
            account_id=account_id,
            day=around.now.astimezone(around.zone).date(),
            corrects=closed.day,
            charges=net,
            ref=f"correction:{account_id}:{closed.day.isoformat()}:{revision}",
            note=cause,
            reverses=closed.transaction_id,
        )
        posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by="correction")
    after = replace(
        closed,
        revision=revision,
        use=use,
        charges=charges,
        balance_cents=books.balance_cents(database, account_id) if posted is None else posted.balance_cents,
        transaction_id=closed.transaction_id if posted is None else posted.transaction_id,
        closed_at=around.now,
    )
    usage.add_day(database, after, finder.bounds(closed.day)[1])
    return _Revision(closed, after, posted)
