"""The bench's table and the few sums behind it. The bench itself is no test."""

import pytest

from tests.bench.table import Aim, Figure, number, percentile, ratio_of_turns, render


def test_a_table_puts_figure_peer_ratio_and_aim_side_by_side() -> None:
    table = render(
        [
            Figure("sweep", 0.1, "s", "bare", 0.2, 0.5, Aim("at most", 1.3)),
            Figure("memory", 200.0, "MiB", aim=Aim("at most", 150, "figure")),
            Figure("answers", 50_000.0, "/s", "peer", 10_000.0, 5.0, Aim("at least", 10_000, "figure")),
            Figure("CPU", 12.34, "µs"),
        ]
    )
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["figure", "measured", "beside", "measured", "ratio", "aim", "met"]
    assert lines[2] == ["sweep", "0.1", "s", "bare", "0.2", "s", "0.50", "at", "most", "1.3", "times", "yes"]
    assert lines[3] == ["memory", "200", "MiB", "at", "most", "150", "MiB", "NO"]
    assert lines[4][-5:] == ["at", "least", "10,000", "/s", "yes"]
    assert lines[5] == ["CPU", "12.3", "µs"]


def test_an_aim_of_a_ratio_that_was_not_measured_is_not_judged() -> None:
    assert Figure("sweep", 0.1, "s", aim=Aim("at most", 1.3)).cells()[-1] == "?"


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (99.96, "100"), (1234.5, "1,234"), (0.0, "0")])
def test_numbers_have_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


def test_the_ratio_is_taken_within_each_turn() -> None:
    assert ratio_of_turns([1.0, 10.0, 3.0], [2.0, 20.0, 1.0]) == 0.5


@pytest.mark.parametrize(("hundredths", "value"), [(50, 2), (75, 3), (95, 4), (99, 4), (1, 1)])
def test_a_percentile_is_one_of_the_values(hundredths: int, value: int) -> None:
    assert percentile([4, 2, 1, 3], hundredths) == value
