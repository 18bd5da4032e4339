"""A customer's statement: what a span of civil days did to the prepaid balance and the debt, so that every cent foots.

Opening balance, plus payments to the balance, less charges, plus adjustments is the closing balance. Payments and
charges are the transactions of these kinds; adjustments are all others, each listed under its heading. A transaction
belongs to its civil day, a day's charge to the day of the use. Amounts are cents in the customer's sign.

Domain-rules R24 and row 71 (seed 002, PSO: a monthly statement of payments and use); R38 (usage, charges, average price
and payments by calendar month); R62 (estimates marked with method and reason).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

PAYMENT, CHARGE = "payment", "charge"
_WH_PER_KWH = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """A transaction of the span. ``balance_cents``, ``arrears_cents``: what it did to the balance and to the debt.

    ``by_kind``: what went to income, by kind of charge, above zero for a charge.
    """

    transaction_id: int
    kind: str
    day: date
    ref: str
    note: str
    estimated: bool
    balance_cents: int
    arrears_cents: int
    by_kind: Mapping[str, int]

    @property
    def paid_cents(self) -> int:
        """What a payment was in all: its part for the balance and its part for the debt."""
        return self.balance_cents - self.arrears_cents


@dataclass(frozen=True, slots=True)
class Statement:
    """The lines of a span of days with what they come to, in cents; each line is in exactly one of the three lists."""

    opening_cents: int
    opening_arrears_cents: int
    payments: tuple[Line, ...]
    charges: tuple[Line, ...]
    adjustments: tuple[Line, ...]

    @property
    def paid_to_balance_cents(self) -> int:
        """What payments added to the balance."""
        return sum([line.balance_cents for line in self.payments])

    @property
    def paid_to_arrears_cents(self) -> int:
        """What payments took off the debt."""
        return -sum([line.arrears_cents for line in self.payments])

    @property
    def charged_cents(self) -> int:
        """What the closed days were charged; above zero takes from the balance."""
        return -sum([line.balance_cents for line in self.charges])

    @property
    def charged_by_kind(self) -> dict[str, int]:
        """The same by kind of charge, in the order in which the kinds first come."""
        found: dict[str, int] = {}
        for line in self.charges:
            for kind, cents in line.by_kind.items():
                found[kind] = found.get(kind, 0) + cents
        return found

    @property
    def adjusted_cents(self) -> int:
        """What everything else did to the balance."""
        return sum([line.balance_cents for line in self.adjustments])

    @property
    def closing_cents(self) -> int:
        """The balance at the end."""
        return self.opening_cents + self.paid_to_balance_cents - self.charged_cents + self.adjusted_cents

    @property
    def closing_arrears_cents(self) -> int:
        """The debt at the end."""
        lines = (*self.payments, *self.charges, *self.adjustments)
        return self.opening_arrears_cents + sum([line.arrears_cents for line in lines])


def statement_of(opening_cents: int, opening_arrears_cents: int, lines: Sequence[Line]) -> Statement:
    """The statement of a span's lines, which stay in their order."""
    return Statement(
        opening_cents,
        opening_arrears_cents,
        payments=tuple([line for line in lines if line.kind == PAYMENT]),
        charges=tuple([line for line in lines if line.kind == CHARGE]),
        adjustments=tuple([line for line in lines if line.kind not in (PAYMENT, CHARGE)]),
    )


def average_price(cents: int, energy_wh: int) -> int | None:
    """What a kWh cost on the average, in hundredths of a cent, half up; None where nothing was used (R38)."""
    if energy_wh <= 0:
        return None
    return (2 * cents * 100 * _WH_PER_KWH + energy_wh) // (2 * energy_wh)
