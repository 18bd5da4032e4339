"""Charges, credits and instalments that somebody asks for: posted at once, each exactly once, decided upon.

The same id with the same content again changes nothing; with other content it is refused.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from edge.core import ledger
from edge.core.miscellaneous import MOST_CENTS, charge_name
from edge.core.money import format_cents
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import program_of, tell_adjustment, tell_balance
from edge.refusals import NotThere, RequestRefused
from edge.store import adjustments as store
from edge.store import books, customers, records
from edge.store.adjustments import Agreement, Item
from edge.store.books import Posted
from edge.store.customers import Account


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """A miscellaneous charge or a credit that somebody asks for. ``reverses``: the charge that a credit takes back."""

    item_id: str
    account_id: str
    amount_cents: int
    reason: str
    kind: str = ""
    reverses: str | None = None


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What was posted, whether it had been before, and what the account has and owes now."""

    item_id: str
    account_id: str
    duplicate: bool
    amount_cents: int
    balance_cents: int
    arrears_cents: int


async def charge(gateway: Gateway, wanted: ItemRequest, by: str) -> Adjusted:
    """Charge something such as a cut seal at once (domain-rules R5), and decide again.

    Raises RequestRefused for a kind that is never charged, for an amount that cannot be, and for an id that was used.
    """

    def work(database: sqlite3.Connection) -> Adjusted:
        account = _checked(database, "charge", wanted.item_id, wanted.account_id, wanted.amount_cents, wanted.reason)
        try:
            name = charge_name(wanted.kind)
        except ValueError as problem:
            raise RequestRefused(f"charge {wanted.item_id}: {problem}") from None
        if _is_there(database, wanted, "charge", name):
            return _adjusted(database, wanted.item_id, account, wanted.amount_cents, duplicate=True)
        around = gateway.circumstances()
        transaction = ledger.miscellaneous_charge(
            account_id=account.account_id,
            day=around.now.astimezone(around.zone).date(),
            charge_id=wanted.item_id,
            name=name,
            amount_cents=wanted.amount_cents,
            note=wanted.reason,
        )
        posted = _post(database, gateway, account, transaction, around, by)
        _keep(database, wanted, "charge", name, posted, around, by)
        tell_adjustment(database, gateway, account, -wanted.amount_cents, wanted.reason, posted, around)
        return _adjusted(database, wanted.item_id, account, wanted.amount_cents)

    return await _recorded(gateway, work)


async def credit(gateway: Gateway, wanted: ItemRequest, by: str) -> Adjusted:
    """Give a credit at once, taking back a charge or a part of it where one is named, and decide again.

    Raises RequestRefused when that charge is not there, or less is left of it, and for an id that was used.
    """

    def work(database: sqlite3.Connection) -> Adjusted:
        account = _checked(database, "credit", wanted.item_id, wanted.account_id, wanted.amount_cents, wanted.reason)
        earlier = store.item(database, wanted.item_id)
        charged = None if wanted.reverses is None else _charged(database, wanted, wanted.reverses)
        name = "adjustments" if charged is None else charged.name
        if _is_there(database, wanted, "credit", name):
            return _adjusted(database, wanted.item_id, account, wanted.amount_cents, duplicate=True)
        if charged is not None and earlier is None:
            _check_left(database, wanted, charged)
        around = gateway.circumstances()
        transaction = ledger.credit(
            account_id=account.account_id,
            day=around.now.astimezone(around.zone).date(),
            credit_id=wanted.item_id,
            amount_cents=wanted.amount_cents,
            note=wanted.reason,
            name=name,
            reverses=None if charged is None else charged.transaction_id,
        )
        posted = _post(database, gateway, account, transaction, around, by)
        _keep(database, wanted, "credit", name, posted, around, by)
        tell_adjustment(database, gateway, account, wanted.amount_cents, wanted.reason, posted, around)
        return _adjusted(database, wanted.item_id, account, wanted.amount_cents)

    return await _recorded(gateway, work)


async def defer(
    gateway: Gateway, account_id: str, agreement_id: str, amount_cents: int, reason: str, by: str
) -> Adjusted:
    """Let an under-estimate be paid in instalments: by the program's share of later payments (domain-rules R62).

    Raises RequestRefused beyond what corrections of estimated days have cost, where the program carries no debt, and
    for an id that was used.
    """
    wanted = Agreement(agreement_id, account_id, amount_cents, reason)

    def work(database: sqlite3.Connection) -> Adjusted:
        account = _checked(database, "agreement", agreement_id, account_id, amount_cents, reason)
        earlier = store.agreement(database, agreement_id)
        if earlier is not None:
            if (earlier.account_id, earlier.amount_cents) != (account_id, amount_cents):
                raise RequestRefused(f"agreement {agreement_id} is there already, with another account or amount")
            return _adjusted(database, agreement_id, account, amount_cents, duplicate=True)
        _check_deferrable(database, gateway, account, wanted)
        around = gateway.circumstances()
        today = around.now.astimezone(around.zone).date()
        transaction = ledger.instalments(
            account_id=account_id, day=today, agreement_id=agreement_id, amount_cents=amount_cents, note=reason
        )
        posted = _post(database, gateway, account, transaction, around, by)
        store.add_agreement(database, wanted, around.now, by, posted.transaction_id)
        return _adjusted(database, agreement_id, account, amount_cents)

    return await _recorded(gateway, work)


async def _recorded(gateway: Gateway, work: Callable[[sqlite3.Connection], Adjusted]) -> Adjusted:
    adjusted = await gateway.record(work)
    gateway.facts_changed.set()
    return adjusted


def _checked(
    database: sqlite3.Connection, what: str, item_id: str, account_id: str, amount_cents: int, reason: str
) -> Account:
    account = customers.account(database, account_id)
    if account is None:
        raise NotThere(f"{what} {item_id}: there is no account {account_id}")
    amount = format_cents(amount_cents)
    if amount_cents <= 0:
        raise RequestRefused(f"{what} {item_id}: the amount {amount} is not above zero")
    if amount_cents > MOST_CENTS:
        raise RequestRefused(f"{what} {item_id}: the amount {amount} is above {format_cents(MOST_CENTS)}")
    if not reason.strip():
        raise RequestRefused(f"{what} {item_id}: reason - say in words what it is for")
    return account


def _is_there(database: sqlite3.Connection, wanted: ItemRequest, nature: str, name: str) -> bool:
    earlier = store.item(database, wanted.item_id)
    if earlier is None:
        return False
    content = (earlier.nature, earlier.account_id, earlier.name, earlier.amount_cents, earlier.reverses)
    if content != (nature, wanted.account_id, name, wanted.amount_cents, wanted.reverses):
        raise RequestRefused(
            f"{nature} {wanted.item_id}: the id was used before, for a {earlier.nature} of other content"
        )
    return True


def _charged(database: sqlite3.Connection, wanted: ItemRequest, charge_id: str) -> Item:
    charged = store.item(database, charge_id)
    if charged is None or charged.nature != "charge" or charged.account_id != wanted.account_id:
        raise NotThere(f"credit {wanted.item_id}: account {wanted.account_id} has no charge {charge_id}")
    return charged


def _check_left(database: sqlite3.Connection, wanted: ItemRequest, charged: Item) -> None:
    left = charged.amount_cents - store.taken_back_cents(database, charged.item_id)
    if wanted.amount_cents > left:
        raise RequestRefused(
            f"credit {wanted.item_id}: of charge {charged.item_id} {format_cents(left)} is left to take back"
        )


def _check_deferrable(database: sqlite3.Connection, gateway: Gateway, account: Account, wanted: Agreement) -> None:
    program = program_of(gateway, account)
    if program.arrears_share_ppm == 0:
        raise RequestRefused(
            f"agreement {wanted.agreement_id}: the program {program.name} carries no debt, so nothing can be deferred"
        )
    if not account.active:
        raise RequestRefused(f"agreement {wanted.agreement_id}: account {account.account_id} has left the program")
    most = store.deferrable_cents(database, account.account_id)
    if wanted.amount_cents > most:
        raise RequestRefused(
            f"agreement {wanted.agreement_id}: corrections of estimated days that are not deferred yet have cost"
            f" {format_cents(most)}, less than {format_cents(wanted.amount_cents)}"
        )


def _post(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    transaction: ledger.Transaction,
    around: Circumstances,
    by: str,
) -> Posted:
    posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    tell_balance(database, gateway, account, posted, around)
    gateway.rule(database, account.account_id, around)
    return posted


def _keep(
    database: sqlite3.Connection,
    wanted: ItemRequest,
    nature: str,
    name: str,
    posted: Posted,
    around: Circumstances,
    by: str,
) -> None:
    kept = Item(
        wanted.item_id,
        wanted.account_id,
        nature,
        name,
        wanted.amount_cents,
        wanted.reverses,
        wanted.reason,
        around.now,
        by,
        posted.transaction_id,
    )
    store.add_item(database, kept)
    data = {"account_id": wanted.account_id, "id": wanted.item_id, "name": name, "reason": wanted.reason, "by": by}
    amount = {"amount": format_cents(wanted.amount_cents), "reverses": wanted.reverses}
    records.add_event(database, "miscellaneous_charge" if nature == "charge" else nature, around.now, data | amount)


def _adjusted(
    database: sqlite3.Connection, item_id: str, account: Account, amount_cents: int, *, duplicate: bool = False
) -> Adjusted:
    balance = books.balance_cents(database, account.account_id)
    debt = books.arrears_cents(database, account.account_id)
    return Adjusted(item_id, account.account_id, duplicate, amount_cents, balance, debt)
