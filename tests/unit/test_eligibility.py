"""Who may enrol: each rule by a row of its own, every rule told, the deposit's way."""

from dataclasses import replace

import pytest

from edge.core.eligibility import Applicant, Participants, deposit_split, half_with_room, refusals
from edge.core.model import Protection
from edge.core.programs import Program
from edge.programs import find_program

NOBODY = Participants(0, 0)
GOOD = Applicant(
    customer_class="residential",
    remote_disconnect=True,
    protected=(),
    past_due_cents=0,
    unbilled_cents=None,
    deposit_cents=0,
    opening_cents=0,
    first_payment_cents=25_00,
    time_of_use=False,
    takeover=False,
)
MEDICAL = (Protection.MEDICAL,)


def program(name: str = "default") -> Program:
    return find_program(name, {})[0]


def codes(name: str, participants: Participants = NOBODY, **changes: object) -> list[str]:
    return [r.code for r in refusals(replace(GOOD, **changes), participants, program(name))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("default", {}, []),
        ("default", {"customer_class": "small_commercial"}, ["customer_class"]),
        ("default", {"remote_disconnect": False}, ["no_remote_switch"]),
        ("default", {"remote_disconnect": None}, ["no_remote_switch"]),
        ("default", {"protected": MEDICAL}, ["protected"]),
        ("default", {"past_due_cents": 500_00}, []),
        ("default", {"past_due_cents": 500_01}, ["past_due"]),
        ("default", {"past_due_cents": 500_01, "deposit_cents": 1}, []),
        ("default", {"past_due_cents": 500_00, "unbilled_cents": 1}, ["carried_debt"]),
        ("default", {"first_payment_cents": 24_99}, ["minimum_activation"]),
        ("default", {"first_payment_cents": 20_00, "opening_cents": 5_00}, []),
        ("default", {"first_payment_cents": 0, "deposit_cents": 25_00}, []),
        ("default", {"first_payment_cents": 0, "deposit_cents": 25_00, "past_due_cents": 1}, ["minimum_activation"]),
        ("default", {"first_payment_cents": 24_00, "opening_cents": -10_00}, ["minimum_activation"]),
        ("lake-region", {}, ["not_current"]),
        ("lake-region", {"unbilled_cents": 0}, []),
        ("lake-region", {"unbilled_cents": 1}, ["not_current"]),
        ("lake-region", {"unbilled_cents": 0, "past_due_cents": 1}, ["not_current"]),
        ("lake-region", {"unbilled_cents": 80_00, "past_due_cents": 20_00, "deposit_cents": 100_00}, []),
        ("lake-region", {"unbilled_cents": 80_00, "past_due_cents": 20_00, "deposit_cents": 99_99}, ["not_current"]),
        ("oge-pay-as-you-go", {"past_due_cents": 500_01}, ["past_due"]),
    ],
)
def test_each_rule_of_a_new_customer(name: str, changes: dict[str, object], expected: list[str]) -> None:
    assert codes(name, **changes) == expected


@pytest.mark.parametrize(
    ("standard", "time_of_use", "wants_time_of_use", "expected"),
    [
        (0, 0, False, []),
        (329, 330, False, []),
        (330, 329, True, []),
        (330, 0, False, ["rate_half_full"]),
        (330, 0, True, []),
        (0, 330, True, ["rate_half_full"]),
        (0, 330, False, []),
        (330, 330, False, ["program_full"]),
        (330, 330, True, ["program_full"]),
    ],
)
def test_the_pilot_has_room_for_330_on_each_rate(
    standard: int, time_of_use: int, wants_time_of_use: bool, expected: list[str]
) -> None:
    found = codes("oge-pay-as-you-go", Participants(standard, time_of_use), time_of_use=wants_time_of_use)
    assert found == expected


def test_a_program_without_a_cap_has_room_for_all() -> None:
    assert codes("default", Participants(100_000, 100_000)) == []


def test_the_smaller_half_is_assigned_and_the_standard_one_first() -> None:
    pilot = program("oge-pay-as-you-go")
    assert [half_with_room(Participants(*taken), pilot) for taken in ((0, 0), (1, 0), (1, 1), (330, 329))] == [
        False,
        True,
        False,
        True,
    ]
    assert half_with_room(NOBODY, program("default")) is None


def test_a_takeover_is_asked_for_class_switch_and_room_only() -> None:
    poor = {"past_due_cents": 900_00, "first_payment_cents": 0, "protected": MEDICAL, "takeover": True}
    assert codes("default", **poor) == []
    assert codes("default", **poor, customer_class="industrial", remote_disconnect=False) == [
        "customer_class",
        "no_remote_switch",
    ]
    assert codes("oge-pay-as-you-go", Participants(330, 330), **poor) == ["program_full"]


def test_every_rule_that_is_not_met_is_told_with_its_source() -> None:
    bad = replace(
        GOOD,
        customer_class="commercial",
        remote_disconnect=False,
        protected=MEDICAL,
        past_due_cents=512_00,
        first_payment_cents=0,
    )
    told = refusals(bad, Participants(330, 330), program("oge-pay-as-you-go"))
    assert [refusal.code for refusal in told] == [
        "customer_class",
        "no_remote_switch",
        "program_full",
        "protected",
        "past_due",
        "minimum_activation",
    ]
    assert all(refusal.text and "seed 002" in refusal.source for refusal in told)
    (past_due,) = [refusal for refusal in told if refusal.code == "past_due"]
    assert past_due.text == "512.00 is past due; at most 500.00 may be"
    assert past_due.source.endswith("(in force since 2011-06-22)")


def test_a_deposit_pays_old_debt_first() -> None:
    assert deposit_split(100_00, 30_00) == (30_00, 70_00)
    assert deposit_split(30_00, 100_00) == (30_00, 0)
    assert deposit_split(0, 100_00) == (0, 0)
