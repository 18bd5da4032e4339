"""Random account lives on the real store and the real functions: whatever happens and whenever it arrives, nothing is
lost or made up, and the customer pays to the cent what the ordinary bills of the same use say.

Each life is lived twice: once every fact arrives as it happens and days are closed every night, once payments, returns,
charges and reads arrive late and in any order, and days are closed now and then. ``AMI_EDGE_SOAK=50`` lives more.
"""

import os
import sqlite3
import tomllib
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from edge.adjustments import ItemRequest, charge, credit
from edge.catalog import Catalog, load_catalog
from edge.clock_watch import ClockWatch
from edge.core.money import format_cents
from edge.daemon import Ports, build_gateway
from edge.days import DayCloser
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.leaving import unenroll
from edge.metering import EditRequest, ExchangeRequest, edit_day, exchange_meter, report_read
from edge.payments import PaymentRequest, take_payment
from edge.refusals import RequestRefused
from edge.returned_payments import return_payment
from edge.settings import load_settings
from edge.settlement import refund
from edge.store import books, fleet, usage
from edge.store.engine import Store
from edge.tariffs import parse_tariff
from edge.terms import change_tariff
from tests.reference.billing import Biller
from tests.reference.lives import (
    DAY,
    HOUR,
    ZONE,
    Edit,
    Exchange,
    Item,
    Life,
    Payment,
    Reported,
    TariffOrder,
    bills_of,
    days_of,
    midnight,
    random_life,
    standing_of,
    tariff_on,
    worth_of,
)
from tests.reference.random_tariffs import random_tariff
from tests.stand_ins import SettableClock, SilentHeadEnd

SOAK = int(os.environ.get("AMI_EDGE_SOAK", "1"))
LIVES = 12  # at one gateway
LINE = '[[lines]]\nid = "bus"\ntransport = "modbus-tcp"\nhost = "127.0.0.1"\n'
METER = '[[meters]]\nid = "M-{0}"\nprofile = "hiking-dds238-2-znsr"\nline = "bus"\nunit = {0}\nct_ratio = {1}\n'
MODULO = 10 * 2**32  # the first Wh that those meters cannot show
CATALOG: list[Catalog] = []  # what ships, read once
SHIPPED = Path(__file__).parents[2] / "config" / "tariffs"
TIMES = (  # first day, days: over the ends of months, both changes of the clocks, 29 February, a season's first day
    *((date(2026, 10, 20), 24), (date(2026, 2, 20), 24), (date(2028, 2, 24), 20), (date(2026, 5, 25), 16)),
    *((date(2026, 12, 28), 34), (date(2026, 9, 25), 12)),
)
SAID, NIGHT = 7, 8  # of what happens at one instant, this comes last: what is said of registers, the day close
Happens = Callable[[Gateway], Coroutine[Any, Any, Any]]
Happening = tuple[datetime, int, Happens]


@dataclass(frozen=True)
class Outcome:
    """What an account comes to: its days as they are billed in the end, its balance and its debt."""

    days: dict[date, tuple[int, dict[str, int], dict[str, int]]]  # Wh, by period, charges by kind
    rests_on: dict[date, str]
    charged: int
    balance: int
    debt: int


class Site:
    """The tariffs and lives of one gateway, which can be lived any number of times."""

    def __init__(self, folder: Path, seed: str, first: date, days: int) -> None:
        self.folder, self.end, self.chance = folder, first + timedelta(days=days), Random(seed)
        texts = {path.stem: path.read_text() for path in SHIPPED.glob("*.toml")}
        for number, forms in enumerate((("tiers",), ("hours",), ("flat", "tiers", "hours"))):
            texts[f"random-{number}"] = random_tariff(self.chance, first + timedelta(days=days // 2), forms)
        self.billers = {name: Biller(text, ZONE) for name, text in texts.items()}
        self.tariffs = {name: parse_tariff(tomllib.loads(text), f"{name}.toml") for name, text in texts.items()}
        self._exchange_told: dict[str, datetime] = {}
        names = sorted(texts)
        self.lives = [random_life(self.chance, n, first, self.end, names, MODULO) for n in range(1, LIVES + 1)]

    async def live(self, name: str, happenings: list[Happening], closes: list[datetime]) -> dict[str, Outcome]:
        """Let everything happen at its instant; the outcome of each account."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "edge.toml").write_text(
            LINE + "".join(METER.format(life.number, life.multiplier) for life in self.lives)
        )
        settings = load_settings(folder / "edge.toml", folder)
        if not CATALOG:
            CATALOG.append(load_catalog(settings))
        catalog = Catalog(CATALOG[0].rulebook, self.tariffs, CATALOG[0].profiles)
        store = Store(settings.database, threaded=False, durable=False)
        clock = SettableClock(self.lives[0].reads[0][0])
        gateway = build_gateway(settings, catalog, Ports(clock, store, {}, SilentHeadEnd()))
        await ClockWatch(gateway).look()
        assert {limits.modulo_wh for limits in gateway.limits.values()} == {MODULO}
        self._polled_at = datetime.min.replace(tzinfo=UTC)
        nights: list[Happening] = [(at, NIGHT, closed) for at in closes]
        try:
            for at, kind, happens in sorted([*happenings, *nights], key=lambda each: each[:2]):
                clock.instant = at
                if kind >= SAID:
                    await self._polled(gateway)
                await happens(gateway)
            found = {life.account_id: await store.read(partial(outcome, life=life)) for life in self.lives}
            for life in self.lives:
                if life.leaves_at is not None:
                    await settled(gateway, life, found[life.account_id])
            assert await store.read(faults) == []
            return found
        finally:
            store.close()

    async def _polled(self, gateway: Gateway) -> None:
        """What the meters have shown since the last time comes."""
        now = gateway.clock.now()
        reads = [
            self._read(life, at, shown, now)
            for life in self.lives
            for at, shown, _ in life.reads
            if self._polled_at < at <= now
        ]
        self._polled_at = now
        await gateway.store.write(lambda database: fleet.save_reads(database, reads))

    def _read(self, life: Life, at: datetime, shown: int, now: datetime) -> fleet.StoredRead:
        """A read as validation takes it: another meter's register is refused until its exchange is told."""
        foreign = self._foreign(life, at) and now < self._exchange_told[life.meter_id]
        flags = ("backwards",) if foreign else ()
        return fleet.StoredRead(life.meter_id, at, shown, None, "connected", not foreign, flags)

    @staticmethod
    def _foreign(life: Life, at: datetime) -> bool:
        """Whether another meter hung there by then."""
        return life.exchange is not None and life.exchange.at <= at

    def happenings(self, chance: Random, late: bool) -> list[Happening]:
        """All facts with the instants at which they arrive; ``late``: those that may come late do, in any order."""
        found: list[Happening] = []
        for life in self.lives:
            found.append((life.enrolled_at, 0, partial(enrolled, life=life)))
            if life.leaves_at is not None:
                found.append((life.leaves_at, 2, partial(left, life=life)))
            found += [(order.at, 1, partial(ordered, life=life, order=order)) for order in life.orders]
            for payment in life.payments:
                arrives = self._arrival(chance, payment.made_at, late)
                found.append((arrives, 3, partial(paid, life=life, payment=payment)))
                for _ in range(chance.choice((0, 0, 1, 2))):
                    again = self._arrival(chance, arrives, late)
                    found.append((again, 4, partial(paid_again, life=life, payment=payment)))
                if payment.fee is not None:
                    returned = self._arrival(chance, payment.made_at if late else arrives, late)
                    found.append((returned, 5, partial(returned_by_the_bank, payment=payment)))
            found += self._late_facts(chance, life, late)
            for item in life.items:
                found.append((self._arrival(chance, item.at, late), 6, partial(adjusted, life=life, item=item)))
        return found

    def _late_facts(self, chance: Random, life: Life, late: bool) -> list[Happening]:
        """What people say of the register: told at once, or long after."""
        found: list[Happening] = []
        if life.exchange is not None:
            self._exchange_told[life.meter_id] = told = self._arrival(chance, life.exchange.at, late)
            found.append((told, SAID, partial(exchanged, life=life, exchange=life.exchange)))
        for read in life.reported:  # those of a new meter once it is known: before that, they are refused
            known = max(read.at, self._exchange_told[life.meter_id]) if self._foreign(life, read.at) else read.at
            found.append((self._arrival(chance, known, late), SAID, partial(reported, life=life, read=read)))
        for edit in life.edits.values():
            known = midnight(edit.day + DAY)
            found.append((self._arrival(chance, known, late), SAID, partial(edited, life=life, edit=edit)))
        return found

    def _arrival(self, chance: Random, at: datetime, late: bool) -> datetime:
        rest = midnight(self.end) + 2 * HOUR - at
        return at + timedelta(seconds=chance.randrange(1 + (int(rest.total_seconds()) if late else 600)))


async def closed(gateway: Gateway) -> None:
    """The daemon's own task works."""
    await DayCloser(gateway).close_due()


async def enrolled(gateway: Gateway, life: Life) -> None:
    """The account is taken over from a former head end."""
    cells = {
        "account_id": life.account_id,
        "meter_id": life.meter_id,
        "program": life.programme,
        "tariff": life.tariff,
        "opening_balance": format_cents(life.opening),
        "arrears": format_cents(life.debt),
        "takeover": "yes",
    }
    (done,) = await enroll(gateway, [Row("row", cells)], "test")
    assert done.accepted, done.reason


async def left(gateway: Gateway, life: Life) -> None:
    """The customer leaves the program."""
    await unenroll(gateway, life.account_id, "moves", "test")


async def ordered(gateway: Gateway, life: Life, order: TariffOrder) -> None:
    """Another tariff is ordered."""
    await change_tariff(gateway, life.account_id, order.tariff, order.first_day, "test")


def request_of(life: Life, payment: Payment) -> PaymentRequest:
    """The payment as somebody reports it."""
    return PaymentRequest(
        payment.payment_id, life.account_id, payment.cents, payment.made_at, "web", payment.source, "web"
    )


async def settled(gateway: Gateway, life: Life, before: Outcome) -> None:
    """The final bill is settled, once: credit pays old debt and is refunded, what lacks becomes debt."""
    if before.balance != 0:
        done = await refund(gateway, life.account_id, f"R-{life.number}", "check", "test")
        assert done.refund.settlement.refunded_cents == max(0, before.balance - before.debt)
    after = await gateway.store.read(partial(outcome, life=life))
    assert (after.balance, after.debt) == (0, max(0, before.debt - before.balance))
    with pytest.raises(RequestRefused, match="nothing is left to settle"):
        await refund(gateway, life.account_id, f"R-{life.number}-again", "check", "test")


async def paid(gateway: Gateway, life: Life, payment: Payment) -> None:
    """A payment arrives for the first time."""
    receipt = await take_payment(gateway, request_of(life, payment), "test")
    assert receipt.status == "posted"
    assert receipt.to_arrears_cents + receipt.to_balance_cents == payment.cents


async def paid_again(gateway: Gateway, life: Life, payment: Payment) -> None:
    """It arrives again, and its id with another amount."""
    request = request_of(life, payment)
    assert (await take_payment(gateway, request, "test")).status == "duplicate"
    other = replace(request, amount_cents=payment.cents + 1)
    assert (await take_payment(gateway, other, "test")).status == "conflict"
    assert (await take_payment(gateway, replace(other, payment_id="new", amount_cents=0), "test")).status == "refused"


async def returned_by_the_bank(gateway: Gateway, payment: Payment) -> None:
    """The bank returns a payment, which may not have come yet; it says so twice."""
    for _ in range(2):
        await return_payment(gateway, payment.payment_id, None, payment.fee, "no funds", "test")


async def exchanged(gateway: Gateway, life: Life, exchange: Exchange) -> None:
    """A technician tells of another meter."""
    wanted = ExchangeRequest(life.meter_id, "new", exchange.final, exchange.initial, "broken", exchange.at)
    await exchange_meter(gateway, wanted, "test")


async def reported(gateway: Gateway, life: Life, read: Reported) -> None:
    """The customer tells a register; a wrong one is refused where the meter's own reads are known by then."""
    with suppress(RequestRefused):
        await report_read(gateway, life.account_id, read.shown, read.at, "test")


async def edited(gateway: Gateway, life: Life, edit: Edit) -> None:
    """A clerk says a day's use; estimates of first and last days are refused."""
    wanted = EditRequest(life.account_id, edit.day, edit.wh, "known", "final" if edit.final else "estimate")
    with nullcontext() if edit.final else suppress(RequestRefused):
        await edit_day(gateway, wanted, "test")


async def adjusted(gateway: Gateway, life: Life, item: Item) -> None:
    """Something beside the tariff is charged or credited; the same again changes nothing."""
    wanted = ItemRequest(
        item.item_id, life.account_id, abs(item.cents), "a reason", "cut_seal" if item.cents < 0 else ""
    )
    for _ in range(2):
        await (charge if item.cents < 0 else credit)(gateway, wanted, "test")


def outcome(database: sqlite3.Connection, life: Life) -> Outcome:
    """What the books say of an account."""
    closed = usage.days(database, life.account_id, date.min, date.max)
    days = {
        each.day: (each.energy_wh, {name: wh for name, wh in each.by_period if wh}, dict(each.charges))
        for each in closed
    }
    rests_on = {each.day: each.use.quality.value for each in closed}
    lines = books.statement(database, life.account_id)
    assert lines[-1].balance_cents == sum(line.amount_cents for line in lines)
    charged = -sum(line.amount_cents for line in lines if line.ref.startswith(("charge:", "correction:")))
    balance, debt = (of(database, life.account_id) for of in (books.balance_cents, books.arrears_cents))
    return Outcome(days, rests_on, charged, balance, debt)


def faults(database: sqlite3.Connection) -> list[Any]:
    """What is wrong with the books: by their own audit, and by adding up the entries here."""
    unbalanced = "SELECT transaction_id, sum(amount_cents) FROM ledger_entry GROUP BY 1 HAVING sum(amount_cents) <> 0"
    replayed = (
        "SELECT ledger_account, sum(amount_cents) FROM ledger_entry GROUP BY 1"
        " EXCEPT SELECT ledger_account, cents FROM balance"
    )
    return [*books.audit(database), *database.execute(unbalanced), *database.execute(replayed)]


def check(life: Life, site: Site, found: Outcome) -> None:
    """The books against the facts: use by straight lines, bills by the second biller, money by addition."""
    use = days_of(life, site.end, site.billers)
    assert {day: wh for day, (wh, _, _) in found.days.items()} == {day: each.wh for day, each in use.items()}
    for day, (_, by_period, _) in found.days.items():
        periods = site.billers[tariff_on(life, day)].by_period(use[day])
        assert by_period == {name: wh for name, wh in periods.items() if wh}, day
    bills = bills_of(life, use, site.billers)
    assert found.charged == sum(sum(charges.values()) for _, _, charges in found.days.values())
    begins = sorted(bills)
    for first, after in pairwise([*begins, date.max]):
        charges = [charges for day, (_, _, charges) in found.days.items() if first <= day < after]
        assert sum(sum(each.values()) for each in charges) == bills[first], first
    assert found.balance - found.debt == worth_of(life, sum(bills.values()))
    if all(payment.fee is None for payment in life.payments):
        assert (found.balance, found.debt) == standing_of(life, sum(bills.values()))


@pytest.mark.parametrize(("first", "days"), TIMES, ids=lambda value: str(value))
async def test_lives_cost_what_their_facts_say_whenever_they_arrive(tmp_path: Path, first: date, days: int) -> None:
    for number in range(SOAK):
        site = Site(tmp_path / str(number), f"{first}/{number}", first, days)
        site.folder.mkdir()
        nights = [midnight(first + DAY * index) + 7 * HOUR for index in range(1, days)]
        last = midnight(site.end) + 3 * HOUR
        in_time = await site.live("in_time", site.happenings(site.chance, late=False), [*nights, last])
        seldom = [night for night in nights if site.chance.random() < 0.2]
        late = await site.live("late", site.happenings(site.chance, late=True), [*seldom, last])
        for life in site.lives:
            for when, found in (("in time", in_time[life.account_id]), ("late", late[life.account_id])):
                try:
                    check(life, site, found)
                    assert found.rests_on == in_time[life.account_id].rests_on
                except AssertionError as problem:
                    problem.add_note(f"site {first}/{number}, lived {when}: {replace(life, reads=[])}")
                    raise
