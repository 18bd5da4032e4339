"""The store keeps what it is given, refuses what its constraints forbid, and its audit finds what was tampered with."""

import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from edge.core import ledger
from edge.store import books, customers, many, records
from edge.store.customers import Account
from edge.store.engine import Store, StoreError, open_for_reading

NOW = datetime(2026, 10, 14, 14, 0, tzinfo=UTC)
DAY = date(2026, 10, 14)
A_SEAL = ledger.adjustment(account_id="A-1", day=DAY, amount_cents=-350, ref="seal-1", note="a cut seal")


def an_account(account_id: str = "A-1") -> Account:
    return Account(account_id, "M-1", "Ada", "residential", "flat", "default", None, NOW, DAY, active=True)


def open_books(path: Path) -> Store:
    store = Store(path / "edge.db", threaded=False)

    def work(database: sqlite3.Connection) -> None:
        customers.add_account(database, an_account(), "test")
        opening = ledger.opening(account_id="A-1", day=DAY, balance_cents=1000, arrears_cents=5000)
        books.post(database, opening, posted_at=NOW, received_at=NOW, by="test")
        books.post(database, A_SEAL, posted_at=NOW, received_at=NOW, by="test")

    store._transact(work)
    return store


async def test_balances_follow_the_postings(tmp_path: Path) -> None:
    store = open_books(tmp_path)

    assert await store.read(lambda database: books.balance_cents(database, "A-1")) == 650
    assert await store.read(lambda database: books.arrears_cents(database, "A-1")) == 5000
    assert [line.balance_cents for line in await store.read(lambda d: books.statement(d, "A-1"))] == [1000, 650]
    assert await store.read(lambda database: list(books.audit(database))) == []
    store.close()


async def test_the_same_fact_is_posted_once(tmp_path: Path) -> None:
    store = open_books(tmp_path)
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda database: books.post(database, A_SEAL, posted_at=NOW, received_at=NOW, by="test"))

    assert await store.read(lambda database: books.balance_cents(database, "A-1")) == 650
    assert await store.read(lambda database: list(books.audit(database))) == []
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entry SET amount_cents = 1 WHERE entry_id = 1",
        "DELETE FROM ledger_entry WHERE entry_id = 1",
        "UPDATE ledger_transaction SET note = 'x'",
        "DELETE FROM ledger_transaction",
        "INSERT INTO ledger_entry VALUES (99, 1, 'revenue:energy', 5, 5, 'h')",
        "INSERT INTO payment SELECT 'P', 'nobody', 1, 0, 1, NULL, 'now', 'c', 'customer', 'now', 1, 's'",
        "INSERT INTO payment SELECT 'P', 'A-1', 3, 1, 1, NULL, 'now', 'c', 'customer', 'now', 1, 's'",
        "INSERT INTO payment SELECT 'P', 'A-1', 1, -1, 2, NULL, 'now', 'c', 'customer', 'now', 1, 's'",
        "INSERT INTO payment SELECT 'P', 'A-1', 1, 0, 1, NULL, 'now', 'c', 'somebody', 'now', 1, 's'",
        "INSERT INTO payment SELECT 'P', 'A-1', 1, 0, 1, NULL, 'now', 'c', 'customer', 'before', 1, 's'",
        "INSERT INTO refund VALUES ('R', 'A-1', 9, 0, 0, 8, 0, 'c', 'now', 'me', 1, 's')",
        "INSERT INTO miscellaneous VALUES ('X', 'A-1', 'charge', 'reconnect', 1, NULL, 'r', 'now', 'me', 1, 's')",
        "INSERT INTO miscellaneous VALUES ('X', 'A-1', 'credit', 'seal', 1, 'none', 'r', 'now', 'me', 1, 's')",
        "INSERT INTO ledger_entry VALUES (9, 9, 'elsewhere:A-1', 1, 1, 'h')",
        "INSERT INTO ledger_transaction VALUES (9,'gift','A-1','2026-10-14','r','n','n','me','',0,NULL,0,'h')",
        "INSERT INTO ledger_transaction VALUES (9,'charge','A-1','yesterday','r','n','n','me','',0,NULL,0,'h')",
        "INSERT INTO ledger_transaction VALUES (9,'reversal','A-1','2026-10-14','r','n','n','me','',0,NULL,0,'h')",
        "INSERT OR REPLACE INTO ledger_entry SELECT * FROM ledger_entry WHERE entry_id = 1",
        "INSERT OR REPLACE INTO ledger_transaction SELECT * FROM ledger_transaction WHERE transaction_id = 2",
    ],
)
async def test_the_ledger_is_insert_only_and_balanced(tmp_path: Path, statement: str) -> None:
    store = open_books(tmp_path)

    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda database: database.execute(statement))

    assert await store.read(lambda database: list(books.audit(database))) == []
    store.close()


async def test_an_unbalanced_transaction_cannot_be_inserted(tmp_path: Path) -> None:
    store = open_books(tmp_path)

    def work(database: sqlite3.Connection) -> None:
        database.execute("INSERT INTO ledger_entry VALUES (90, 9, 'revenue:energy', 5, 5, 'h')")
        database.execute(
            "INSERT INTO ledger_transaction VALUES (9, 'x', 'A-1', '2026-10-14', 'r', '', '', '', '', 0, NULL, 90, 'h')"
        )

    with pytest.raises(sqlite3.IntegrityError, match="sum to zero"):
        await store.write(work)
    store.close()


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("ledger_entry", "amount_cents = amount_cents + 1 WHERE entry_id = 2", "ledger entry 2"),
        ("ledger_entry", "balance_after = 7 WHERE entry_id = 3", "ledger entry 3"),
        ("ledger_entry", "entry_hash = 'x' WHERE entry_id = 4", "ledger entry 4"),
        ("ledger_transaction", "note = 'tampered' WHERE transaction_id = 2", "ledger entry 4"),
        ("ledger_transaction", "posted_at = '2020' WHERE transaction_id = 1", "ledger entry 1"),
    ],
)
def test_the_audit_names_the_first_entry_that_does_not_fit(tmp_path: Path, table: str, change: str, told: str) -> None:
    open_books(tmp_path).close()
    with sqlite3.connect(tmp_path / "edge.db") as database:
        database.execute(f"DROP TRIGGER {table}_no_update")
        database.execute(f"UPDATE {table} SET {change}")

    with open_for_reading(tmp_path / "edge.db") as reader:
        problems = list(books.audit(reader))

    assert problems[0].startswith(told)


def test_the_audit_finds_a_balance_that_somebody_set(tmp_path: Path) -> None:
    open_books(tmp_path).close()
    with sqlite3.connect(tmp_path / "edge.db") as database:
        database.execute("UPDATE balance SET cents = 0 WHERE ledger_account = 'liabilities:prepaid:A-1'")

    with open_for_reading(tmp_path / "edge.db") as reader:
        assert ["liabilities:prepaid:A-1" in problem for problem in books.audit(reader)] == [True]


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    store = open_books(tmp_path)

    with pytest.raises(StoreError, match="another daemon"):
        Store(tmp_path / "edge.db", threaded=False)
    store.close()


def test_a_missing_or_foreign_database_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        open_for_reading(tmp_path / "edge.db")
    (tmp_path / "edge.db").write_bytes(b"this is not a database, it only has its name" * 50)
    with pytest.raises(StoreError, match="cannot be read"):
        open_for_reading(tmp_path / "edge.db")
    sqlite3.connect(tmp_path / "other.db").execute("PRAGMA user_version=7")
    with pytest.raises(StoreError, match="schema 7"):
        open_for_reading(tmp_path / "other.db")


async def test_a_notice_is_told_once_and_reaches_by_its_confirmed_delivery(tmp_path: Path) -> None:
    store = open_books(tmp_path)
    notice = records.Notice("A-1", "zero", "text", "zero-A-1-5", 5, NOW)

    assert await store.write(lambda database: records.add_notice(database, notice)) is True
    assert await store.write(lambda database: records.add_notice(database, notice)) is False
    rows = await store.read(records.waiting_outbox)
    assert [row[1:3] for row in rows] == [("notices", "N-zero-A-1-5-sms")]
    told = many.Told(5, None, None)
    assert await store.read(lambda database: many.told(database, ["A-1", "A-2"], "zero")) == {"A-1": told}
    assert await store.write(lambda database: records.mark_sent(database, [rows[0][0]], NOW)) == ["A-1"]
    told = (await store.read(lambda database: many.told(database, ["A-1"], "zero")))["A-1"]
    assert (told.entry_id, told.reached_at(confirmed_only=False)) == (5, NOW)
    assert told.reached_at(confirmed_only=True) is None
    store.close()
