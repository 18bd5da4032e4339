"""The engine against the rules written a second time (`tests/reference`): the same answer to seeded random cases."""

from collections import Counter
from datetime import datetime
from random import Random
from typing import Any

import pytest

from edge.core.decisions import BLOCK_CODES
from edge.whatif import answer
from tests.cases import codes
from tests.reference.decide import Verdict, decide
from tests.reference.random_cases import random_case

CASES = 100


def engine(case: Any) -> Verdict:
    """The engine's answer in the reference's terms."""
    found = answer(case)
    following = found["next_possible_disconnect"]
    return Verdict(
        found["action"],
        frozenset(codes(found)),
        None if following is None else datetime.fromisoformat(following),
        found["amount_to_reconnect"],
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_engine_answers_as_the_reference_does(seed: int) -> None:
    for number in range(CASES):
        case = random_case(Random(f"{seed}/{number}"))
        assert engine(case) == decide(case), case


def test_random_cases_reach_every_rule() -> None:
    """Else the comparison says little: every code, every action, and both kinds of next and of amount are met."""
    met: Counter[Any] = Counter()
    for number in range(3000):
        verdict = engine(random_case(Random(f"reach/{number}")))
        met.update(verdict.codes)
        met[verdict.action] += 1
        met["next", verdict.next_possible_disconnect is None] += 1
        met["amount", verdict.amount_to_reconnect is None] += 1
    wanted = {*BLOCK_CODES, "disconnect", "reconnect", "none"}
    assert wanted | {("next", True), ("next", False), ("amount", True), ("amount", False)} == met.keys()
