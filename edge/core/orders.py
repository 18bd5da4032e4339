"""The life of one switch order. Everything that changes its state lives in this file.

An order is *wanted* when a decision asks for it, *sent* from the instant before its command goes out, and then
*confirmed* by a read-back or *failed*; a wanted one can also be *cancelled*, by a later decision, or *expire*. A sent
order is never sent again: after a restart the relay is read first, and what is needed then is a new order.

    wanted -> sent -> confirmed | failed
    wanted -> cancelled | expired | failed
"""

from datetime import datetime
from enum import StrEnum


class OrderState(StrEnum):
    """Where a switch order stands; the words are the contract's."""

    WANTED = "wanted"
    SENT = "sent"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


NEXT: dict[OrderState, frozenset[OrderState]] = {
    OrderState.WANTED: frozenset({OrderState.SENT, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.FAILED}),
    OrderState.SENT: frozenset({OrderState.CONFIRMED, OrderState.FAILED}),
    OrderState.CONFIRMED: frozenset(),
    OrderState.EXPIRED: frozenset(),
    OrderState.CANCELLED: frozenset(),
    OrderState.FAILED: frozenset(),
}


class IllegalStep(Exception):
    """An order was asked to take a step that its life does not have; nothing changes."""


def step(present: OrderState, following: OrderState) -> OrderState:
    """The following state. Raises IllegalStep."""
    if following not in NEXT[present]:
        raise IllegalStep(f"a switch order that is {present} cannot become {following}")
    return following


def may_send(action: str, not_after: datetime | None, now: datetime) -> bool:
    """Whether an order may still be sent: a disconnect dies with its window, a reconnect never expires."""
    if action == "reconnect":
        return True
    return not_after is not None and now < not_after
