"""The search for counter-examples: what is found is made smaller, and can be repeated."""

from datetime import date
from random import Random

import pytest

from meter_sim.mixes import MIXES, mix_of
from meter_sim.soak import CounterExample, command_of, random_plan, shrink
from meter_sim.world import Plan


def test_a_counter_example_is_shrunk_to_what_it_needs() -> None:
    def fails(plan: Plan) -> str | None:
        mix = mix_of(plan.faults)
        return "late" if plan.meters >= 5 and plan.days >= 3 and mix.days_stuck and mix.days_broker else None

    found = CounterExample(Plan(36, 14, date(2027, 3, 5), 99, "strict", "harsh"), "late")

    left = shrink(found, fails).plan

    mix = mix_of(left.faults)
    assert (left.meters, left.days) == (5, 3)
    assert left.faults.startswith("normal-")
    assert [
        name
        for name in ("days_dead", "days_clock", "days_step", "noise")
        if getattr(mix, name) != getattr(MIXES["none"], name)
    ] == []
    assert command_of(left).startswith(
        "meter-sim simulate --meters 5 --days 3 --start 2027-03-05 --seed 99 --program strict --faults normal-"
    )


def test_the_same_seed_searches_the_same_cases() -> None:
    first, second = ([random_plan(chance) for _ in range(20)] for chance in (Random(4), Random(4)))
    assert first == second
    assert len({plan.program for plan in first}) > 3


@pytest.mark.parametrize("faults", ["some", "harsh-days_strange"])
def test_a_mix_that_there_is_not_is_refused_by_name(faults: str) -> None:
    with pytest.raises(ValueError, match=f"--faults - '{faults.split('-')[-1]}' is"):
        mix_of(faults)
