"""What the gateway and its head end say to each other over MQTT: topics, and the shape of what comes in. Pure.

Contract section 6. A message that is not of its shape raises ``MessageRejected`` with one sentence; unknown keys are
refused by name, so that a misspelt key is never silently nothing. No number with a fraction is ever a JSON number.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MOST_BYTES = 65_536
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_UNSPEAKABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # control characters, lone surrogates
_FOREVER = 9000  # from this year on, an end means no end


class MessageRejected(Exception):
    """A message is not what its topic asks for: one sentence. ``message_id``: whose it is, where that can be told."""

    def __init__(self, reason: str, message_id: str | None = None) -> None:
        self.reason = reason
        self.message_id = message_id
        super().__init__(reason)


class _Fraction(str):
    """A JSON number with a fraction or an exponent, as it was written."""

    __slots__ = ()


def _time(value: object) -> object:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError('must be a time with offset, such as "2026-01-31T08:00:00-06:00"')
    try:
        at = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value} is not a time") from None
    if at.year < 1970 or at.year > 9990:
        raise ValueError(f"{value} is too far from now")
    return at


def _end(value: object) -> object:
    """A time, or None for no end; a year that only means "for ever" is no end."""
    if value is None or (isinstance(value, str) and _TIME.fullmatch(value) and int(value[:4]) >= _FOREVER):
        return None
    return _time(value)


def _amount(value: object) -> object:
    """A decimal string of dollars and cents; a JSON integer is whole dollars; a JSON fraction is refused."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, _Fraction) or not isinstance(value, str):
        raise ValueError('must be a decimal string such as "25.00", not a JSON number with a fraction')
    if not re.fullmatch(r"[+-]?[0-9]{1,12}(\.[0-9]{1,2})?", value):
        raise ValueError(f'{value[:40]!r} is not dollars and cents such as "25.00"')
    return value


def _identifier(value: object) -> object:
    if isinstance(value, _Fraction) or not isinstance(value, str):
        raise ValueError("must be a string")
    if _UNSPEAKABLE.search(value):
        raise ValueError("must not contain control characters")
    return value


def _text(value: object) -> object:
    """Words for people: what cannot be shown becomes a space, what is too long is cut; neither is worth a refusal."""
    if isinstance(value, _Fraction) or not isinstance(value, str):
        raise ValueError("must be a string")
    return _UNSPEAKABLE.sub(" ", value[:500])


Identifier = Annotated[str, BeforeValidator(_identifier), Field(min_length=1, max_length=128)]
Text = Annotated[str, BeforeValidator(_text)]
Time = Annotated[datetime, BeforeValidator(_time)]
OptionalTime = Annotated[datetime | None, BeforeValidator(lambda value: None if value is None else _time(value))]
End = Annotated[datetime | None, BeforeValidator(_end)]
Amount = Annotated[str, BeforeValidator(_amount)]


def _fee(value: object) -> object:
    amount = _amount(value)
    if str(amount).startswith("-"):
        raise ValueError(f"{amount} is below zero")
    return amount


Fee = Annotated[str, BeforeValidator(_fee)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Payment(_Message):
    """``in/payments``. ``amount``: dollars and cents as a string; whether it may be zero is not the wire's business."""

    payment_id: Identifier
    account_id: Identifier
    amount: Amount
    paid_at: OptionalTime = None
    channel: Text = ""
    source: Text = ""


class ReturnedPayment(_Message):
    """``in/returned-payments``: a payment that the bank took back. ``fee``: dollars and cents as a string."""

    payment_id: Identifier
    returned_at: Time
    fee: Fee = "0"
    reason: Text = ""


class Protected(_Message):
    """``in/protected``: a protection begins or ends. ``at`` None: when the message arrives."""

    account_id: Identifier
    kind: Literal["medical", "life_support", "life_threatening", "elderly_disabled"]
    protected: bool
    at: OptionalTime = None


class Hold(_Message):
    """``in/holds``, first form. ``starts_at`` (key ``from``) None: when the message arrives; ``until`` None: no end."""

    hold_id: Identifier
    account_id: Identifier
    kind: Literal["dispute", "settlement", "aid_pending", "operator"]
    starts_at: Annotated[OptionalTime, Field(alias="from")] = None
    until: End = None
    reason: Text = ""


class HoldRelease(_Message):
    """``in/holds``, second form. ``outcome``: what became of a settlement agreement."""

    hold_id: Identifier
    released_at: Time
    outcome: Literal["released", "honoured", "broken"] = "released"
    reason: Text = ""


class Moratorium(_Message):
    """``in/moratoriums``. ``starts_at`` (key ``from``) None: when the message arrives; ``until`` None: no end."""

    order: Identifier
    starts_at: Annotated[OptionalTime, Field(alias="from")] = None
    until: End = None
    reason: Text = ""
    ordered_by: Text = ""


class NoticeReceipt(_Message):
    """``in/notice-receipts``: a notice reached the customer."""

    notice_id: Identifier
    delivered_at: Time


class Replayed(_Message):
    """``in/replayed``: all that was sent after the backup was sent again. ``restored_at``: as the event told it."""

    restored_at: Time
    reason: Text = ""


InMessage = Payment | ReturnedPayment | Protected | Hold | HoldRelease | Moratorium | NoticeReceipt | Replayed

_SHAPES: dict[str, type[_Message]] = {
    "payments": Payment,
    "returned-payments": ReturnedPayment,
    "protected": Protected,
    "holds": Hold,
    "moratoriums": Moratorium,
    "notice-receipts": NoticeReceipt,
    "replayed": Replayed,
}


def topic_in(gateway_id: str, kind: str) -> str:
    """The topic on which the head end sends messages of a kind; ``#`` for all."""
    return f"ami/v1/{gateway_id}/in/{kind}"


def topic_out(gateway_id: str, kind: str) -> str:
    """The topic on which the gateway sends messages of a kind."""
    return f"ami/v1/{gateway_id}/out/{kind}"


def is_retained(kind: str) -> bool:
    """Whether the broker keeps the last message of a kind that the gateway sends: only what displays show."""
    return kind.startswith("display/")


def parse(kind: str, payload: bytes) -> InMessage:
    """Read a message of a kind (what follows ``in/``; weather documents are read elsewhere).

    Raises MessageRejected, whose sentence names the key.
    """
    shape = _SHAPES.get(kind)
    if shape is None:
        raise MessageRejected(f"there is no message in/{kind[:64]}")
    content = _json_object(kind, payload)
    if shape is Hold and "released_at" in content:
        shape = HoldRelease
    try:
        message = shape.model_validate(content)
    except ValidationError as problem:
        raise MessageRejected(f"in/{kind}: {_sentence(problem.errors()[0])}", _message_id(content)) from None
    assert isinstance(message, InMessage)
    return message


def _json_object(kind: str, payload: bytes) -> dict[str, Any]:
    if len(payload) > MOST_BYTES:
        raise MessageRejected(f"in/{kind}: the message has {len(payload)} bytes; at most {MOST_BYTES} are read")
    try:
        content = json.loads(
            payload.decode("utf-8"), parse_float=_Fraction, parse_constant=_Fraction, object_pairs_hook=_no_twins
        )
    except _Twin as twin:
        raise MessageRejected(
            f"in/{kind}: the key {_UNSPEAKABLE.sub('?', str(twin)[:64])} stands there twice"
        ) from None
    except (ValueError, RecursionError):
        raise MessageRejected(f"in/{kind}: the message is not a JSON document in UTF-8") from None
    if not isinstance(content, dict):
        raise MessageRejected(f"in/{kind}: the message is not a JSON object")
    return content


class _Twin(Exception):
    """A key that stands twice in one object."""


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twin(next(name for name in names if names.count(name) > 1))
    return found


def _message_id(content: Mapping[str, Any]) -> str | None:
    """The payment's, hold's or notice's id of a message that was refused for something else."""
    for key in ("payment_id", "hold_id", "notice_id"):
        value = content.get(key)
        if (
            isinstance(value, str)
            and not isinstance(value, _Fraction)
            and 0 < len(value) <= 128
            and not _UNSPEAKABLE.search(value)
        ):
            return value
    return None


def _sentence(error: Any) -> str:
    key = ".".join(str(part)[:64] for part in error["loc"])
    key = _UNSPEAKABLE.sub("?", key)
    if error["type"] == "extra_forbidden":
        return f"{key} is not a known key"
    if error["type"] == "missing":
        return f"{key} is missing"
    return f"{key} - {error['msg'].removeprefix('Value error, ')}"
