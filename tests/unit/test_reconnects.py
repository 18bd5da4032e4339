"""What brings power back, what does not, and the smallest payment that would."""

from typing import Any

import pytest

from tests.cases import HOLD, account, answered

RECONNECTS: list[Any] = [
    account(balance="0.01"),
    {**account(balance="0.01"), "gateway": None, "weather": None, "moratoriums": None, "now": None},
    account(balance="0.01", enrolled=False, protected=None, holds=[HOLD]),
    account(balance="-99.00", protected=["life_support"]),
    account(balance=None, protected=["life_support", "unheard_of"]),
    {"program": "oge-pay-as-you-go", **account(balance="0.01", payments_since_disconnect="25.00")},
    {"program": "oge-pay-as-you-go", **account(balance="0.01", payments_since_disconnect=None)},
    {"program": "oge-pay-as-you-go", **account(balance="0.01", payments_since_disconnect="-1.00")},
    {"program": "oec-prepaid", **account(balance="10.00")},
]


@pytest.mark.parametrize("relay", ["disconnected", "unknown"])
@pytest.mark.parametrize("patch", RECONNECTS, ids=range(len(RECONNECTS)))
def test_credit_or_a_protection_brings_power_back_whatever_else_is_so(patch: Any, relay: str) -> None:
    answer = answered({**patch, "meter": {"relay": relay, "remote_disconnect": None, "confirm_seconds": None}})
    assert answer["action"] == "reconnect"
    assert answer["next_possible_disconnect"] is None
    assert answer["amount_to_reconnect"] is None


@pytest.mark.parametrize(
    "patch",
    [
        account(balance="0.00"),
        account(balance=None),
        account(balance="-0.01", protected=None),
        account(balance="-0.01", protected=["x"]),
        {"program": "oge-pay-as-you-go", **account(balance="0.01", payments_since_disconnect="24.99")},
        {"program": "oge-pay-as-you-go", **account(balance="0.00", payments_since_disconnect=None)},
        {"program": "oec-prepaid", **account(balance="9.99")},
    ],
    ids=range(7),
)
def test_nothing_unknown_or_too_little_brings_power_back(patch: Any) -> None:
    for relay in ("disconnected", "unknown"):
        assert answered({**patch, "meter": {"relay": relay}})["action"] == "none"


def test_a_switch_that_somebody_else_opened_stays_open() -> None:
    for patch in RECONNECTS:
        answer = answered({**patch, "meter": {"relay": "disconnected_other"}})
        assert (answer["action"], answer["amount_to_reconnect"]) == ("none", None)


@pytest.mark.parametrize(
    ("patch", "amount"),
    [
        (account(balance="-8.00"), "8.01"),
        (account(balance="-8.00", arrears="250.00"), "11.43"),
        (account(balance="-8.00", arrears="1.00"), "9.01"),
        ({"set": {"arrears.share": 0}, **account(balance="-8.00", arrears="250.00")}, "8.01"),
        ({"set": {"arrears.first": False}, **account(balance="-8.00", arrears="250.00")}, "8.01"),
        ({"set": {"arrears.share": 1}, **account(balance="-8.00", arrears="250.00")}, "258.01"),
        ({"program": "lake-region", **account(balance="-8.00", arrears=None)}, "8.01"),
        ({"program": "oec-prepaid", **account(balance="-8.00")}, "18.00"),
        ({"program": "oec-prepaid", **account(balance="-8.00", arrears="100.00")}, "25.71"),
        (
            {"program": "oec-prepaid", "set": {"arrears.first": False}, **account(balance="-8.00", arrears="100.00")},
            "22.27",
        ),
        ({"program": "oge-pay-as-you-go", **account(balance="-40.00", payments_since_disconnect="10.00")}, "40.01"),
        ({"program": "oge-pay-as-you-go", **account(balance="-3.00", payments_since_disconnect="10.00")}, "15.00"),
        ({"program": "oge-pay-as-you-go", **account(balance="-3.00", payments_since_disconnect=None)}, "3.01"),
        (
            {
                "program": "oge-pay-as-you-go",
                **account(balance="9.00", arrears=None, payments_since_disconnect="24.99"),
            },
            "0.01",
        ),
        (account(balance=None), None),
        (account(balance="-8.00", arrears=None), None),
        (account(balance="-8.00", arrears="-1.00"), None),
    ],
)
def test_the_smallest_payment_that_brings_power_back(patch: Any, amount: str | None) -> None:
    assert answered({**patch, "meter": {"relay": "disconnected"}})["amount_to_reconnect"] == amount
    assert answered({**patch, "meter": {"relay": "connected"}})["amount_to_reconnect"] is None
    assert answered({**patch, "meter": {"relay": "unknown"}})["amount_to_reconnect"] is None
