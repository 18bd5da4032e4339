"""Records that more than one core module uses: frozen values, integers for money and energy, aware instants.

Money is integer cents, energy is integer watt-hours, temperatures are integer hundredths of a degree Fahrenheit.
In every record of facts ``None`` means *unknown*, and unknown only ever keeps power on; the two exceptions, where
``None`` means *there is none*, are named where they stand.
"""

from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from enum import StrEnum


class Relay(StrEnum):
    """State of a supply switch as a decision sees it, in the words of DLMS's disconnect control."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"  # by us, for credit
    DISCONNECTED_OTHER = "disconnected_other"  # by someone else or by itself: never ours to close
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What a decision asks for."""

    DISCONNECT = "disconnect"
    RECONNECT = "reconnect"
    NONE = "none"


class Protection(StrEnum):
    """Reasons why a customer is never disconnected for credit (domain-rules R8, C8)."""

    MEDICAL = "medical"
    LIFE_SUPPORT = "life_support"
    LIFE_THREATENING = "life_threatening"
    ELDERLY_DISABLED = "elderly_disabled"


class HoldKind(StrEnum):
    """Dated reasons not to disconnect one account."""

    DISPUTE = "dispute"
    SETTLEMENT = "settlement"
    AID_PENDING = "aid_pending"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold on one account from ``starts_at`` until ``until`` (excluded); ``until`` None: open end."""

    kind: HoldKind
    starts_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class MoratoriumOrder:
    """An ordered ban on disconnects from ``starts_at`` until ``until`` (excluded); ``until`` None: open end."""

    order: str
    starts_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Hourly series from ``first_hour`` on, one value an hour, in hundredths of a degree Fahrenheit; None: missing."""

    fetched_at: datetime
    first_hour: datetime
    temperature_f100: tuple[int | None, ...]
    heat_index_f100: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """The latest observation of a station, in hundredths of a degree Fahrenheit; None: missing."""

    at: datetime
    temperature_f100: int | None
    heat_index_f100: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that one decision may depend on. Nothing else is read.

    ``None`` is unknown, except in ``returned_payment_notice_at`` (none was returned) and in a hold's or an order's
    ``until`` (open end). Instants from the future and values that make no sense count as unknown; so a forecast whose
    time of fetch is not known carries one from the future.
    """

    now: datetime | None
    zone: tzinfo | None
    enrolled: bool | None
    balance_cents: int | None
    arrears_cents: int | None
    protected: tuple[Protection, ...] | None
    holds: tuple[Hold, ...] | None
    zero_notice_delivered_at: datetime | None  # None: not sent
    returned_payment_notice_at: datetime | None  # None: none was returned
    returned_payment_unknown: bool  # the fact was given but makes no sense
    payments_since_disconnect_cents: int | None
    last_actual_read_at: datetime | None
    balance_rests_on_estimates: bool | None
    last_closed_day: date | None
    remote_disconnect: bool | None
    relay: Relay
    confirm_seconds: int | None
    forecast: Forecast | None
    observed: Observation | None
    alerts: tuple[str, ...] | None
    moratoriums: tuple[MoratoriumOrder, ...] | None
    clock_trusted: bool | None
    payments_feed_seen_at: datetime | None
    disconnects_left: int | None
    shadow_mode: bool | None
    holds_incomplete: bool = False  # beside those in ``holds`` there was one that makes no sense
    moratoriums_incomplete: bool = False
    meter_questioned: str = (
        ""  # in words, why the meter that answers is not the account's; empty: it is, or is taken so
    )
    limited_by: str = ""  # in words, which limit leaves no disconnects


@dataclass(frozen=True, slots=True)
class Block:
    """One reason that holds a disconnect back: a code of the contract's closed list, a sentence, its source."""

    code: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, every reason against a disconnect, and what a person wants to know next."""

    action: Action
    blocks: tuple[Block, ...]
    next_possible_disconnect: datetime | None
    amount_to_reconnect_cents: int | None
