"""Holds, protections, moratoriums and leaving, in a real store: recorded with who and when, told when they happen."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge.catalog import load_catalog
from edge.core.model import HoldKind, Protection
from edge.core.restraints import registered_late
from edge.daemon import Ports, build_gateway
from edge.enrolment import enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.leaving import unenroll
from edge.payments import PaymentRequest, take_payment
from edge.refusals import NotThere, RequestRefused
from edge.restraints import (
    HoldRequest,
    MoratoriumRequest,
    add_hold,
    end_moratorium,
    order_moratorium,
    release_hold,
    set_protection,
)
from edge.settings import load_settings
from edge.store import customers, fleet, records, restraints
from edge.store.engine import Store
from edge.supervision import Supervision
from tests.stand_ins import SettableClock, SilentHeadEnd

CHICAGO = ZoneInfo("America/Chicago")
TUESDAY = datetime(2026, 10, 13, 15, 0, tzinfo=UTC)  # 10:00 in Chicago
HOUR = timedelta(hours=1)
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
RESTRAINTS = ("hold", "hold_released", "moratorium", "protected", "unenrolled")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with one meter, whose clock stands."""
    (tmp_path / "edge.toml").write_text(SITE)
    settings = load_settings(tmp_path / "edge.toml", tmp_path)
    store = Store(settings.database, threaded=False)
    yield build_gateway(settings, load_catalog(settings), Ports(SettableClock(TUESDAY), store, {}, SilentHeadEnd()))
    store.close()


async def enrolled(gateway: Gateway, **cells: str) -> None:
    row = Row("row 1", {"account_id": "A-1", "meter_id": "M-1", "opening_balance": "-4.20", **cells})
    outcomes = await enroll(gateway, [row], "test")
    assert outcomes[0].accepted, outcomes


def advance(gateway: Gateway, span: timedelta) -> datetime:
    assert isinstance(gateway.clock, SettableClock)
    gateway.clock.instant += span
    return gateway.clock.instant


async def events(gateway: Gateway) -> list[dict[str, Any]]:
    """What the head end is told of restraints, taken from the outbox as if the broker had it."""

    def work(database: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = records.waiting_outbox(database, 10_000)
        records.mark_sent(database, [row[0] for row in rows], gateway.clock.now())
        told = [json.loads(row[3]) for row in rows if row[1] == "events"]
        return [event for event in told if event["kind"] in RESTRAINTS]

    return await gateway.store.write(work)


async def kinds(gateway: Gateway) -> list[str]:
    return [event["kind"] for event in await events(gateway)]


async def codes(gateway: Gateway) -> tuple[str, ...]:
    decision = await gateway.store.read(lambda database: records.last_decision(database, "A-1"))
    assert decision is not None
    return decision.codes


async def held(gateway: Gateway, kind: HoldKind = HoldKind.OPERATOR, **changes: Any) -> restraints.RecordedHold:
    given = {"account_id": "A-1", "kind": kind, "starts_at": None, "until": None, "reason": "asked", **changes}
    return await add_hold(gateway, HoldRequest(**given), "tester")


@pytest.mark.parametrize("kind", list(HoldKind))
async def test_a_hold_blocks_until_it_is_released(gateway: Gateway, kind: HoldKind) -> None:
    await enrolled(gateway)
    recorded = await held(gateway, kind)
    assert (recorded.hold_id, recorded.by, recorded.recorded_at) == ("H-A-1-1", "tester", TUESDAY)
    assert f"hold_{kind.value}" in await codes(gateway)
    at = advance(gateway, HOUR)
    released = await release_hold(gateway, "H-A-1-1", at, "another")
    assert released.release == restraints.Release(at, "released", "", "another")
    assert f"hold_{kind.value}" not in await codes(gateway)
    assert await release_hold(gateway, "H-A-1-1", at + HOUR, "a third") == released
    told = await events(gateway)
    assert [(e["kind"], e["hold_id"], e["hold"], e["by"]) for e in told] == [
        ("hold", "H-A-1-1", kind.value, "tester"),
        ("hold_released", "H-A-1-1", kind.value, "another"),
    ]


async def test_running_out_is_a_release_told_once_and_when_it_happens(gateway: Gateway) -> None:
    await enrolled(gateway)
    supervision = Supervision(gateway)
    until = TUESDAY + 2 * HOUR
    await held(gateway, starts_at=TUESDAY + HOUR, until=until, hold_id="X")
    assert await kinds(gateway) == []
    assert TUESDAY + HOUR in await supervision.decide_all()
    advance(gateway, HOUR)
    assert until in await supervision.decide_all()
    assert await kinds(gateway) == ["hold"]
    assert "hold_operator" in await codes(gateway)
    advance(gateway, HOUR)
    await supervision.decide_all()
    await supervision.decide_all()
    (told,) = await events(gateway)
    assert (told["kind"], told["at"], told["outcome"]) == ("hold_released", until.isoformat(), "ran out")
    assert "hold_operator" not in await codes(gateway)


async def test_everybody_is_decided_about_when_a_moratorium_runs_out(gateway: Gateway) -> None:
    """Also where no disconnect is in sight: what was decided is on record as it is."""
    await enrolled(gateway, opening_balance="0.00", takeover="yes")
    await order_moratorium(gateway, MoratoriumRequest("OCC-7", None, TUESDAY + HOUR, "ice", "OCC"), "tester")
    supervision = Supervision(gateway)
    await supervision.decide_all()
    assert {"moratorium_order", "balance_not_negative"} <= set(await codes(gateway))
    advance(gateway, HOUR)
    await supervision._look(everybody=False)
    assert "moratorium_order" not in await codes(gateway)


async def test_the_same_hold_again_changes_nothing_and_a_new_end_is_heard(gateway: Gateway) -> None:
    await enrolled(gateway)
    first = await held(gateway, until=TUESDAY + HOUR, hold_id="X")
    advance(gateway, timedelta(minutes=1))
    assert await held(gateway, until=TUESDAY + HOUR, hold_id="X") == first
    later = await held(gateway, until=TUESDAY + 5 * HOUR, hold_id="X")
    assert (later.hold.starts_at, later.hold.until) == (TUESDAY, TUESDAY + 5 * HOUR)
    advance(gateway, 2 * HOUR)
    await Supervision(gateway).decide_all()
    assert "hold_operator" in await codes(gateway)
    assert await kinds(gateway) == ["hold"]
    assert len(await gateway.store.read(restraints.recorded_holds)) == 1


async def test_a_hold_that_contradicts_the_record_is_refused(gateway: Gateway) -> None:
    await enrolled(gateway)
    with pytest.raises(NotThere, match="there is no account A-9"):
        await held(gateway, account_id="A-9")
    with pytest.raises(RequestRefused, match="ends before it begins"):
        await held(gateway, until=TUESDAY)
    await held(gateway, hold_id="X")
    with pytest.raises(RequestRefused, match="already there for another account or kind"):
        await held(gateway, HoldKind.DISPUTE, hold_id="X")
    with pytest.raises(RequestRefused, match="only a settlement is broken"):
        await release_hold(gateway, "X", TUESDAY, "tester", "broken")
    with pytest.raises(NotThere, match="there is no hold Y"):
        await release_hold(gateway, "Y", TUESDAY, "tester")
    await release_hold(gateway, "X", advance(gateway, HOUR), "tester")
    with pytest.raises(RequestRefused, match="was released at"):
        await held(gateway, until=TUESDAY + 9 * HOUR, hold_id="X")


async def test_a_settlement_agreement_is_honoured_or_broken(gateway: Gateway) -> None:
    await enrolled(gateway)
    for number, outcome in enumerate(("honoured", "broken")):
        await held(gateway, HoldKind.SETTLEMENT, hold_id=f"S-{number}")
        released = await release_hold(gateway, f"S-{number}", advance(gateway, HOUR), "tester", outcome, "said so")
        assert released.release is not None
        assert (released.release.outcome, released.release.reason) == (outcome, "said so")
    assert [e["outcome"] for e in await events(gateway) if e["kind"] == "hold_released"] == ["honoured", "broken"]


@pytest.mark.parametrize(
    ("registered", "proposed", "late"),
    [
        ("2026-10-13T10:00-05:00", None, False),
        ("2026-10-13T00:00-05:00", "2026-10-14T08:00-05:00", False),
        ("2026-10-13T00:00:01-05:00", "2026-10-14T08:00-05:00", True),
        ("2026-10-14T09:00-05:00", "2026-10-14T09:00-05:00", True),
        ("2026-10-13T00:00-05:00", "2026-10-14T23:59-05:00", False),
        ("2026-10-31T00:00-05:00", "2026-11-01T08:00-06:00", False),  # the clocks go back: 24 hours are 24 hours
        ("2026-11-01T00:30-05:00", "2026-11-02T08:00-06:00", False),
        ("2026-11-01T01:00:01-05:00", "2026-11-02T08:00-06:00", True),
    ],
)
def test_a_dispute_is_late_within_24_hours_of_the_date(registered: str, proposed: str | None, late: bool) -> None:
    at = None if proposed is None else datetime.fromisoformat(proposed)
    assert registered_late(datetime.fromisoformat(registered), at, CHICAGO) is late


async def test_a_late_dispute_holds_and_is_marked(gateway: Gateway) -> None:
    friday = advance(gateway, timedelta(days=3, hours=6))  # 16:00: the first possible disconnect is on Monday
    await enrolled(gateway)

    def as_sent(database: sqlite3.Connection) -> None:
        fleet.add_relay_change(database, "M-1", friday, "connected", "found", None)
        rows = records.waiting_outbox(database, 10_000)
        records.mark_sent(database, [row[0] for row in rows], friday)

    await gateway.store.write(as_sent)
    advance(gateway, 31 * HOUR)  # Saturday 23:00
    early = await held(gateway, HoldKind.DISPUTE, hold_id="early")
    await release_hold(gateway, "early", advance(gateway, HOUR), "tester")
    advance(gateway, timedelta(seconds=1))
    late = await held(gateway, HoldKind.DISPUTE, hold_id="late")
    assert (early.registered_late, late.registered_late) == (False, True)
    assert "hold_dispute" in await codes(gateway)
    assert [e["registered_late"] for e in await events(gateway) if e["kind"] == "hold"] == [False, True]


async def test_an_order_begins_is_extended_and_ends(gateway: Gateway) -> None:
    await enrolled(gateway)
    wanted = MoratoriumRequest("OCC-7", TUESDAY + HOUR, TUESDAY + 2 * HOUR, "ice", "OCC")
    await order_moratorium(gateway, wanted, "tester")
    assert await kinds(gateway) == []
    supervision = Supervision(gateway)
    advance(gateway, HOUR)
    await supervision.decide_all()
    assert "moratorium_order" in await codes(gateway)
    later = await order_moratorium(gateway, MoratoriumRequest("OCC-7", None, TUESDAY + 3 * HOUR, "", ""), "another")
    assert (later.order.starts_at, later.reason, later.ordered_by, later.by) == (
        TUESDAY + HOUR,
        "ice",
        "OCC",
        "another",
    )
    advance(gateway, HOUR)
    await supervision.decide_all()
    assert "moratorium_order" in await codes(gateway)
    advance(gateway, HOUR)
    await supervision.decide_all()
    assert "moratorium_order" not in await codes(gateway)
    told = await events(gateway)
    assert [(e["order"], e["active"], e["at"]) for e in told] == [
        ("OCC-7", True, (TUESDAY + HOUR).isoformat()),
        ("OCC-7", False, (TUESDAY + 3 * HOUR).isoformat()),
    ]


async def test_which_order_ends_must_be_clear(gateway: Gateway) -> None:
    with pytest.raises(NotThere, match="there is no moratorium that could end"):
        await end_moratorium(gateway, None, "tester")
    names = [
        (await order_moratorium(gateway, MoratoriumRequest(None, None, None, "ice", ""), "tester")).order.order
        for _ in range(2)
    ]
    assert names == ["M-20261013-1", "M-20261013-2"]
    advance(gateway, HOUR)
    with pytest.raises(RequestRefused, match="name the one that ends \\(M-20261013-1, M-20261013-2\\)"):
        await end_moratorium(gateway, None, "tester")
    await end_moratorium(gateway, names[0], "tester")
    ended = await end_moratorium(gateway, None, "another")
    assert (ended.order.order, ended.order.until, ended.by) == (names[1], TUESDAY + HOUR, "another")
    assert [e["active"] for e in await events(gateway)] == [True, True, False, False]


async def test_a_protection_reconnects_and_takes_the_account_out(gateway: Gateway) -> None:
    await enrolled(gateway, disconnected_for_credit="yes")
    await held(gateway)
    await events(gateway)
    assert await set_protection(gateway, "A-1", [Protection.MEDICAL], True, TUESDAY, "tester") == (Protection.MEDICAL,)
    (order,) = await gateway.store.read(fleet.live_orders)
    assert (order.action, order.state) == ("reconnect", "wanted")
    told = await events(gateway)
    assert [(e["kind"], e["by"]) for e in told] == [("protected", "tester"), ("unenrolled", "tester")]
    assert told[1]["reason"] == "protected: medical"
    account = await gateway.store.read(lambda database: customers.account(database, "A-1"))
    assert account is not None
    assert (account.active, account.last_day) == (False, TUESDAY.date())
    assert await gateway.store.read(customers.accounts_to_watch) == ["A-1"]
    await Supervision(gateway).decide_all()
    assert len(await gateway.store.read(fleet.live_orders)) == 1


async def test_one_protection_of_two_ends_and_the_account_stays_protected(gateway: Gateway) -> None:
    await enrolled(gateway)
    both = [Protection.MEDICAL, Protection.ELDERLY_DISABLED]
    await set_protection(gateway, "A-1", both, True, TUESDAY, "tester")
    with pytest.raises(RequestRefused, match="cannot end in the future"):
        await set_protection(gateway, "A-1", both, False, TUESDAY + HOUR, "tester")
    left = await set_protection(gateway, "A-1", [Protection.MEDICAL], False, TUESDAY, "tester")
    assert left == (Protection.ELDERLY_DISABLED,)
    assert await set_protection(gateway, "A-1", list(Protection), False, TUESDAY, "tester") == ()
    told = [e["protected"] for e in await events(gateway) if e["kind"] == "protected"]
    assert told == [True, True, True, False]
    assert {"not_enrolled"} <= set(await codes(gateway))


async def test_whoever_has_left_is_not_cut_but_pays_and_gets_power_back(gateway: Gateway) -> None:
    await enrolled(gateway, disconnected_for_credit="yes")
    assert await unenroll(gateway, "A-1", "moved", "tester") == TUESDAY.date()
    assert {"not_enrolled"} <= set(await codes(gateway))
    with pytest.raises(RequestRefused, match="left the program on 2026-10-13"):
        await unenroll(gateway, "A-1", "moved", "tester")
    with pytest.raises(NotThere, match="there is no account A-9"):
        await unenroll(gateway, "A-9", "moved", "tester")
    await take_payment(gateway, PaymentRequest("P-1", "A-1", 25_00, None, "kiosk", "customer"), "tester")
    (order,) = await gateway.store.read(fleet.live_orders)
    assert (order.account_id, order.action) == ("A-1", "reconnect")


async def test_the_meter_serves_another_account_from_the_next_day(gateway: Gateway) -> None:
    """Credit of the account that left never closes the relay that was opened for the one that came."""
    await enrolled(gateway, opening_balance="40.00")
    await unenroll(gateway, "A-1", "moved", "tester")
    cells = {"account_id": "A-2", "meter_id": "M-1", "opening_balance": "-1.00", "disconnected_for_credit": "yes"}
    (refused,) = await enroll(gateway, [Row("row 2", cells)], "test")
    assert refused.reason == "row 2: meter M-1 serves account A-1 until the end of the day"
    advance(gateway, 24 * HOUR)
    (outcome,) = await enroll(gateway, [Row("row 2", cells)], "test")
    assert outcome.accepted
    (again,) = await enroll(gateway, [Row("row 1", {**cells, "account_id": "A-1"})], "test")
    assert again.reason == "row 1: account A-1 left on 2026-10-13: enrol it again under a new id"
    await take_payment(gateway, PaymentRequest("P-1", "A-1", 25_00, None, "kiosk", "customer"), "tester")
    await Supervision(gateway).decide_all()
    assert await gateway.store.read(fleet.live_orders) == []
    await take_payment(gateway, PaymentRequest("P-2", "A-2", 25_00, None, "kiosk", "customer"), "tester")
    await Supervision(gateway).decide_all()
    (order,) = await gateway.store.read(fleet.live_orders)
    assert (order.account_id, order.action, order.state) == ("A-2", "reconnect", "wanted")
