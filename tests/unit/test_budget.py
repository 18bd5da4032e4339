"""The budget of disconnects: how many are left by each limit, and from how many on a wave of them cannot be right."""

import pytest

from edge.core.budget import Limits, Sent, implausible, left, most_plausible

GENEROUS = Limits(per_hour=10, per_day=40, per_meter=3)
FIFTH_PPM = 200_000


def test_exactly_as_many_as_are_plausible_are_no_quarantine() -> None:
    """A fifth of all and more than ten: the eleventh of 50, the twenty-first of 100."""
    assert [implausible(wanting, 50, FIFTH_PPM, 10) for wanting in (10, 11)] == [False, True]
    assert [implausible(wanting, 100, FIFTH_PPM, 10) for wanting in (20, 21)] == [False, True]
    assert most_plausible(109, FIFTH_PPM, 10) == 21


@pytest.mark.parametrize(
    ("sent", "remaining", "words"),
    [
        (Sent(0, 0, 0), 1, "of the line's 1 meters"),
        (Sent(9, 9, 0, 100, 0), 1, "in the last hour"),
        (Sent(10, 10, 0, 100, 0), 0, "in the last hour"),
        (Sent(0, 40, 0, 100, 0), 0, "40 disconnects were sent in the last 24 hours"),
        (Sent(1, 1, 3, 100, 0), 0, "this meter was sent 3"),
        (Sent(11, 11, 0, 100, 0), 0, "in the last hour"),  # one more than was allowed is still none left
    ],
)
def test_the_tightest_limit_says_how_many_are_left(sent: Sent, remaining: int, words: str) -> None:
    found, why = left(GENEROUS, sent)
    assert found == remaining
    assert words in why
