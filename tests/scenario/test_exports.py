"""The books for auditors: hledger itself reads them, and comes to the balances that ``accounts`` shows."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from edge.adjustments import ItemRequest, charge, credit, defer
from edge.core import ledger
from edge.core.money import parse_cents
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.export import ledger_text
from edge.leaving import unenroll
from edge.payments import PaymentRequest, take_payment
from edge.returned_payments import return_payment
from edge.settlement import refund
from edge.store import books
from edge.store.base import open_for_reading
from tests.scenario.gaps import Home, clock_time, midnight, steady

AMI_EDGE = str(Path(sys.executable).parent / "ami-edge")
FIRST = date(2026, 10, 12)
ODD = 'B;2,"x"@=*![y](z){w}|$é%'  # an id that enrolment takes
NOTE = 'found cut, date:2026-99-99 [2026-13-45]; "half" | of it\n    assets:cash:evil  $1.00\n'

HEAD = (  # the fields that the hash of a transaction is made of
    *("transaction_id", "kind", "account_id", "day", "ref", "posted_at", "received_at", "posted_by", "note"),
    *("estimated", "reverses", "last_entry_id"),
)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


async def pay(home: Home, payment_id: str, account_id: str, cents: int, source: str = "customer") -> None:
    wanted = PaymentRequest(payment_id, account_id, cents, None, "Kiosk; 5", source)
    assert (await take_payment(home.gateway, wanted, "uid 1000")).status == "posted"


async def a_busy_life(home: Home) -> None:
    """Two accounts: openings, deposits, payments, aid, returns, charges, credits, estimates trued up, a refund."""
    await home.enrolled()
    cells = {"account_id": ODD, "meter_id": "M-2", "takeover": "yes", "opening_balance": "-4.20"}
    cells |= {"arrears": "150.00", "deposit": "60.00", "first_payment": "40.00", "first_payment_id": 'F;1,"x"'}
    (outcome,) = await enroll(home.gateway, [Row("row 2", cells)], "uid 1000")
    assert outcome.accepted, outcome.reason
    await home.read(*steady(FIRST, 5, 24_000))
    for number in range(1, 6):
        await home.close(clock_time(day(number), 1))
    await pay(home, "P-1", ODD, 30_00)
    await pay(home, "P-2", ODD, 25_00, "LIHEAP")
    await pay(home, "P-3", "A-1", 20_00)
    await return_payment(home.gateway, "P-1", None, 15_00, "no funds; again, sorry", "uid 1000")
    await charge(home.gateway, ItemRequest("C;1", ODD, 12_00, NOTE, kind="cut seal"), "uid 1000")
    await credit(home.gateway, ItemRequest("D-1", ODD, 5_00, "ours", reverses="C;1"), "uid 1000")
    for number in range(6, 9):  # the meter is silent: three days on estimates
        await home.close(clock_time(day(number), 7))
    await home.read((midnight(day(8)), 100_000 + 5 * 24_000 + 3 * 40_000))
    await home.close(clock_time(day(8), 8))
    await defer(home.gateway, "A-1", "I-1", 3_00, "asked by phone", "uid 1000")
    await pay(home, "P-4", "A-1", 10_00)
    await unenroll(home.gateway, "A-1", "moved", "uid 1000")
    await home.read((midnight(day(9)), 100_000 + 6 * 24_000 + 3 * 40_000))
    await home.close(clock_time(day(9), 1))
    await refund(home.gateway, "A-1", "R-1", "check", "uid 1000")


@contextmanager
def exported(folder: Path, form: str, account_id: str | None = None) -> Iterator[str]:
    database = open_for_reading(folder / "edge.db")
    yield "".join(ledger_text(database, form, account_id))
    database.close()


def hledger(journal: str, *arguments: str) -> str:
    command = ["hledger", "--file", "-", *arguments]
    done = subprocess.run(command, input=journal, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def balances_of(journal: str) -> dict[str, int]:
    """What hledger makes of a journal: cents by ledger account."""
    told = hledger(journal, "balance", "--flat", "--empty", "--no-total", "--output-format", "csv")
    rows = list(csv.reader(io.StringIO(told)))[1:]
    return {name: parse_cents(amount.replace("$", "")) for name, amount in rows}


def ami_edge(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a verb, with the daemon down."""
    where = ("--config", str(folder / "edge.toml"), "--state-dir", str(folder))
    done = subprocess.run([AMI_EDGE, *arguments, *where], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_hledger_accepts_the_books_and_comes_to_the_same_balances(tmp_path: Path) -> None:
    """Contract section 3, ``export ledger``."""
    home = Home(tmp_path, FIRST)
    await a_busy_life(home)
    home.store.close()
    code, journal, err = ami_edge(tmp_path, "export", "ledger", "--format", "hledger")
    assert (code, err) == (0, "")
    hledger(journal, "check")
    hledger(journal, "check", "--strict")
    found = balances_of(journal)
    accounts = json.loads(ami_edge(tmp_path, "accounts", "--json")[1])
    assert {row["account_id"] for row in accounts} == {"A-1", ODD}
    for row in accounts:
        assert found[f"liabilities:prepaid:{row['account_id']}"] == -parse_cents(row["balance"])
        assert found.get(f"assets:arrears:{row['account_id']}", 0) == parse_cents(row["arrears"])
    assert sum(found.values()) == 0
    assert found["revenue:returned_payment_fee"] == -15_00


async def test_the_export_goes_where_it_is_wanted(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    home.store.close()
    file = tmp_path / "books.csv"
    export = ("export", "ledger")
    code, out, err = ami_edge(tmp_path, *export, "--format", "csv", "--account", "M-1", "--output", str(file), "--json")
    assert (code, json.loads(out), err) == (0, {"file": str(file), "format": "csv", "account_id": "A-1"}, "")
    assert [row["kind"] for row in csv.DictReader(file.open())] == ["opening", "opening"]
    assert len(json.loads(ami_edge(tmp_path, *export, "--json")[1])["transactions"]) == 1
    refused = (1, "", "there is no account A-9; 'ami-edge accounts' lists them\n")
    assert ami_edge(tmp_path, *export, "--account", "A-9") == refused
    nowhere = tmp_path / "none" / "books"
    assert ami_edge(tmp_path, *export, "--output", str(nowhere)) == (
        *(1, ""),
        f"{nowhere}: cannot be written: No such file or directory\n",
    )
    assert ami_edge(tmp_path, *export, "--json", "--format", "csv")[0] == 2
    assert ami_edge(tmp_path, *export, "--format", "xml")[0] == 2


async def test_every_transaction_says_where_it_comes_from(tmp_path: Path) -> None:
    home = Home(tmp_path, FIRST)
    await a_busy_life(home)
    home.store.close()
    with exported(tmp_path, "hledger", ODD) as journal:
        assert "A-1" not in journal
        returned = hledger(journal, "print", "tag:kind=returned_payment")
        assert "by:uid 1000" in returned
        assert "ref:returned:payment:P-1" in returned
        assert "received:2026-10-17T06:00:00.000000+00:00" in returned
        assert "posted:2026-10-17T06:00:00.000000+00:00" in returned
        reversed_id = returned.partition("reverses:")[2].split()[0]
        assert "ref:payment:P-1" in hledger(journal, "print", f"code:^{reversed_id}$")
        assert "note:no funds; again, sorry" in returned
    with exported(tmp_path, "hledger", "A-1") as journal:
        estimates = hledger(journal, "print", "tag:kind=charge", "tag:estimated=yes")
        assert estimates.count("ref:charge:A-1:") == 3
        assert "corrects 2026-10-17" in hledger(journal, "print", "tag:kind=adjustment")


async def test_a_charge_of_nothing_is_in_the_journal_without_postings(tmp_path: Path) -> None:
    home = await Home(tmp_path, FIRST).enrolled()
    await charge(home.gateway, ItemRequest("C-1", "A-1", 1_00, "seal", kind="seal"), "test")
    now = home.clock.now()
    nothing = ledger.charge(account_id="A-1", day=FIRST, charges={"energy": 0})
    posted = await home.store.write(lambda d: books.post(d, nothing, posted_at=now, received_at=now, by="day close"))
    home.store.close()
    with exported(tmp_path, "hledger") as journal:
        hledger(journal, "check", "--strict")
        assert "ref:charge:A-1:2026-10-12" in hledger(journal, "print", f"code:^{posted.transaction_id}$")
    with exported(tmp_path, "csv") as text:
        last = list(csv.DictReader(io.StringIO(text)))[-1]
        assert (last["ref"], last["entry_id"], last["amount"]) == ("charge:A-1:2026-10-12", "", "")


async def test_csv_and_json_tell_the_same_and_prove_the_chain_of_hashes(tmp_path: Path) -> None:
    home = Home(tmp_path, FIRST)
    await a_busy_life(home)
    home.store.close()
    with exported(tmp_path, "csv") as text:
        rows = list(csv.DictReader(io.StringIO(text)))
    with exported(tmp_path, "json") as text:
        told = json.loads(text)["transactions"]
    postings = [(head, posting) for head in told for posting in head["postings"]]
    assert len(rows) == len(postings) > 50
    for row, (head, posting) in zip(rows, postings, strict=True):
        assert (row["entry_id"], row["amount"]) == (str(posting["entry_id"]), posting["amount"])
        assert (row["ref"], row["note"], row["ledger_account"]) == (
            head["ref"],
            head["note"],
            posting["ledger_account"],
        )
    assert {row["note"] for row in rows} >= {NOTE}
    links: list[tuple[tuple[str | int | None, ...], str]] = []
    for head in told:
        for posting in head["postings"]:
            amounts = (parse_cents(posting["amount"]), parse_cents(posting["balance"]))
            entry = (posting["entry_id"], head["transaction_id"], posting["ledger_account"], *amounts)
            links.append((entry, posting["entry_hash"]))
        head["estimated"] = int(head["estimated"])
        links.append((tuple(head[name] for name in HEAD), head["chain_hash"]))
    assert ledger.check_chain(links) is None
