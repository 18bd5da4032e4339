"""What every part of the local API needs: bodies that refuse a misspelt key, times with offsets, who asks."""

from datetime import datetime
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Words = Annotated[str, Field(max_length=500)]


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)


def instant(text: str, key: str) -> datetime:
    """A time with its offset. Raises ValueError with a sentence that names the key."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{key} {text!r} is not a time such as 2026-10-14T09:00:00-05:00") from None
    if at.tzinfo is None:
        raise ValueError(f"{key} {text!r} has no offset from UTC")
    return at


def caller(request: Request) -> str:
    """Who asks: the uid of the process at the other end of the socket."""
    return f"uid {request.client.port}" if request.client is not None else "local"
