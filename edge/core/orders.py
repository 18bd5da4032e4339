"""The life of one switch order. Everything that changes its state lives in this file.

An order is *wanted* when a decision asks for it, *sent* from the instant before its command goes out, and then
*confirmed* by a read-back or *failed*; a wanted one can also be *cancelled*, by a later decision, or *expire*. A sent
order is never sent again: after a restart the relay is read first, and what is needed then is a new order.

    wanted -> sent -> confirmed | failed
    wanted -> cancelled | expired | failed

Why an order is there, its cause, says what may stop it. What the rules ask for, and whatever a person asks to
disconnect, is decided again just before it is sent. A safety disconnect and its end are a person's word, apart from the
rules (domain-rules R23: safety hazard, essential repair, tampering). A reconnect that a person asks for, or that puts
right a late disconnect of ours, is never against the rules.
"""

from datetime import datetime, timedelta
from enum import StrEnum


class OrderState(StrEnum):
    """Where a switch order stands; the words are the contract's."""

    WANTED = "wanted"
    SENT = "sent"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Cause(StrEnum):
    """Why an order is there."""

    CREDIT = "credit"  # the rules ask for it
    MANUAL = "manual"  # a person does, within the rules
    SAFETY = "safety"  # a person does, for a hazard or because it is over
    LATE = "late"  # a disconnect of ours moved the relay after it was given up: it is taken back


OURS = frozenset({Cause.CREDIT.value, Cause.MANUAL.value})  # relay changes that credit may undo
LATE_DELIVERY = timedelta(hours=1)  # so long after it was sent may a disconnect that was given up still move a relay


def follows_the_rules(action: str, cause: str) -> bool:
    """Whether an order stands only as long as the rules ask for what it does."""
    return cause == Cause.CREDIT or (cause == Cause.MANUAL and action == "disconnect")


def relay_cause(action: str, cause: str) -> str:
    """What the relay's change is put down to once the order is confirmed (contract section 5)."""
    if action == "disconnect":
        return cause
    return "manual" if cause in (Cause.MANUAL, Cause.SAFETY) else "reconnect"


def cause_while_unknown(action: str, cause: str) -> str:
    """What an open relay would be put down to while nobody knows whether the order moved it."""
    return cause if action == "disconnect" or cause == Cause.SAFETY else Cause.CREDIT


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
