"""Whose money a payment is, and when it was paid: what interfaces tell, made into values that can be counted on."""

import re
from datetime import datetime, timedelta
from enum import StrEnum

MOST_CENTS = 10_000_000_00  # one payment above this is a slipped decimal point
CLOCK_SLACK = timedelta(minutes=5)  # by how much an agent's clock may be ahead of ours
OLDEST = timedelta(days=366)  # a payment that is told to be older was stamped by a clock that is wrong


class Source(StrEnum):
    """Whose money it is, as the disconnection report tells it apart (seed 004, items Q to S; domain-rules 142, 143)."""

    CUSTOMER = "customer"
    LIHEAP = "LIHEAP"
    THIRD_PARTY_TARIFF = "third_party_tariff"  # under a tariff provision
    THIRD_PARTY = "third_party"  # not under one


_CUSTOMER = frozenset({"customer", "self", "own", "member", "consumer", "resident", "household", "cash"})
_LIHEAP = frozenset({"liheap", "ecap", "lieap"})  # ECAP: LIHEAP's crisis part in Oklahoma
_LIHEAP_IN_WORDS = ("energy_assistance", "energy_crisis_assistance")
_OTHERS = frozenset(
    {"third", "thirdparty", "3rd", "agency", "charity", "church", "voucher", "pledge", "assistance", "aid", "donation"}
)
_NOT = frozenset({"not", "no", "non", "without", "outside", "other"})


def source_of(told: str) -> Source | None:
    """The source that somebody means, whatever the case and spelling; None where that cannot be told.

    Nothing said is the customer's own money. Third parties count as under a tariff provision only where that is said.
    """
    words = [word for word in re.split(r"[^a-z0-9]+", told.lower()) if word]
    found = set(words)
    if not words or (found & _CUSTOMER and not found & _OTHERS):
        return Source.CUSTOMER
    if found & _LIHEAP or any(phrase in "_".join(words) for phrase in _LIHEAP_IN_WORDS):
        return Source.LIHEAP
    if "tariff" in found:
        return Source.THIRD_PARTY if found & _NOT else Source.THIRD_PARTY_TARIFF
    return Source.THIRD_PARTY if found & _OTHERS else None


def paid_when(paid_at: datetime | None, now: datetime) -> tuple[datetime, str]:
    """When a payment counts as made, and a remark where that is not when its stamp says.

    The stamp of the agent who took it holds (domain-rules R64, row 103). One from the future or from more than a year
    ago is a wrong clock's: the payment then counts from when it arrived, and is never lost over it.
    """
    if paid_at is None or now < paid_at <= now + CLOCK_SLACK:
        return now, ""
    if paid_at > now:
        return now, f"paid_at {paid_at.isoformat()} lies in the future: counted as paid on arrival"
    if paid_at < now - OLDEST:
        return now, f"paid_at {paid_at.isoformat()} lies more than a year back: counted as paid on arrival"
    return paid_at, ""
