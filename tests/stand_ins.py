"""Small stand-ins for a gateway's ports: a clock that is set by hand, a head end that says little and hears all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from protocols.link import HeadEndMessage, LinkDown


class SettableClock:
    """A trusted clock that stands until it is set; waiting for it ends only by the event."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        return self.instant

    def trusted(self) -> bool:
        return True

    def steady(self) -> bool:
        return True

    async def wait(self, until: datetime, event: asyncio.Event | None = None) -> bool:
        if event is None:
            event = asyncio.Event()
        await event.wait()
        return True

    def at_wall_pace(self) -> AbstractContextManager[None]:
        return nullcontext()


class SilentHeadEnd:
    """A head end that is there, says no more than it was given, and keeps what it is told; it may also be away."""

    def __init__(self, says: Sequence[HeadEndMessage] = ()) -> None:
        self.connected = True
        self.says = says
        self.heard: list[tuple[str, bytes]] = []

    async def messages(self) -> AsyncIterator[HeadEndMessage]:
        for message in self.says:
            yield message

    async def acknowledge(self, message: HeadEndMessage) -> None:
        pass

    async def publish(self, kind: str, payload: bytes) -> None:
        if not self.connected:
            raise LinkDown("the head end is away")
        self.heard.append((kind, payload))
