"""The end of an account's money here: after the final bill, what it has pays old debt and goes back to the customer."""

import sqlite3
from dataclasses import dataclass

from edge.core import ledger
from edge.core.ledger import Settlement
from edge.core.money import format_cents
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.notices import tell_settled
from edge.refusals import NotThere, RequestRefused
from edge.store import adjustments, books, customers, records, usage
from edge.store.adjustments import Refund
from edge.store.customers import Account


@dataclass(frozen=True, slots=True)
class Settled:
    """A settled final bill; ``duplicate``: it had been before."""

    refund: Refund
    duplicate: bool
    arrears_cents: int


async def refund(gateway: Gateway, account_id: str, refund_id: str, channel: str, by: str) -> Settled:
    """Settle an account that has left, once its last day is on the books (domain-rules R9, rows 6 and 7).

    What it has pays carried debt first and is refunded by ``channel`` then; what it lacks becomes debt that is billed
    outside the program. The same id again changes nothing. Raises RequestRefused before the final bill, when there is
    nothing to settle, and for an id that was used for another account.
    """

    def work(database: sqlite3.Connection) -> Settled:
        account = customers.account(database, account_id)
        if account is None:
            raise NotThere(f"refund {refund_id}: there is no account {account_id}")
        earlier = adjustments.refund(database, refund_id)
        if earlier is not None:
            if earlier.account_id != account_id:
                raise RequestRefused(f"refund {refund_id} is there already, for account {earlier.account_id}")
            return Settled(earlier, True, books.arrears_cents(database, account_id))
        _check_final(database, account, refund_id)
        return _settle(database, gateway, account, refund_id, channel, gateway.circumstances(), by)

    settled = await gateway.record(work)
    gateway.facts_changed.set()
    return settled


def _check_final(database: sqlite3.Connection, account: Account, refund_id: str) -> None:
    if account.last_day is None:
        raise RequestRefused(f"refund {refund_id}: account {account.account_id} has not left the program: unenroll it")
    closed = usage.last_day(database, account.account_id)
    if closed is None or closed.day < account.last_day:
        raise RequestRefused(
            f"refund {refund_id}: the final bill of account {account.account_id} waits for the close of"
            f" {account.last_day.isoformat()}"
        )


def _settle(
    database: sqlite3.Connection,
    gateway: Gateway,
    account: Account,
    refund_id: str,
    channel: str,
    around: Circumstances,
    by: str,
) -> Settled:
    settlement = _settlement(database, account)
    if settlement.balance_cents == settlement.deposit_cents == 0:
        raise RequestRefused(f"refund {refund_id}: nothing is left to settle on account {account.account_id}")
    transaction = ledger.refund(
        account_id=account.account_id,
        day=around.now.astimezone(around.zone).date(),
        refund_id=refund_id,
        channel=channel,
        settlement=settlement,
    )
    posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by=by)
    kept = Refund(refund_id, account.account_id, settlement, channel)
    adjustments.add_refund(database, kept, around.now, by, posted.transaction_id)
    data = {
        "account_id": account.account_id,
        "refund_id": refund_id,
        "refunded": format_cents(settlement.refunded_cents),
        "to_arrears": format_cents(settlement.to_arrears_cents),
        "billed": format_cents(settlement.billed_cents),
        "by": by,
    }
    records.add_event(database, "refund", around.now, data)
    tell_settled(database, gateway, account, settlement, posted, around)
    gateway.rule(database, account.account_id, around)
    return Settled(kept, False, books.arrears_cents(database, account.account_id))


def _settlement(database: sqlite3.Connection, account: Account) -> Settlement:
    return ledger.settlement_of(
        books.balance_cents(database, account.account_id),
        books.deposit_cents(database, account.account_id),
        books.arrears_cents(database, account.account_id),
    )
