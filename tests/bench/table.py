"""What the bench found: each figure beside its peer's, with the aim and whether it was met."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

HEADINGS = ("figure", "measured", "beside", "measured", "ratio", "aim", "met")


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on a figure itself or on its ratio to the peer's; ``unit`` is that of a figure."""

    kind: Literal["at most", "at least"]
    bound: float
    of: Literal["figure", "ratio"] = "ratio"

    def met(self, number: float) -> bool:
        """Whether a number keeps to the bound."""
        return number <= self.bound if self.kind == "at most" else number >= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. ``ratio``: to the peer's figure, the median over turns where there were turns."""

    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    aim: Aim | None = None

    def cells(self) -> tuple[str, ...]:
        """The line's cells, as many as there are headings."""
        peer_value = "" if self.peer_value is None else f"{number(self.peer_value)} {self.unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        measured = f"{number(self.value)} {self.unit}"
        if self.aim is None:
            return self.what, measured, self.peer, peer_value, ratio, "", ""
        judged = self.value if self.aim.of == "figure" else self.ratio
        unit = f" {self.unit}" if self.aim.of == "figure" else " times"
        met = "?" if judged is None else "yes" if self.aim.met(judged) else "NO"
        return self.what, measured, self.peer, peer_value, ratio, f"{self.aim.kind} {self.aim.bound:,g}{unit}", met


def number(value: float) -> str:
    """A number with three significant digits, thousands marked."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio_of_turns(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios within each turn: a core's speed changes between turns, hardly within one."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], hundredths: int) -> float:
    """The smallest of the values that at least so many hundredths of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * hundredths // 100) - 1)]


def render(figures: Sequence[Figure]) -> str:
    """The table as aligned plain text."""
    rows = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
