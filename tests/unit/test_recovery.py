"""Backups are whole, checked and never in the way; a damaged database is set aside and a good backup takes over."""

import json
import os
import sqlite3
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge import recovery
from edge.core import ledger
from edge.settings import Settings, load_settings
from edge.store import audit, books, copies, customers, fleet, records
from edge.store.base import StoreCorrupt, StoreError, StoreFull, open_for_reading
from edge.store.customers import Account
from edge.store.engine import Store
from edge.switch_journal import SentCommand, SwitchJournal

NOW = datetime(2026, 10, 14, 14, 0, tzinfo=UTC)
DAY = date(2026, 10, 14)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(None, tmp_path / "state")


def pay(number: int, cents: int = 100) -> Callable[[sqlite3.Connection], Any]:
    def work(database: sqlite3.Connection) -> None:
        paid = ledger.payment(
            account_id="A-1",
            day=DAY,
            payment_id=f"P-{number}",
            channel="kiosk",
            to_arrears_cents=0,
            to_balance_cents=cents,
        )
        posted = books.post(database, paid, posted_at=NOW, received_at=NOW, by="test")
        row = books.StoredPayment(
            f"P-{number}", "A-1", cents, 0, cents, None, "kiosk", "customer", NOW, posted.transaction_id, NOW
        )
        books.add_payments(database, [row])

    return work


def enrol(database: sqlite3.Connection) -> None:
    customers.add_account(
        database, Account("A-1", "M-1", "Ada", "residential", "flat", "default", None, NOW, DAY, active=True), "test"
    )


def begun(settings: Settings, payments: int = 3) -> Store:
    store = recovery.open_store(settings, NOW)
    store._transact(enrol)
    for number in range(payments):
        store._transact(pay(number))
    return store


def balance(settings: Settings) -> int:
    with open_for_reading(settings.database) as database:
        return books.balance_cents(database, "A-1")


def scheduled(settings: Settings, at: datetime) -> Path:
    settings.backup_directory.mkdir(exist_ok=True)
    return recovery.take_backup(settings, recovery.scheduled_name(settings, at), at).file


def test_a_backup_while_the_store_writes_is_whole_and_shows_one_instant(settings: Settings, tmp_path: Path) -> None:
    store = begun(settings)
    written = iter(range(3, 100))
    target = tmp_path / "copy.db"

    backup = recovery.take_backup(settings, target, NOW, lambda _: store._transact(pay(next(written))))

    assert next(written) > 4, "payments went on while the copy was made"
    assert (backup.facts.entries, backup.facts.last_payment_id, backup.facts.taken_at) == (6, "P-2", NOW)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "state"]
    assert copies.check_copy(target) == []
    store.close()


@pytest.mark.parametrize(
    ("name", "told"), [("state/edge.db", "live database"), ("state/edge.db-wal", "live"), ("x/y.db", "no directory")]
)
def test_a_backup_never_goes_over_the_live_database(settings: Settings, tmp_path: Path, name: str, told: str) -> None:
    begun(settings).close()

    with pytest.raises(StoreError, match=told):
        recovery.take_backup(settings, tmp_path / name, NOW)

    assert balance(settings) == 300


def test_books_that_do_not_fit_make_no_backup(settings: Settings, tmp_path: Path) -> None:
    begun(settings).close()
    with sqlite3.connect(settings.database) as database:
        database.execute("UPDATE balance SET cents = 7")

    with pytest.raises(StoreError, match="copy is not good"):
        recovery.take_backup(settings, tmp_path / "copy.db", NOW)

    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_no_restore_while_a_daemon_has_the_database(settings: Settings, tmp_path: Path) -> None:
    store = begun(settings)
    recovery.take_backup(settings, tmp_path / "copy.db", NOW)

    with pytest.raises(StoreError, match="another daemon"):
        recovery.restore(settings, tmp_path / "copy.db", LATER)
    store.close()


def test_a_bad_backup_is_refused_and_nothing_is_changed(settings: Settings, tmp_path: Path) -> None:
    begun(settings).close()
    bad = tmp_path / "bad.db"
    bad.write_bytes(settings.database.read_bytes()[: settings.database.stat().st_size // 2])

    with pytest.raises(StoreError, match="backup is not good, nothing was changed"):
        recovery.restore(settings, bad, LATER)

    assert balance(settings) == 300


def test_what_is_restored_is_the_backup_and_what_was_there_is_set_aside(settings: Settings, tmp_path: Path) -> None:
    store = begun(settings)
    recovery.take_backup(settings, tmp_path / "copy.db", NOW)
    store._transact(pay(50))
    store.close()

    answer = recovery.restore(settings, tmp_path / "copy.db", LATER)

    assert (balance(settings), answer["entries"]) == (300, 6)
    aside = settings.state_dir / answer["set_aside"]
    with open_for_reading(aside) as database:
        assert books.balance_cents(database, "A-1") == 400
    with open_for_reading(settings.database) as database:
        (_, kind, data), *_ = records.last_events(database, 1)
        waiting = [json.loads(row[3]) for row in records.waiting_outbox(database)]
    assert (kind, data["last_payment_id"], data["backup_taken_at"]) == ("database_restored", "P-2", NOW.isoformat())
    assert waiting[-1]["event_id"] >= int(LATER.timestamp()), "an event's id is not used twice"


def test_a_relay_commanded_after_the_backup_is_unknown_with_our_mark(settings: Settings, tmp_path: Path) -> None:
    journal = SwitchJournal(settings.switch_journal)
    begun(settings).close()
    journal.note(SentCommand(NOW - timedelta(minutes=1), "M-0", "A-0", "disconnect", "credit", 1))
    recovery.take_backup(settings, tmp_path / "copy.db", NOW)
    for number, (meter, cause) in enumerate({"M-1": "credit", "M-2": "safety"}.items(), start=2):
        journal.note(SentCommand(NOW + timedelta(minutes=1), meter, "A", "disconnect", cause, number))
    with settings.switch_journal.open("ab") as torn:
        torn.write(b'\n{"sent": {"at": "2026-')

    recovery.restore(settings, tmp_path / "copy.db", LATER)

    with open_for_reading(settings.database) as database:
        found = {meter: fleet.relay_change(database, meter) for meter in ("M-0", "M-1", "M-2")}
    assert found["M-0"] is None
    assert {(c.relay, c.cause) for c in found.values() if c} == {("unknown", "credit"), ("unknown", "safety")}


def test_the_switch_journal_is_shortened_to_the_last_command_of_each_meter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.switch_journal.SHORTEN_ABOVE_BYTES", 1000)
    journal = SwitchJournal(tmp_path / "journal")
    for number in range(20):
        journal.note(SentCommand(NOW, f"M-{number % 2}", "A", "disconnect", "credit", number))

    journal.shorten()
    journal.note(SentCommand(LATER, "M-0", "A", "reconnect", "credit", 20))

    assert [(s.meter_id, s.order_id) for s in journal.commanded_since(None)] == [("M-0", 20), ("M-1", 19)]
    assert [s.order_id for s in journal.commanded_since(LATER)] == [20]


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def overwritten(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.write(b"\x00" * 100)


def with_a_bad_page(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.seek(4096 * 3)
        handle.write(b"\xa5" * 4096 * 20)


def removed(file: Path) -> None:
    file.unlink()


DAMAGES = [cut_short, emptied, overwritten, with_a_bad_page, removed]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_set_aside_and_the_newest_good_backup_takes_its_place(
    settings: Settings, damage: Callable[[Path], None]
) -> None:
    store = begun(settings)
    scheduled(settings, NOW)
    store._transact(pay(10))
    newest = scheduled(settings, LATER)
    store._transact(pay(11))
    store.close()
    with_a_bad_page(newest)
    damage(settings.database)
    damaged = settings.database.read_bytes() if settings.database.exists() else None

    store = recovery.open_store(settings, LATER)

    assert books.balance_cents(store._database, "A-1") == 300
    assert copies.restored_at(records.state(store._database)) == LATER
    aside = [file.read_bytes() for file in settings.state_dir.glob("edge.db.set-aside-*Z")]
    assert aside == ([] if damaged is None else [damaged])
    store.close()
    again = recovery.open_store(settings, LATER)
    assert len(list(settings.state_dir.glob("*set-aside*Z"))) == len(aside)
    again.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_good_backup_nothing_starts_and_nothing_is_touched(
    settings: Settings, damage: Callable[[Path], None]
) -> None:
    begun(settings).close()
    damage(settings.database)
    before = sorted(file.name for file in settings.state_dir.iterdir())

    for _ in range(2):
        with pytest.raises(StoreError, match=r"is damaged: .* there is no backup: .*power stays as it is"):
            recovery.open_store(settings, LATER)

    assert sorted(file.name for file in settings.state_dir.iterdir()) == before


def test_a_daemon_killed_before_its_first_commit_begins_afresh(settings: Settings) -> None:
    settings.state_dir.mkdir()
    settings.database.touch()

    store = recovery.open_store(settings, NOW)

    assert stat.S_IMODE(settings.database.stat().st_mode) & 0o137 == 0 or os.geteuid() == 0
    store.close()


def test_what_sqlite_calls_malformed_in_use_ends_all_writing(settings: Settings) -> None:
    store = begun(settings)
    store._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with_a_bad_page(settings.database)
    store._database.execute("PRAGMA cache_size=1")
    store._database.execute("PRAGMA shrink_memory")

    def until_it_breaks() -> None:
        for number in range(100, 400):
            store._transact(pay(number))

    with pytest.raises(StoreCorrupt):
        until_it_breaks()
    with pytest.raises(StoreCorrupt):
        store._transact(lambda database: None)
    store.close()


@pytest.mark.parametrize("step", ["restore ready", "restore set aside", "restore renamed"])
def test_a_restore_that_is_killed_is_finished_or_never_was(settings: Settings, tmp_path: Path, step: str) -> None:
    store = begun(settings)
    recovery.take_backup(settings, tmp_path / "copy.db", NOW)
    store._transact(pay(50))
    store.close()
    child = os.fork()
    if child == 0:
        recovery.restore(settings, tmp_path / "copy.db", LATER, lambda at: at == step and os.kill(os.getpid(), 9))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9

    store = recovery.open_store(settings, LATER)

    assert books.balance_cents(store._database, "A-1") == (400 if step == "restore ready" else 300)
    store.close()


def test_a_full_disk_refuses_whole_transactions_and_goes_on_when_there_is_room(settings: Settings) -> None:
    store = begun(settings)
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count={pages + 2}")
    taken = 3

    def until_full() -> None:
        nonlocal taken
        for _ in range(1000):
            store._transact(pay(taken))
            taken += 1

    with pytest.raises(StoreFull, match="nothing was done"):
        until_full()

    assert store.on_reserve, "the reserve was given up before anybody was refused"
    assert books.balance_cents(store._database, "A-1") == taken * 100
    store._database.execute("PRAGMA max_page_count=1000000")
    store._transact(pay(taken))
    store.take_reserve()
    assert (store.out_of_room, store.on_reserve) == (None, False)
    assert list(audit.audit(store._database)) == []
    store.close()
