"""Which accounts a decision cannot tell apart: the same blocks hold for all of them, only their texts differ.

Nearly all accounts have power and credit. At one instant the circumstances are the same for everybody, so that for such
accounts the blocks follow from a few facts, and are worked out once for all that share these.
"""

from collections.abc import Hashable
from dataclasses import fields
from datetime import timedelta
from operator import attrgetter

from edge.core.decisions import is_fresh
from edge.core.model import Facts, Relay
from edge.core.programs import Program

_SHARED = frozenset(  # the same for all accounts of a gateway at one instant
    {
        "now",
        "zone",
        "forecast",
        "observed",
        "alerts",
        "moratoriums",
        "moratoriums_incomplete",
        "clock_trusted",
        "payments_feed_seen_at",
        "shadow_mode",
    }
)
_TOLD_ONLY = frozenset(  # of an account with power and credit: they change what is said, never which blocks hold
    {"balance_cents", "arrears_cents", "payments_since_disconnect_cents", "limited_by"}
)
_OF_ACCOUNT = attrgetter(
    *[field.name for field in fields(Facts) if field.name not in _SHARED | _TOLD_ONLY | {"last_actual_read_at"}]
)


def has_power_and_credit(facts: Facts) -> bool:
    """Whether a decision can only be to leave an account as it is: the relay is closed, the balance above zero."""
    return facts.relay is Relay.CONNECTED and facts.balance_cents is not None and facts.balance_cents > 0


def likeness(facts: Facts, program: Program) -> Hashable:
    """What is equal for two accounts with power and credit of one program if the same blocks hold for both.

    Both at one instant and of one gateway; a read counts by whether it is fresh (domain-rules C21), not by its time.
    """
    now, read_at = facts.now, facts.last_actual_read_at
    fresh = is_fresh(read_at, now, timedelta(hours=program.max_read_age_hours))
    return (fresh, *_OF_ACCOUNT(facts))
