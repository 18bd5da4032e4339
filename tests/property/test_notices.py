"""Notices over any history of charges and payments: once a fall, never twice, never forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from edge.core.notices import Standing, falls, remaining_credit, whole_kwh

DAYS = (7, 3, 1)
changes = st.lists(st.integers(-20_00, 40_00).filter(bool), max_size=40)
costs = st.integers(0, 60_00)


@given(changes, st.integers(0, 30_00), st.data())
def test_a_dollar_level_is_told_once_a_fall(history: list[int], level: int, data: st.DataObject) -> None:
    credit, marks = level + 1, frozenset[str]()
    for change in history:
        before, credit = credit, credit + change
        due = falls(before, Standing(credit, None, data.draw(costs), 7), level, DAYS, marks)
        marks = due.told
        assert due.low_balance is (before > level >= credit)


@given(changes, st.data())
def test_days_left_are_told_once_between_two_payments_that_lift_above(history: list[int], data: st.DataObject) -> None:
    credit, marks = 100_00, frozenset[str]()
    told_since: set[int] = set()  # levels told since a credit last lifted above them
    for change in history:
        before, credit = credit, credit + change
        standing = Standing(credit, None, data.draw(costs), 7)
        if change > 0:
            told_since = {days for days in told_since if standing.lasts_at_most(days)}
        due = falls(before, standing, None, DAYS, marks)
        marks = due.told
        if due.days_left is None:
            untold = [d for d in DAYS if standing.lasts_at_most(d) and f"days_left:{d}" not in marks]
            assert untold == []
        else:
            assert due.days_left not in told_since
            assert standing.lasts_at_most(due.days_left)
            assert credit > 0
            told_since |= {days for days in DAYS if days >= due.days_left}


@given(st.integers(-(10**7), 10**7), st.integers(1, 10**12))
def test_no_message_promises_more_energy_than_the_credit_buys(cents: int, price: int) -> None:
    kwh = whole_kwh(cents, price)
    assert kwh is not None
    assert kwh * price <= cents * 10**10 < (kwh + 1) * price


@given(st.integers(-(10**6), 10**6), costs, st.integers(0, 7))
def test_the_days_line_never_says_more_than_the_credit_lasts(credit: int, cost: int, days: int) -> None:
    standing = Standing(credit, 97_500_000_000, cost, days)
    lines = remaining_credit(standing, DAYS).splitlines()
    if not cost or not days:
        assert len(lines) == 2
    elif lines[2].startswith("Less than"):
        assert standing.lasts_less_than(int(lines[2].split()[2]))
    else:
        told = int(lines[2].split()[0])
        assert told == 0 or not standing.lasts_less_than(told)
