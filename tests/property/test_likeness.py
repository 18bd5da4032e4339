"""Accounts that a decision cannot tell apart: whatever the case, what is left out of the likeness changes no block."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from edge.core.decisions import decide, is_fresh
from edge.core.likeness import has_power_and_credit, likeness
from edge.core.model import Action, Relay
from edge.whatif import CaseError, parse_case
from tests.reference.random_cases import random_case

CASES = 100


@pytest.mark.parametrize("seed", range(4))
def test_what_likeness_leaves_out_changes_no_block_of_an_account_with_power_and_credit(seed: int) -> None:
    for number in range(CASES):
        random = Random(f"likeness/{seed}/{number}")
        try:
            facts, program, holiday = parse_case(random_case(random))
        except CaseError:
            continue
        one = replace(facts, relay=Relay.CONNECTED, balance_cents=random.randint(1, 10_000))
        assert has_power_and_credit(one)
        read_at, now = one.last_actual_read_at, one.now
        if is_fresh(read_at, now, timedelta(hours=program.max_read_age_hours)):
            read_at = now
        elif now is not None:
            read_at = random.choice(
                [None, now + timedelta(hours=1), now - timedelta(hours=program.max_read_age_hours + 1)]
            )
        other = replace(
            one,
            balance_cents=random.randint(1, 10_000),
            arrears_cents=random.choice([None, 0, random.randint(0, 50_000)]),
            payments_since_disconnect_cents=random.choice([None, 0, 2_000]),
            last_actual_read_at=read_at,
            limited_by="in other words",
        )
        assert likeness(one, program) == likeness(other, program)
        decision, alike = decide(one, program, holiday), decide(other, program, holiday)
        assert decision.action is alike.action is Action.NONE
        assert [block.code for block in decision.blocks] == [block.code for block in alike.blocks]


def test_who_lacks_power_or_credit_is_decided_upon_alone() -> None:
    facts, _, _ = parse_case(random_case(Random("likeness")))
    lit = replace(facts, relay=Relay.CONNECTED, balance_cents=1)
    assert has_power_and_credit(lit)
    for relay in (Relay.DISCONNECTED, Relay.DISCONNECTED_OTHER, Relay.UNKNOWN):
        assert not has_power_and_credit(replace(lit, relay=relay))
    for balance in (None, 0, -1):
        assert not has_power_and_credit(replace(lit, balance_cents=balance))
