"""When power must come back, and what the customer would have to pay for it.

A reconnect asks for credit or a protection that is *known*, and for a switch that may be open by our hand; nothing else
that is unknown, stale or in the way holds it back (contract section 4; domain-rules R4, R18, C5).
"""

from edge.core.arrears import payment_reaching
from edge.core.model import Facts, Relay
from edge.core.programs import Program


def must_reconnect(facts: Facts, program: Program) -> bool:
    """Whether power must come back; with a relay whose state is not known the daemon reads it first."""
    if facts.relay not in (Relay.DISCONNECTED, Relay.UNKNOWN):
        return False
    return bool(facts.protected) or _has_credit(facts, program)


def _has_credit(facts: Facts, program: Program) -> bool:
    balance = facts.balance_cents
    return balance is not None and balance >= program.reconnect_from_cents and _payments_lacking(facts, program) == 0


def pays_enough(paid_cents: int, balance_cents: int, program: Program) -> bool:
    """Whether payments of ``paid_cents`` since the disconnect, and the balance after them, bring power back."""
    return balance_cents >= program.reconnect_from_cents and paid_cents >= program.reconnect_payments_cents


def _payments_lacking(facts: Facts, program: Program) -> int:
    """Cents by which payments since the disconnect miss the program's sum (C5); unknown payments count as enough."""
    paid = facts.payments_since_disconnect_cents
    return 0 if paid is None or paid < 0 else max(0, program.reconnect_payments_cents - paid)


def amount_to_reconnect(facts: Facts, program: Program) -> int | None:
    """Cents of the smallest payment that would reconnect a meter that we disconnected, arrears share included.

    None, too, where it cannot be told: the balance is not known, or the debt is not and a share would go to it.
    """
    balance, arrears = facts.balance_cents, facts.arrears_cents
    if facts.relay is not Relay.DISCONNECTED or balance is None:
        return None
    if arrears is None:
        if program.arrears_share_ppm and balance < program.reconnect_from_cents:
            return None
        arrears = 0
    needed = payment_reaching(balance, arrears, program.reconnect_from_cents, program)
    return max(needed, _payments_lacking(facts, program))
