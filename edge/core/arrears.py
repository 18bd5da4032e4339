"""How a payment is split between old debt and the balance, and the smallest payment that reaches a threshold.

The share is a fraction of each customer payment, floored to the cent and capped at the debt (domain-rules R6, C9-C11;
seed 002, PSO: "30 % of each credit posted").
"""

from edge.core.payments import Source
from edge.core.programs import Program

_MILLION = 1_000_000


def split_payment(
    amount_cents: int,
    balance_cents: int,
    arrears_cents: int,
    program: Program,
    source: Source = Source.CUSTOMER,
) -> tuple[int, int]:
    """Cents to arrears and cents to the balance; they sum to the amount.

    With ``arrears.first`` false the payment first lifts the balance to one cent above zero; the share is taken of the
    rest only. No share is taken of assistance: what keeps power on goes to power (domain-rules C10).
    """
    if source is not Source.CUSTOMER:
        return 0, amount_cents
    shared = amount_cents
    if not program.arrears_first:
        shared = max(0, amount_cents - max(0, 1 - balance_cents))
    to_arrears = min(arrears_cents, shared * program.arrears_share_ppm // _MILLION) if arrears_cents > 0 else 0
    return to_arrears, amount_cents - to_arrears


def payment_reaching(balance_cents: int, arrears_cents: int, target_cents: int, program: Program) -> int:
    """The smallest payment after which the balance is at least ``target_cents``; 0 where it is already.

    No payment below the lack reaches it; the lack and the whole debt together do.
    """
    lack = target_cents - balance_cents
    if lack <= 0:
        return 0
    low, high = lack - 1, lack + max(0, arrears_cents)
    while high - low > 1:  # what reaches the balance never falls as the payment grows
        middle = (low + high) >> 1
        if _after(middle, balance_cents, arrears_cents, program) >= target_cents:
            high = middle
        else:
            low = middle
    return high


def _after(amount_cents: int, balance_cents: int, arrears_cents: int, program: Program) -> int:
    return balance_cents + split_payment(amount_cents, balance_cents, arrears_cents, program)[1]
