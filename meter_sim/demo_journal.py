"""What happens in the demonstration: as sentences for who watches, and as facts on which its checks rest.

Facts are what went over the wire: what the head end told the gateway, and what the gateway told the head end.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from edge.clock import Clock
from meter_sim.demo_site import ZONE

Tone = Literal["story", "money", "notice", "off", "on", "calm"]


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence of what happened."""

    at: datetime
    text: str
    tone: Tone

    @property
    def when(self) -> str:
        """The civil day and minute, always of the same width."""
        return f"{civil(self.at):>16}"


@dataclass(frozen=True, slots=True)
class Told:
    """A message that the head end sent to the gateway."""

    at: datetime
    kind: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reconnection:
    """A payment or a protection that had to bring power back, and the wall seconds until the contact closed."""

    account_id: str
    at: datetime
    why: str
    seconds: float | None


def civil(at: datetime) -> str:
    """An instant as people say it: Thu 8 Oct 08:00."""
    local = at.astimezone(ZONE)
    return f"{local:%a} {local.day} {local:%b %H:%M}"


@dataclass
class Journal:
    """The demonstration's memory. ``tell`` gets each sentence as it comes about."""

    clock: Clock
    names: Mapping[str, str]
    tell: Callable[[Line], None]
    told: list[Told] = field(default_factory=list)
    receipts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    notices: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    reconnections: list[Reconnection] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    doing: str = ""

    def say(self, text: str, tone: Tone = "calm", at: datetime | None = None) -> None:
        """Record a sentence and tell it."""
        line = Line(at or self.clock.now(), text, tone)
        self.lines.append(line)
        self.tell(line)

    def hear(self, kind: str, content: dict[str, Any]) -> None:
        """Take what the gateway told: a receipt, a notice to a customer, an event."""
        if kind == "receipts":
            self.receipts.setdefault(content["payment_id"], []).append(content)
            self._say_receipt(content)
        elif kind == "notices":
            self.notices.append(content)
            self._say_notice(content)
        elif kind == "events":
            self.events.append(content)
            self._say_event(content)

    def _say_receipt(self, receipt: Mapping[str, Any]) -> None:
        outcome = {
            "posted": "is posted",
            "duplicate": "came before: it counts once",
            "refused": f"is refused: {receipt.get('reason', '')}",
        }
        self.say(f"Payment {receipt['payment_id']} {outcome[receipt['status']]}", "money")

    def _say_notice(self, notice: Mapping[str, Any]) -> None:
        sentences = re.split(r"(?<=[.!])\s+", notice["text"])
        told = {"zero": sentences[0], "disconnected": sentences[-1]}.get(notice["type"])
        if told is not None:  # a payment and a reconnection are told by their own lines
            self.say(f"{self._name(notice)} is told: {told}", "notice", _instant(notice["created_at"]))

    def _say_event(self, event: Mapping[str, Any]) -> None:
        at = _instant(event["at"])
        if event["kind"] == "command":
            if sentence := self._command_sentence(event):
                self.say(sentence, "off" if event["action"] == "disconnect" else "on", at)
        elif event["kind"] == "relay":
            self.say(f"{self._name(event)}: the switch was found {event['relay']}, not by our hand", "off", at)
        elif event["kind"] == "rejected":
            self.say(f"Refused: {event['reason']}", "money", at)

    def _command_sentence(self, event: Mapping[str, Any]) -> str:
        name, why = self._name(event), event.get("detail") or "no reason given"
        match event["action"], event["state"]:
            case "disconnect", "confirmed":
                return f"{name} is disconnected; the meter was read back"
            case "reconnect", "confirmed":
                return f"{name}: the reconnect is confirmed, the meter was read back"
            case action, ("failed" | "expired" | "cancelled") as state:
                return f"{name}: the {action} {'was ' * (state == 'cancelled')}{state} ({why})"
        return ""

    @property
    def warned(self) -> set[str]:
        """Whoever got a notice of a balance at or below zero."""
        return {notice["account_id"] for notice in self.notices if notice["type"] == "zero"}

    def _name(self, content: Mapping[str, Any]) -> str:
        account_id = content.get("account_id") or content.get("meter_id") or "?"
        return self.names.get(account_id, account_id)

    def command_confirmed(self, account_id: str, action: str, since: datetime) -> bool:
        """Whether the gateway has told that a command of this kind was confirmed since an instant."""
        return any(
            event["kind"] == "command"
            and (event["account_id"], event["action"], event["state"]) == (account_id, action, "confirmed")
            and _instant(event["at"]) >= since
            for event in self.events
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
