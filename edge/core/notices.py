"""Texts of the notices to customers: short sentences that say what is so and what the customer can do."""

from edge.core.money import format_cents


def zero_balance(balance_cents: int) -> str:
    """The notice of a zero or negative balance (domain-rules R3; seed 002, PSO May and OG&E June)."""
    return (
        f"Your prepaid electricity balance is ${format_cents(balance_cents)}."
        " Add money to keep your power on: service may be disconnected after the next day, in the permitted hours."
    )


def payment_received(amount_cents: int, to_arrears_cents: int, balance_cents: int) -> str:
    """The notice of a payment, with the share that went to old debt (seed 002, PSO, message C)."""
    share = f" ${format_cents(to_arrears_cents)} toward arrears." if to_arrears_cents else ""
    return f"${format_cents(amount_cents)} payment received. Thanks!{share} Balance ${format_cents(balance_cents)}."


def payment_returned(amount_cents: int, fee_cents: int, balance_cents: int) -> str:
    """The notice that a payment was taken back (domain-rules R22)."""
    fee = f" A fee of ${format_cents(fee_cents)} was charged." if fee_cents else ""
    return (
        f"Your payment of ${format_cents(amount_cents)} was returned by the bank.{fee}"
        f" Balance ${format_cents(balance_cents)}. Please pay within one business day."
    )


def disconnected(balance_cents: int, amount_to_reconnect_cents: int | None) -> str:
    """The notice that power was disconnected, with what brings it back (domain-rules R12)."""
    needed = ""
    if amount_to_reconnect_cents is not None:
        needed = f" A payment of ${format_cents(amount_to_reconnect_cents)} reconnects you within minutes, at any hour."
    return f"Your power was disconnected. Balance ${format_cents(balance_cents)}.{needed}"


def reconnected(balance_cents: int) -> str:
    """The notice that power is back (domain-rules R4)."""
    return f"Your power is back on. Balance ${format_cents(balance_cents)}."
