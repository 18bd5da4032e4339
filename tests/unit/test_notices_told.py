"""Notices as they are kept and queued: which fact makes which, once, by which channels, and when they count."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.catalog import load_catalog
from edge.core import ledger
from edge.core.model import Forecast, Observation
from edge.core.usage import DayQuality, DayUse
from edge.daemon import Ports, build_gateway
from edge.displays import display_of
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.notices import tell_balance, tell_ruling
from edge.payments import PaymentRequest, take_payment
from edge.settings import load_settings
from edge.store import books, customers, fleet, many, records, usage
from edge.store.engine import Store
from edge.store.usage import ClosedDay
from edge.upstream import HeadEnd
from edge.weather_feed import parse_document
from meter_sim import weather_documents
from protocols.link import HeadEndMessage
from tests.stand_ins import SettableClock, SilentHeadEnd

TUESDAY = datetime(2026, 10, 13, 15, 0, tzinfo=UTC)  # 10:00 in Chicago
SITE = """
[[lines]]
id = "bus"
transport = "modbus-tcp"
host = "127.0.0.1"
[[meters]]
id = "M-1"
profile = "hiking-dds238-2-znsr"
line = "bus"
unit = 1
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with one meter, connected, whose clock stands."""
    (tmp_path / "edge.toml").write_text(SITE)
    settings = load_settings(tmp_path / "edge.toml", tmp_path)
    store = Store(settings.database, threaded=False)
    yield build_gateway(settings, load_catalog(settings), Ports(SettableClock(TUESDAY), store, {}, SilentHeadEnd()))
    store.close()


async def enrolled(gateway: Gateway, **cells: str) -> None:
    given = {"account_id": "A-1", "meter_id": "M-1", "takeover": "yes", **cells}
    outcomes = await enroll(gateway, [Row("row 1", given)], "test")
    assert outcomes[0].accepted, outcomes
    read = fleet.StoredRead("M-1", gateway.clock.now(), 1_000_000, 2_400, "connected", True, ())
    await gateway.store.write(lambda database: fleet.save_reads(database, [read]))
    await gateway.store.write(
        lambda database: fleet.add_relay_change(database, "M-1", gateway.clock.now(), "connected", "found", None)
    )


async def charged(gateway: Gateway, day: date, cents: int, energy_wh: int) -> None:
    """A civil day on the books, as its close leaves it."""
    around = gateway.circumstances()

    def work(database: sqlite3.Connection) -> None:
        account = customers.account(database, "A-1")
        assert account is not None
        charges = {"energy": cents}
        transaction = ledger.charge(account_id="A-1", day=day, charges=charges, estimated=False)
        posted = books.post(database, transaction, posted_at=around.now, received_at=around.now, by="test")
        use = DayUse(day, 0, 1_000_000, energy_wh, DayQuality.ACTUAL)
        closed = ClosedDay("A-1", 1, "M-1", use, charges, posted.balance_cents, posted.transaction_id, around.now)
        usage.add_day(database, closed, around.now)
        tell_balance(database, gateway, account, posted, around)

    await gateway.record(work)


async def paid(gateway: Gateway, payment_id: str, cents: int, paid_at: datetime | None = None) -> None:
    receipt = await take_payment(
        gateway, PaymentRequest(payment_id, "A-1", cents, paid_at, "kiosk", "customer"), "test"
    )
    assert receipt.status == "posted"


async def supervised(gateway: Gateway) -> None:
    """What supervision does with an account at or below zero."""
    around = gateway.circumstances()

    def work(database: sqlite3.Connection) -> None:
        tell_ruling(database, gateway, gateway.rule(database, "A-1", around), around)

    await gateway.record(work)


async def sent(gateway: Gateway) -> list[dict[str, Any]]:
    """What waits for the head end, taken from the outbox as if the broker had it."""

    def work(database: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = [row for row in records.waiting_outbox(database, 10_000) if row[1] == "notices"]
        records.mark_sent(database, [row[0] for row in rows], gateway.clock.now())
        return [json.loads(row[3]) for row in rows]

    return await gateway.store.write(work)


async def said(gateway: Gateway, topic: str, **content: str) -> None:
    """The head end says something, and the gateway has taken it in."""
    link = SilentHeadEnd([HeadEndMessage(topic, json.dumps(content).encode(), False, None)])
    await HeadEnd(gateway, link).receive()
    refused = await gateway.store.read(lambda database: database.execute("SELECT reason FROM rejected").fetchall())
    assert refused == []


async def confirmed(gateway: Gateway, notice_id: str, at: datetime) -> None:
    await said(gateway, "notice-receipts", notice_id=notice_id, delivered_at=at.isoformat())


async def banned_for_two_days(gateway: Gateway) -> None:
    now = gateway.clock.now()
    until = now + timedelta(days=2)
    await said(gateway, "moratoriums", order="OCC-7", **{"from": now.isoformat(), "until": until.isoformat()})


def advance(gateway: Gateway, **time: float) -> None:
    assert isinstance(gateway.clock, SettableClock)
    gateway.clock.instant += timedelta(**time)


async def types(gateway: Gateway) -> list[str]:
    return [notice["type"] for notice in await sent(gateway)]


async def test_the_seed_s_third_message_comes_out_of_a_payment(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-1.36", arrears="100.00", program="pso-prepay")
    await sent(gateway)
    await paid(gateway, "P-1", 30_00, datetime(2026, 7, 11, 14, 0, tzinfo=UTC))
    (notice,) = await sent(gateway)
    assert list(notice) == ["notice_id", "account_id", "type", "channel", "text", "created_at"]
    assert (notice["notice_id"], notice["type"], notice["channel"]) == ("N-payment-P-1-sms", "payment", "sms")
    assert notice["text"] == (
        "$30 payment received July 11th. Thanks!\n$9 toward arrears.\n$21 = 215 kWh prepaid\n"
        "------------------------------\n201 kWh balance"
    )


async def test_levels_are_told_as_the_days_are_charged(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="26.50", low_balance_level="10.00")
    heard = []
    for back in range(8):
        await charged(gateway, date(2026, 10, 5 + back), 3_50, 33_000)
        heard.append(await sent(gateway))
    # at 3.50 a day: 23.00, 19.50, 16.00, 12.50, 9.00, 5.50, 2.00, -1.50
    assert [[n["type"] for n in notices] for notices in heard] == [
        *[[]] * 4,
        ["low_balance", "days_left"],
        [],
        ["days_left"],
        ["zero"],
    ]
    assert heard[4][1]["text"] == "Remaining Credit\n92 kWh\nLess than 3 days\n2.4 kW\n0 kWh today"
    assert heard[6][0]["text"].splitlines()[2] == "Less than 1 day"
    await paid(gateway, "P-1", 30_00)
    assert await types(gateway) == ["payment"]
    await charged(gateway, date(2026, 10, 13), 20_00, 200_000)
    assert await types(gateway) == ["low_balance", "days_left"]


async def test_zero_is_told_once_until_the_balance_was_above(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="25.00", arrears="10.00")
    await charged(gateway, date(2026, 10, 11), 25_00, 250_000)
    assert await types(gateway) == ["zero"]
    await charged(gateway, date(2026, 10, 12), 3_00, 30_000)
    await paid(gateway, "P-1", 1_00)
    assert await types(gateway) == ["payment"]
    await paid(gateway, "P-2", 20_00)
    await charged(gateway, date(2026, 10, 13), 30_00, 300_000)
    assert await types(gateway) == ["payment", "zero"]


async def test_a_disconnect_to_come_is_told_once_with_time_and_amount(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20", arrears="100.00")
    await supervised(gateway)
    assert await types(gateway) == ["zero"]
    await supervised(gateway)
    (pending,) = await sent(gateway)
    assert pending["type"] == "pending_disconnect"
    assert pending["text"] == (
        "Your power may be disconnected from Wednesday, October 14th, 10:00 a.m. on."
        " A payment of $6.01 keeps your power on. Balance -$4.20."
    )
    advance(gateway, minutes=5)
    await supervised(gateway)
    assert await sent(gateway) == []


async def test_the_end_of_an_order_is_told_to_whom_it_held(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20")
    await sent(gateway)
    await banned_for_two_days(gateway)
    await supervised(gateway)
    assert await types(gateway) == ["pending_disconnect"]
    advance(gateway, days=2)
    await supervised(gateway)
    (ended,) = await sent(gateway)
    assert ended["type"] == "moratorium_ended"
    assert ended["text"].startswith("The ban on disconnections has ended.")
    assert "A payment of $4.21 keeps your power on. Balance -$4.20." in ended["text"]
    await supervised(gateway)
    assert await sent(gateway) == []


async def test_the_end_of_an_order_is_no_news_to_whom_paid_meanwhile(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20")
    await banned_for_two_days(gateway)
    await supervised(gateway)
    await paid(gateway, "P-1", 10_00)
    await charged(gateway, date(2026, 10, 12), 20_00, 200_000)
    advance(gateway, days=2)
    await sent(gateway)
    await supervised(gateway)
    assert "moratorium_ended" not in await types(gateway)


async def test_the_strict_program_tells_zero_again_after_an_order(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20", program="strict")
    assert await types(gateway) == ["zero"]
    advance(gateway, hours=1)
    await banned_for_two_days(gateway)
    advance(gateway, days=3)
    await supervised(gateway)
    (zero,) = await sent(gateway)
    assert zero["type"] == "zero"
    assert "notice_after_moratorium" in await blocks(gateway)
    await confirmed(gateway, zero["notice_id"], gateway.clock.now())
    advance(gateway, hours=24)
    await supervised(gateway)
    assert "notice_after_moratorium" not in await blocks(gateway)
    assert "zero" not in await types(gateway)


async def blocks(gateway: Gateway) -> tuple[str, ...]:
    decision = await gateway.store.read(lambda database: records.last_decision(database, "A-1"))
    assert decision is not None
    return decision.codes


async def test_nothing_is_pending_while_a_hold_has_no_end(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20")
    await sent(gateway)
    await said(gateway, "holds", hold_id="H-1", account_id="A-1", kind="operator")
    await supervised(gateway)
    assert await sent(gateway) == []
    advance(gateway, minutes=1)
    await said(gateway, "holds", hold_id="H-1", released_at=gateway.clock.now().isoformat())
    advance(gateway, minutes=1)
    await supervised(gateway)
    assert await types(gateway) == ["pending_disconnect"]


async def test_each_channel_gets_its_own_notice_and_the_first_confirmation_counts(gateway: Gateway) -> None:
    await enrolled(
        gateway,
        opening_balance="-4.20",
        notice_channels="sms; ivr;email",
        email="ada@example.org",
        phone="+1 405 555 0100",
    )
    heard = await sent(gateway)
    assert [(n["channel"], n["type"]) for n in heard] == [("sms", "zero"), ("ivr", "zero"), ("email", "zero")]
    assert [n.get("phone") for n in heard] == ["+1 405 555 0100", "+1 405 555 0100", None]
    assert await reached(gateway) == TUESDAY
    assert await reached(gateway, confirmed_only=True) is None
    advance(gateway, minutes=10)
    await confirmed(gateway, heard[1]["notice_id"], TUESDAY + timedelta(minutes=8))
    await confirmed(gateway, heard[0]["notice_id"], TUESDAY + timedelta(minutes=9))
    for confirmed_only in (False, True):
        assert await reached(gateway, confirmed_only=confirmed_only) == TUESDAY + timedelta(minutes=8)


async def test_a_delivery_before_the_notice_was_made_counts_from_the_notice(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20")
    (zero,) = await sent(gateway)
    await confirmed(gateway, zero["notice_id"], TUESDAY - timedelta(days=3))
    assert await reached(gateway) == TUESDAY


async def reached(gateway: Gateway, *, confirmed_only: bool = False) -> datetime | None:
    found = await gateway.store.read(lambda database: many.told(database, ["A-1"], "zero"))
    return found["A-1"].reached_at(confirmed_only=confirmed_only)


async def test_a_display_shows_what_is_left_and_what_was_told(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="25.55", notice_channels="display")
    for back in range(7):
        await charged(gateway, date(2026, 10, 6 + back), 1 if back else 2, 40_000)
    await paid(gateway, "P-1", 8)
    around = gateway.circumstances()

    def work(database: sqlite3.Connection) -> dict[str, Any]:
        account = customers.account(database, "A-1")
        assert account is not None
        return display_of(database, gateway, account, around)

    shown = await gateway.store.read(work)
    assert shown["text"].splitlines()[1:2] + shown["text"].splitlines()[3:] == [
        "262 kWh",
        "2.4 kW",
        "0 kWh today",
        "40 kWh yesterday",
    ]
    assert (shown["remaining"], shown["remaining_kwh"], shown["power_w"]) == ("25.55", 262, 2_400)
    assert [notice["type"] for notice in shown["notices"]] == ["payment"]
    assert await sent(gateway) == []  # a display is not the head end's


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (
            {"notice_channels": "pigeon"},
            "row 1: notice_channels - 'pigeon' is not a channel (display, email, sms, ivr)",
        ),
        ({"notice_channels": "email"}, "row 1: notice_channels - email needs an address in the column email"),
        ({"email": "ada@x.org,b@x.org"}, "row 1: email - 'ada@x.org,b@x.org' is not an e-mail address"),
        ({"phone": "call me"}, "row 1: phone - 'call me' is not a telephone number"),
    ],
)
async def test_a_contact_that_cannot_be_used_is_refused(gateway: Gateway, cells: dict[str, str], reason: str) -> None:
    outcomes = await enroll(gateway, [Row("row 1", {"account_id": "A-1", "meter_id": "M-1", **cells})], "test")
    assert (outcomes[0].accepted, outcomes[0].reason) == (False, reason)


async def test_a_long_payment_id_leaves_a_notice_that_can_be_confirmed(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="30.00")
    await paid(gateway, "P" * 128, 5_00)
    (notice,) = await sent(gateway)
    assert len(notice["notice_id"]) <= 128
    await confirmed(gateway, notice["notice_id"], gateway.clock.now())


async def test_weather_that_is_not_known_ends_no_ban(gateway: Gateway) -> None:
    await enrolled(gateway, opening_balance="-4.20")
    forecast(gateway, [20_00] * 30)
    await supervised(gateway)
    assert "weather_cold" in await blocks(gateway)
    await sent(gateway)
    gateway.weather.forecast = None
    await supervised(gateway)
    assert "moratorium_ended" not in await types(gateway)
    forecast(gateway, [60_00] * 30)
    now = gateway.clock.now()
    gateway.weather.observed = Observation(now, 60_00, 60_00)
    gateway.weather.take(parse_document(json.dumps(weather_documents.alerts(now, [])).encode(), now))
    await supervised(gateway)
    assert "weather_unknown" not in await blocks(gateway)
    assert "moratorium_ended" in await types(gateway)


def forecast(gateway: Gateway, temperatures_f100: list[int]) -> None:
    now = gateway.clock.now()
    hours = tuple(temperatures_f100)
    gateway.weather.forecast = Forecast(now, now.replace(minute=0), hours, hours)
