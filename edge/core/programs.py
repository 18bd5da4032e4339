"""A prepaid program's rules as values: who may be disconnected, when, after which notice; thresholds with sources.

What utilities differ in is data, in ``config/programs``; what they agree in is code, in ``decisions``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum


class Trip(StrEnum):
    """At which balance a disconnect becomes possible (domain-rules C3)."""

    NEGATIVE = "negative"
    ZERO = "zero"


class Grace(StrEnum):
    """How long the zero notice must have been out (domain-rules R3, C4)."""

    LATER = "later"  # the later of 08:00 of the next civil day and 24 hours
    NEXT_DAY = "next_day"
    HOURS = "hours"


class DayBefore(StrEnum):
    """What the day before a holiday allows (domain-rules R57, C18)."""

    NORMAL = "normal"
    NOON = "noon"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Threshold:
    """One limit of a weather rule, in hundredths of a degree Fahrenheit; ``inclusive``: the limit itself counts."""

    limit_f100: int
    inclusive: bool


@dataclass(frozen=True, slots=True)
class ColdRule:
    """When cold holds disconnects back; ``season`` (month, day) from and until, both included, or None: always."""

    below: Threshold
    night_low: Threshold | None
    horizon_hours: int
    season: tuple[tuple[int, int], tuple[int, int]] | None
    source: str


@dataclass(frozen=True, slots=True)
class HeatRule:
    """When heat holds disconnects back; ``horizon_hours`` None: the rest of the civil day."""

    index: Threshold
    temperature: Threshold | None
    horizon_hours: int | None
    season: tuple[tuple[int, int], tuple[int, int]] | None
    alerts: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Program:
    """One program. Money in cents, the arrears share in parts per million; windows by weekday, Monday first."""

    name: str
    title: str
    windows: tuple[tuple[time, time] | None, ...]
    trip: Trip
    grace: Grace
    grace_hours: int
    grace_from: str  # "sent" or "delivered"
    guard_seconds: int
    day_before_holiday: DayBefore
    max_read_age_hours: int
    max_payment_feed_age_minutes: int
    notice_after_moratorium: bool
    notice_after_moratorium_hours: int
    reconnect_from_cents: int  # the balance from which on power comes back
    reconnect_payments_cents: int  # payments since the cut must be at least this
    arrears_share_ppm: int
    arrears_first: bool
    max_carried_arrears_cents: int
    cold: ColdRule | None
    heat: HeatRule | None
    own_holidays: Mapping[date, str]
    half_days: Mapping[date, time]
    customer_classes: tuple[str, ...]
    max_past_due_cents: int
    minimum_activation_cents: int
    max_participants: int | None
    account_current: bool  # unbilled use included
    rate_halves: bool  # half of the participants on a standard, half on a time-of-use rate
    notice_days_left: tuple[int, ...]
    sources: Mapping[str, str]
    eligibility_source: str = ""
    arrears_source: str = ""
    standard_tariff: str | None = None  # what the program assigns to its halves, where a row names no tariff
    time_of_use_tariff: str | None = None
