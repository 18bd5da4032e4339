"""The books for auditors: the ledger as an hledger journal, as CSV and as JSON, written as it is read.

Amounts are exact decimals in dollars, debit positive: a customer's credit is negative on
``liabilities:prepaid:<account_id>``, carried debt positive on ``assets:arrears:<account_id>`` (contract section 3).
Instants are as they are stored, in UTC to the microsecond, so that the hash chain can be recomputed from CSV or JSON.
"""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from edge.core.money import format_cents
from edge.store import export
from edge.store.export import Entry, Head

FORMATS = ("hledger", "csv", "json")
CSV_COLUMNS = (
    *("entry_id", "transaction_id", "day", "kind", "account_id", "ledger_account", "amount", "balance", "ref"),
    *("posted_at", "received_at", "posted_by", "note", "estimated", "reverses", "entry_hash"),
    *("last_entry_id", "chain_hash"),
)


def ledger_text(database: sqlite3.Connection, form: str, account_id: str | None) -> Iterator[str]:
    """The ledger in one of ``FORMATS``, piece by piece; the transactions of one customer, or all of them."""
    writers = {"hledger": _hledger, "csv": _csv, "json": _json}
    with export.snapshot(database):
        yield from writers[form](database, account_id)


def _hledger(database: sqlite3.Connection, account_id: str | None) -> Iterator[str]:
    yield "commodity $1000.00\n\n"
    for ledger_account in export.ledger_accounts(database, account_id):
        yield f"account {ledger_account}\n"
    for head, entries in export.transactions(database, account_id):
        yield f"\n{head.day} ({head.transaction_id}) {head.kind}\n"
        yield "".join([f"    ; {name}:{_one_line(value)}\n" for name, value in _tags(head)])
        yield "".join([_posting(entry) for entry in entries]) or "    ; nothing to post\n"


def _tags(head: Head) -> list[tuple[str, str]]:
    """All that is known of a transaction. Free text comes last: a comma in it ends what hledger takes for its tag."""
    tags = [
        ("kind", head.kind),
        ("account", head.account_id),
        ("transaction", str(head.transaction_id)),
        ("received", head.received_at),
        ("posted", head.posted_at),
        ("estimated", "yes" if head.estimated else "no"),
    ]
    if head.reverses is not None:
        tags.append(("reverses", str(head.reverses)))
    tags += [("ref", head.ref), ("by", head.posted_by)]
    return [*tags, ("note", head.note)] if head.note else tags


def _one_line(text: str) -> str:
    """A text without what would end a comment's line."""
    return "".join([character if character.isprintable() else " " for character in text])


def _posting(entry: Entry) -> str:
    """Two spaces end an account's name, which itself has none (``enrolment_file.identifier``)."""
    return f"    {entry.ledger_account}  ${format_cents(entry.amount_cents)}  ; entry:{entry.entry_id}\n"


def _csv(database: sqlite3.Connection, account_id: str | None) -> Iterator[str]:
    """A row a posting; a transaction that posts nothing has one row without entry, ledger account and amount."""
    yield _csv_row(CSV_COLUMNS)
    for head, entries in export.transactions(database, account_id):
        for entry in entries:
            yield _csv_row(_cells(head, entry))
        if not entries:
            yield _csv_row(_cells(head, None))


def _cells(head: Head, entry: Entry | None) -> tuple[object, ...]:
    first = ("" if entry is None else entry.entry_id, head.transaction_id, head.day, head.kind, head.account_id)
    amounts: tuple[str, ...] = ("", "", "")
    if entry is not None:
        amounts = (entry.ledger_account, format_cents(entry.amount_cents), format_cents(entry.balance_cents))
    times = (head.ref, head.posted_at, head.received_at, head.posted_by, head.note)
    reverses = "" if head.reverses is None else head.reverses
    marks = ("yes" if head.estimated else "no", reverses, "" if entry is None else entry.entry_hash)
    return (*first, *amounts, *times, *marks, head.last_entry_id, head.chain_hash)


def _csv_row(cells: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _json(database: sqlite3.Connection, account_id: str | None) -> Iterator[str]:
    yield '{"transactions": ['
    before = "\n"
    for head, entries in export.transactions(database, account_id):
        yield before + json.dumps(_document(head, entries))
        before = ",\n"
    yield "\n]}\n"


def _document(head: Head, entries: tuple[Entry, ...]) -> dict[str, Any]:
    return {
        "transaction_id": head.transaction_id,
        "kind": head.kind,
        "account_id": head.account_id,
        "day": head.day,
        "ref": head.ref,
        "posted_at": head.posted_at,
        "received_at": head.received_at,
        "posted_by": head.posted_by,
        "note": head.note,
        "estimated": bool(head.estimated),
        "reverses": head.reverses,
        "last_entry_id": head.last_entry_id,
        "chain_hash": head.chain_hash,
        "postings": [
            {
                "entry_id": entry.entry_id,
                "ledger_account": entry.ledger_account,
                "amount": format_cents(entry.amount_cents),
                "balance": format_cents(entry.balance_cents),
                "entry_hash": entry.entry_hash,
            }
            for entry in entries
        ],
    }
