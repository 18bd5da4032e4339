"""Leaving the program: at any time, by the customer's wish or because a protection began (domain-rules R8, R9, C8).

An account that has left is charged through the civil day on which it left, is never disconnected for credit, still
takes payments, and gets its power back as every other account does.
"""

import sqlite3
from datetime import date

from edge.core.money import format_cents
from edge.facts import Circumstances
from edge.gateway import Gateway
from edge.refusals import NotThere, RequestRefused
from edge.store import books, customers, records
from edge.store.customers import Account


async def unenroll(gateway: Gateway, account_id: str, reason: str, by: str) -> date:
    """Let an account leave its program; its last day. Raises RequestRefused when it is not there or has left before."""

    def work(database: sqlite3.Connection) -> date:
        account = customers.account(database, account_id)
        if account is None:
            raise NotThere(f"there is no account {account_id}")
        if account.last_day is not None:
            raise RequestRefused(f"account {account_id} left the program on {account.last_day.isoformat()}")
        around = gateway.circumstances()
        last_day = leave(database, account, reason, around, by)
        gateway.rule(database, account_id, around)
        return last_day

    last_day = await gateway.record(work)
    gateway.facts_changed.set()
    return last_day


def leave(database: sqlite3.Connection, account: Account, reason: str, around: Circumstances, by: str) -> date:
    """Inside a transaction: record that an enrolled account leaves now; its last day. Whoever calls decides again."""
    last_day = around.now.astimezone(around.zone).date()
    customers.add_unenrolment(database, account.account_id, around.now, last_day, reason, by)
    data = {
        "account_id": account.account_id,
        "meter_id": account.meter_id,
        "last_day": last_day.isoformat(),
        "balance": format_cents(books.balance_cents(database, account.account_id)),
        "reason": reason,
        "by": by,
    }
    records.add_event(database, "unenrolled", around.now, data)
    return last_day
