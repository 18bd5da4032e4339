"""Enrolment in a real store: what a row brings along is on the books, a refused row leaves nothing, leaving ends it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from edge.catalog import check_accounts, load_catalog
from edge.core import ledger
from edge.daemon import Ports, build_gateway
from edge.days import DayCloser
from edge.enrolment import Outcome, enroll
from edge.enrolment_file import Row
from edge.gateway import Gateway
from edge.leaving import unenroll
from edge.settings import ConfigError, load_settings
from edge.store import books, customers, fleet, records, usage
from edge.store.engine import Store
from tests.stand_ins import SettableClock, SilentHeadEnd

TUESDAY = datetime(2026, 10, 13, 15, 0, tzinfo=UTC)  # 10:00 in Chicago
LINE = """
[[lines]]
id = "bus"
transport = "modbus-tcp"
host = "127.0.0.1"
"""
METER = """
[[meters]]
id = "M-{0}"
profile = "hiking-dds238-2-znsr"
line = "bus"
unit = {0}
"""
SMALL_PILOT = """
title = "A pilot of three"
source = "test"
base = "oge-pay-as-you-go"
[eligibility]
max_participants = 3
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with five meters and a pilot of three participants, whose clock stands."""
    (tmp_path / "edge.toml").write_text(LINE + "".join(METER.format(unit) for unit in range(1, 6)))
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "pilot.toml").write_text(SMALL_PILOT)
    settings = load_settings(tmp_path / "edge.toml", tmp_path)
    store = Store(settings.database, threaded=False)
    yield build_gateway(settings, load_catalog(settings), Ports(SettableClock(TUESDAY), store, {}, SilentHeadEnd()))
    store.close()


async def tried(gateway: Gateway, number: int = 1, **cells: str) -> Outcome:
    row = Row(f"row {number}", {"account_id": f"A-{number}", "meter_id": f"M-{number}", **cells})
    (outcome,) = await enroll(gateway, [row], "test")
    assert await gateway.store.read(lambda database: list(books.audit(database))) == []
    return outcome


async def standing(gateway: Gateway, account_id: str = "A-1") -> tuple[int, int]:
    """Balance and arrears of an account, in cents."""
    return await gateway.store.read(
        lambda database: (books.balance_cents(database, account_id), books.arrears_cents(database, account_id))
    )


async def told(gateway: Gateway) -> list[str]:
    rows = await gateway.store.read(lambda d: d.execute("SELECT type FROM notice ORDER BY created_at").fetchall())
    return [kind for (kind,) in rows]


async def test_a_new_customer_starts_with_the_first_payment(gateway: Gateway) -> None:
    assert (await tried(gateway, first_payment="25.00")).accepted
    assert await standing(gateway) == (25_00, 0)
    assert await told(gateway) == ["payment"]
    paid = await gateway.store.read(lambda database: books.payment(database, "first-A-1"))
    assert paid is not None
    assert (paid.channel, paid.amount_cents) == ("enrolment", 25_00)


async def test_the_first_payment_pays_its_share_of_carried_debt(gateway: Gateway) -> None:
    assert (await tried(gateway, first_payment="30.00", arrears="100.00", unbilled="20.00")).accepted
    assert await standing(gateway) == (21_00, 111_00)


async def test_a_deposit_pays_old_debt_first_and_the_rest_is_credit(gateway: Gateway) -> None:
    assert (await tried(gateway, deposit="150.00", arrears="100.00", unbilled="20.00")).accepted
    assert await standing(gateway) == (30_00, 0)
    lines = await gateway.store.read(lambda database: books.statement(database, "A-1"))
    assert [(line.kind, line.amount_cents) for line in lines] == [("deposit", 30_00)]
    owed = ledger.deposits("A-1")
    row = await gateway.store.read(
        lambda database: database.execute("SELECT cents FROM balance WHERE ledger_account = ?", (owed,)).fetchone()
    )
    assert row == (0,)
    assert await told(gateway) == []


async def test_a_refused_row_leaves_nothing_and_names_its_rules(gateway: Gateway) -> None:
    refused = await tried(gateway, first_payment="10.00", arrears="500.01", protected="medical")
    assert [refusal.code for refusal in refused.refusals] == ["protected", "past_due", "minimum_activation"]
    assert refused.reason.startswith(
        "row 1: not eligible for default - the customer is protected (medical) and may not prepay (seed 002"
    )
    assert await gateway.store.read(customers.accounts) == []
    assert await gateway.store.read(books.counts) == (0, 0)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"first_payment": "-1.00"}, "row 1: first_payment - -1.00 is below zero"),
        ({"deposit": "ten"}, "row 1: deposit - 'ten' is not an amount in dollars and cents such as 25.00"),
        ({"takeover": "perhaps"}, "row 1: takeover - 'perhaps' is neither yes nor no"),
        ({"program": "none-such"}, "row 1: program - there is no program 'none-such'"),
        ({"tariff": "none-such"}, "row 1: tariff - there is no tariff 'none-such'"),
        ({"meter_id": "M-9"}, "row 1: there is no meter M-9 in edge.toml"),
    ],
)
async def test_a_row_that_makes_no_sense_is_refused(gateway: Gateway, cells: dict[str, str], reason: str) -> None:
    assert (await tried(gateway, **{"first_payment": "25.00", **cells})).reason == reason


async def test_a_first_payment_counts_once_on_every_path(gateway: Gateway) -> None:
    assert (await tried(gateway, 1, first_payment="25.00", first_payment_id="P-7")).accepted
    refused = await tried(gateway, 2, first_payment="25.00", first_payment_id="P-7")
    assert refused.reason == "row 2: first_payment - payment P-7 was posted before with another account_id"
    assert [account.account_id for account in await gateway.store.read(customers.accounts)] == ["A-1"]


@pytest.mark.parametrize(
    "cells",
    [
        {"takeover": "yes"},
        {"opening_balance": "-4.20"},
        {"disconnected_for_credit": "yes"},
        {"takeover": "yes", "protected": "medical", "arrears": "900.00", "program": "lake-region"},
    ],
)
async def test_a_takeover_is_not_examined_again(gateway: Gateway, cells: dict[str, str]) -> None:
    assert (await tried(gateway, **cells)).accepted


async def test_who_says_that_it_is_no_takeover_is_examined(gateway: Gateway) -> None:
    refused = await tried(gateway, opening_balance="-4.20", takeover="no")
    assert [refusal.code for refusal in refused.refusals] == ["minimum_activation"]


async def test_a_pilot_fills_its_halves_first_come_first_served(gateway: Gateway) -> None:
    """Of three places two are on the standard rate; a place that is given up is free again."""
    pilot = {"program": "pilot", "first_payment": "25.00"}
    outcomes = [await tried(gateway, number, **pilot) for number in (1, 2)]
    outcomes.append(await tried(gateway, 3, **pilot, tariff="time-of-use"))
    outcomes.append(await tried(gateway, 3, **pilot))
    outcomes.append(await tried(gateway, 4, **pilot))
    codes = [[refusal.code for refusal in outcome.refusals] for outcome in outcomes]
    assert codes == [[], [], ["rate_half_full"], [], ["program_full"]]
    accounts = await gateway.store.read(customers.accounts)
    assert [account.tariff for account in accounts] == ["flat", "time-of-use", "flat"]
    await unenroll(gateway, "A-2", "moved", "test")
    assert (await tried(gateway, 5, **pilot)).accepted
    assert (await gateway.store.read(lambda d: customers.account(d, "A-5"))).tariff == "time-of-use"  # type: ignore[union-attr]


async def test_an_account_that_left_is_charged_through_its_last_day_and_no_further(gateway: Gateway) -> None:
    await tried(gateway, first_payment="40.00")
    reads = [
        fleet.StoredRead("M-1", TUESDAY + timedelta(hours=hour), 1_000_000 + 1_000 * hour, None, "connected", True, ())
        for hour in range(100)
    ]
    await gateway.store.write(lambda database: fleet.save_reads(database, reads))
    assert isinstance(gateway.clock, SettableClock)
    gateway.clock.instant += timedelta(days=1)
    await unenroll(gateway, "A-1", "moved", "test")
    gateway.clock.instant += timedelta(days=3)
    gateway.clock_in_doubt = False
    assert await DayCloser(gateway).close_due() == 0
    days = await gateway.store.read(lambda d: usage.days(d, "A-1", date(2026, 10, 1), date(2026, 10, 31)))
    assert [(day.day.day, day.energy_wh) for day in days] == [(13, 14_000), (14, 24_000)]
    today = date(2026, 10, 17)
    assert await gateway.store.read(lambda database: customers.accounts_open_before(database, today)) == []
    assert "zero" not in await told(gateway)


async def test_the_head_end_is_told_of_who_comes_and_goes(gateway: Gateway) -> None:
    await tried(gateway, takeover="yes", protected="medical", opening_balance="3.00")
    await unenroll(gateway, "A-1", "moved", "tester")
    events = await gateway.store.read(lambda database: records.last_events(database, 10))
    by_kind = {kind: data for _, kind, data in events}
    assert by_kind["enrolled"] == {
        "account_id": "A-1",
        "meter_id": "M-1",
        "program": "default",
        "tariff": "flat",
        "takeover": True,
        "balance": "3.00",
        "by": "test",
    }
    assert by_kind["protected"]["protected"] is True
    assert (by_kind["unenrolled"]["reason"], by_kind["unenrolled"]["by"]) == ("moved", "tester")


async def test_a_program_tariff_or_meter_that_accounts_have_may_not_go(gateway: Gateway) -> None:
    """Without them no day could be closed and nobody be decided about: the daemon does not start, and says why."""
    assert (await tried(gateway, takeover="yes", program="pilot", tariff="time-of-use")).accepted
    catalog = load_catalog(gateway.settings)
    await gateway.store.read(lambda database: check_accounts(database, gateway.settings, catalog))
    await gateway.store.write(
        lambda database: customers.add_tariff_change(database, "A-1", "gone", date(2026, 11, 1), TUESDAY, "test")
    )
    others = gateway.settings.site.model_copy(update={"meters": gateway.settings.site.meters[1:]})
    settings = replace(gateway.settings, site=others)
    with pytest.raises(ConfigError) as refused:
        await gateway.store.read(lambda database: check_accounts(database, settings, catalog))
    assert refused.value.faults == (
        "edge.toml: the meter 'M-1' is gone, but account A-1 has it",
        "edge.toml: the tariff 'gone' is gone, but account A-1 has it",
    )


async def test_a_tariff_without_prices_yet_takes_nobody(gateway: Gateway) -> None:
    later = replace(
        gateway.tariffs["flat"], versions=(replace(gateway.tariffs["flat"].versions[0], effective=date.max),)
    )
    gateway.tariffs = {**gateway.tariffs, "later": later}
    outcome = await tried(gateway, takeover="yes", tariff="later")
    assert outcome.reason.startswith("row 1: tariff - tariff flat has no prices for 2026-10-13")
