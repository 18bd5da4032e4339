"""A gateway with one line of meters and a clock that stands, for scenarios about money."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.catalog import Catalog, load_catalog
from edge.daemon import Ports, build_gateway
from edge.days import DayCloser
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.payments import PaymentRequest, Receipt, take_payment
from edge.settings import load_settings
from edge.store import books, fleet, records
from edge.store.engine import Store
from tests.stand_ins import SettableClock, SilentHeadEnd

TUESDAY = datetime(2026, 10, 13, 15, 0, tzinfo=UTC)  # 10:00 in Chicago
LINE = '[[lines]]\nid = "bus"\ntransport = "modbus-tcp"\nhost = "127.0.0.1"\n'
METER = '[[meters]]\nid = "M-{0}"\nprofile = "hiking-dds238-2-znsr"\nline = "bus"\nunit = {0}\n'
_CATALOG: list[Catalog] = []  # what ships, read once


@contextmanager
def a_gateway(folder: Path, at: datetime = TUESDAY) -> Iterator[Gateway]:
    """A gateway with three meters at an instant."""
    (folder / "edge.toml").write_text(LINE + "".join(METER.format(unit) for unit in (1, 2, 3)))
    settings = load_settings(folder / "edge.toml", folder)
    if not _CATALOG:
        _CATALOG.append(load_catalog(settings))
    store = Store(settings.database, threaded=False)
    gateway = build_gateway(settings, _CATALOG[0], Ports(SettableClock(at), store, {}, SilentHeadEnd()))
    gateway.clock_in_doubt = False
    yield gateway
    assert list(books.audit(store._database)) == []
    store.close()


def advance(gateway: Gateway, by: timedelta) -> None:
    """Set the clock forward."""
    assert isinstance(gateway.clock, SettableClock)
    gateway.clock.instant += by


async def enrolled(gateway: Gateway, number: int = 1, **cells: str) -> None:
    """Enrol ``A-<number>`` at ``M-<number>``, as one that a former head end ran."""
    row = Row(f"row {number}", {"account_id": f"A-{number}", "meter_id": f"M-{number}", "takeover": "yes", **cells})
    (outcome,) = await enroll(gateway, [row], "test")
    assert outcome.accepted, outcome.reason


async def paid(gateway: Gateway, payment_id: str, cents: int, **more: Any) -> Receipt:
    """Pay for ``A-1``; further keys are those of a payment request."""
    told = {"account_id": "A-1", "paid_at": None, "channel": "", "source": "", **more}
    return await take_payment(gateway, PaymentRequest(payment_id, amount_cents=cents, **told), "test")


async def standing(gateway: Gateway, account_id: str = "A-1") -> tuple[int, int]:
    """Balance and arrears, in cents."""
    return await gateway.store.read(lambda d: (books.balance_cents(d, account_id), books.arrears_cents(d, account_id)))


async def on_account(gateway: Gateway, ledger_account: str) -> int:
    """What stands on a ledger account, debit positive."""
    return await gateway.store.read(lambda database: books._cents(database, ledger_account))


async def events(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    """The events of a kind, oldest first."""
    found = await gateway.store.read(lambda database: records.last_events(database, 100))
    return [data for _, told, data in reversed(found) if told == kind]


async def notices(gateway: Gateway) -> list[str]:
    """The types of the notices, in their order."""
    rows = await gateway.store.read(
        lambda d: d.execute("SELECT type FROM notice ORDER BY created_at, entry_id").fetchall()
    )
    return [kind for (kind,) in rows]


async def metered(gateway: Gateway, hours: int, meter_id: str = "M-1", wh_an_hour: int = 1_000) -> None:
    """Hourly reads from now on."""
    start = gateway.clock.now()
    reads = [
        fleet.StoredRead(meter_id, start + timedelta(hours=n), 500_000 + wh_an_hour * n, None, "connected", True, ())
        for n in range(hours)
    ]
    await gateway.store.write(lambda database: fleet.save_reads(database, reads))


async def days_closed(gateway: Gateway, days: int) -> None:
    """Let civil days pass and close them, one by one."""
    for _ in range(days):
        advance(gateway, timedelta(days=1))
        await DayCloser(gateway).close_due()
