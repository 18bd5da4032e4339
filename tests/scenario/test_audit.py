"""Whatever is altered in the books, in a column or in a byte of the file, `verify` finds it and names where."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edge.adjustments import ItemRequest, charge
from edge.payments import PaymentRequest, take_payment
from edge.returned_payments import return_payment
from edge.store import audit
from edge.store.base import StoreError, open_for_reading
from tests.scenario.gaps import Home, clock_time, steady

FIRST = date(2026, 4, 20)
TABLES = ("ledger_entry", "ledger_transaction", "balance", "payment", "returned_payment", "miscellaneous", "day")


async def busy_books(folder: Path) -> Path:
    """A life with payments, a return, a cut seal, closed days and one that cost nothing; its database, closed."""
    home = await Home(folder, FIRST).enrolled()
    await home.read(*steady(FIRST, 3, 24_000))
    for day in range(1, 4):
        assert await home.close(clock_time(FIRST.replace(day=20 + day), 1)) == 0
    for number in (1, 2):
        wanted = PaymentRequest(f"P-{number}", "A-1", 20_00 + number, None, "kiosk", "customer")
        assert (await take_payment(home.gateway, wanted, "test")).status == "posted"
    await return_payment(home.gateway, "P-1", None, 5_00, "no funds", "test")
    await charge(home.gateway, ItemRequest("C-1", "A-1", 15_00, "seal found cut", kind="cut_seal"), "test")
    home.store.close()
    return home.gateway.settings.database


@pytest.fixture
async def books(tmp_path: Path) -> Path:
    return await busy_books(tmp_path)


def problems(database: Path) -> list[str]:
    with closing(open_for_reading(database)) as reader:
        return list(audit.audit(reader))


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, int):
        return value + 1000
    return None if value is None else ("x" if not value else chr(ord(value[0]) ^ 1) + value[1:])


def cells(shell: sqlite3.Connection, table: str) -> Iterator[tuple[str, str, tuple[Any, ...], Any]]:
    """Each cell of a table that can be altered: its column, which row (a condition and its values), its value."""
    columns = [(name, key) for _, name, _, _, _, key in shell.execute(f"PRAGMA table_info({table})")]
    keys = [name for name, key in columns if key]
    where = " AND ".join(f"{name} IS ?" for name in keys)
    for row in shell.execute(f"SELECT * FROM {table}").fetchall():
        values = dict(zip([name for name, _ in columns], row, strict=True))
        for name, value in values.items():
            if value is not None:
                yield name, where, tuple(values[key] for key in keys), value


def unguarded(database: Path) -> sqlite3.Connection:
    """A connection on which nothing guards the books any more."""
    shell = sqlite3.connect(database, isolation_level=None)
    for (name,) in shell.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        shell.execute(f"DROP TRIGGER {name}")
    shell.execute("PRAGMA ignore_check_constraints = ON")
    return shell


def test_good_books_have_no_problems(books: Path) -> None:
    assert problems(books) == []


@pytest.mark.parametrize("table", TABLES)
def test_no_cell_can_be_altered_unseen(books: Path, table: str) -> None:
    with closing(unguarded(books)) as shell:
        unseen, seen = [], 0
        for column, where, key, value in cells(shell, table):
            shell.execute("BEGIN")
            shell.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (altered(value), *key))
            found = list(audit.audit(shell))
            shell.execute("ROLLBACK")
            seen += 1
            if not found:
                unseen.append(f"{table}.{column} of {key}")
        assert (unseen, seen > 0) == ([], True)


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_taken_out_unseen(books: Path, table: str) -> None:
    with closing(unguarded(books)) as shell:
        keys = [name for _, name, _, _, _, key in shell.execute(f"PRAGMA table_info({table})") if key]
        where = " AND ".join(f"{name} IS ?" for name in keys)
        for key in shell.execute(f"SELECT {', '.join(keys)} FROM {table}").fetchall():
            shell.execute("BEGIN")
            shell.execute(f"DELETE FROM {table} WHERE {where}", key)
            assert list(audit.audit(shell)), f"{table} {key}"
            shell.execute("ROLLBACK")


@pytest.mark.parametrize("entry", [1, 4, 9])
def test_the_first_problem_names_the_first_entry_that_does_not_fit(books: Path, entry: int) -> None:
    with closing(unguarded(books)) as shell:
        shell.execute("UPDATE ledger_entry SET amount_cents = amount_cents + 1 WHERE entry_id = ?", (entry,))
    assert problems(books)[0].startswith(f"ledger entry {entry}:")


def test_a_flipped_byte_of_the_file_is_found_or_changes_nothing(books: Path) -> None:
    """Any byte: the audit tells, or the books read as before (free space, an index that SQLite does not need)."""
    with closing(sqlite3.connect(books)) as shell:
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = books.read_bytes()
    contents = content(books)
    chance = random.Random(4)
    for _ in range(60):
        at = chance.randrange(len(whole))
        books.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])
        try:
            assert problems(books) or content(books) == contents, f"byte {at}"
        except StoreError:
            continue  # one sentence: the database cannot be read
        finally:
            for left in (f"{books}-wal", f"{books}-shm"):
                Path(left).unlink(missing_ok=True)


def content(database: Path) -> list[list[Any]]:
    with closing(open_for_reading(database)) as reader:
        return [reader.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES]
