"""The life of a switch order: every step that exists, and that no other does."""

from datetime import UTC, datetime, timedelta

import pytest

from edge.core.orders import NEXT, IllegalStep, OrderState, may_send, step

NOW = datetime(2026, 10, 14, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize("present", OrderState)
@pytest.mark.parametrize("following", OrderState)
def test_only_the_steps_of_the_table_exist(present: OrderState, following: OrderState) -> None:
    if following in NEXT[present]:
        assert step(present, following) is following
    else:
        with pytest.raises(IllegalStep):
            step(present, following)


def test_no_path_leads_out_of_a_final_state() -> None:
    final = {OrderState.CONFIRMED, OrderState.EXPIRED, OrderState.CANCELLED, OrderState.FAILED}

    assert all(NEXT[state] == frozenset() for state in final)
    assert OrderState.WANTED not in {following for steps in NEXT.values() for following in steps}


def test_a_disconnect_dies_with_its_window_and_a_reconnect_never_does() -> None:
    assert may_send("disconnect", NOW + timedelta(seconds=1), NOW)
    assert not may_send("disconnect", NOW, NOW)
    assert not may_send("disconnect", None, NOW)
    assert may_send("reconnect", None, NOW)
