"""What was decided, told, received and refused: decisions, notices, outbox, weather documents, events."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.store.base import instant_of, instant_text


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as it was recorded when it changed."""

    decision_id: int
    at: datetime
    action: str
    codes: tuple[str, ...]
    answer: dict[str, Any]
    rules_digest: str


def last_decision(database: sqlite3.Connection, account_id: str, at: datetime | None = None) -> RecordedDecision | None:
    """The decision in force for an account, now or at a past instant."""
    until = "" if at is None else " AND at <= ?"
    row = database.execute(
        "SELECT decision_id, at, action, codes, answer, rules_digest FROM decision"
        f" WHERE account_id = ?{until} ORDER BY decision_id DESC LIMIT 1",
        (account_id,) if at is None else (account_id, instant_text(at)),
    ).fetchone()
    if row is None:
        return None
    decision_id, decided_at, action, codes, answer, digest = row
    decided = instant_of(decided_at)
    return RecordedDecision(decision_id, decided, action, tuple(codes.split()), json.loads(answer), digest)


def add_decision(
    database: sqlite3.Connection,
    *,
    account_id: str,
    at: datetime,
    action: str,
    codes: tuple[str, ...],
    answer: dict[str, Any],
    rules_digest: str,
) -> int:
    """Record a decision; its id."""
    row_id = database.execute(
        "INSERT INTO decision (account_id, at, action, codes, answer, rules_digest) VALUES (?, ?, ?, ?, ?, ?)",
        (account_id, instant_text(at), action, " ".join(codes), json.dumps(answer), rules_digest),
    ).lastrowid
    assert row_id is not None
    return row_id


_TO_OUTBOX = "INSERT INTO outbox (kind, subject, payload, created_at) VALUES (?, ?, ?, ?)"


def add_outbox(database: sqlite3.Connection, kind: str, subject: str, payload: dict[str, Any], at: datetime) -> None:
    """Queue a message for the head end, committed with the facts that it reports."""
    add_to_outbox(database, kind, [(subject, payload)], at)


def add_to_outbox(
    database: sqlite3.Connection, kind: str, payloads: Sequence[tuple[str, dict[str, Any]]], at: datetime
) -> None:
    """Queue messages of one kind for the head end, each with what it is about."""
    text = instant_text(at)
    database.executemany(_TO_OUTBOX, [(kind, subject, json.dumps(payload), text) for subject, payload in payloads])


def waiting_outbox(database: sqlite3.Connection, limit: int = 100) -> list[tuple[int, str, str, str]]:
    """Messages to the head end that were not sent yet, oldest first: (id, kind, subject, payload)."""
    return database.execute(
        "SELECT outbox_id, kind, subject, payload FROM outbox"
        " WHERE sent_at IS NULL AND kind <> 'email' ORDER BY outbox_id LIMIT ?",
        (limit,),
    ).fetchall()


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A notice that waits to go out by e-mail; ``address``: the account's."""

    outbox_id: int
    notice_id: str
    account_id: str
    type: str
    text: str
    address: str
    created_at: datetime


def waiting_mail(database: sqlite3.Connection, limit: int = 500) -> list[WaitingMail]:
    """Notices that were not sent by e-mail yet, oldest first."""
    rows = database.execute(
        "SELECT o.outbox_id, n.notice_id, n.account_id, n.type, n.text, a.email, n.created_at FROM outbox o"
        " JOIN notice n ON n.notice_id = o.subject JOIN account a USING (account_id)"
        " WHERE o.sent_at IS NULL AND o.kind = 'email' ORDER BY o.outbox_id LIMIT ?",
        (limit,),
    )
    return [WaitingMail(i, n, account, kind, text, to, instant_of(at)) for i, n, account, kind, text, to, at in rows]


def give_up(database: sqlite3.Connection, outbox_id: int, at: datetime) -> None:
    """Record that a message will not be tried again."""
    database.execute("UPDATE outbox SET sent_at = ? WHERE outbox_id = ?", (instant_text(at), outbox_id))


def mark_sent(database: sqlite3.Connection, outbox_ids: list[int], at: datetime) -> list[str]:
    """Record that the next one has these messages; a notice among them is sent from now on. Whose notices these are."""
    text = instant_text(at)
    database.executemany("UPDATE outbox SET sent_at = ? WHERE outbox_id = ?", ((text, key) for key in outbox_ids))
    cursor = database.executemany(
        "INSERT OR IGNORE INTO notice_delivery SELECT subject, 'sent', ? FROM outbox"
        " WHERE outbox_id = ? AND kind IN ('notices', 'email')",
        ((text, key) for key in outbox_ids),
    )
    if cursor.rowcount <= 0:
        return []
    rows = database.execute(
        "SELECT DISTINCT n.account_id FROM outbox o JOIN notice n ON n.notice_id = o.subject"
        f" WHERE o.kind IN ('notices', 'email') AND o.outbox_id IN ({', '.join('?' * len(outbox_ids))})"
        " ORDER BY n.account_id",
        outbox_ids,
    )
    return [account_id for (account_id,) in rows]


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to a customer by one channel. One notice an event and channel, however often the event is found."""

    account_id: str
    type: str
    text: str
    event_key: str
    entry_id: int
    created_at: datetime
    channel: str = "sms"
    phone: str = ""  # for SMS and IVR, where enrolment gave one

    @property
    def notice_id(self) -> str:
        """The same for the same event and channel, and never longer than a receipt may name."""
        whole = f"{self.event_key}-{self.channel}"
        return f"N-{whole if len(whole) <= 100 else hashlib.sha256(whole.encode()).hexdigest()}"


def add_notice(database: sqlite3.Connection, notice: Notice, queue: str | None = "notices") -> bool:
    """Record a notice and queue it for the head end or for ``email``; False when this channel was given it before.

    ``queue`` None: whoever sends it looks for it itself (an in-home display).
    """
    return bool(add_notices(database, [(notice, queue)]))


def add_notices(database: sqlite3.Connection, queued: Sequence[tuple[Notice, str | None]]) -> list[Notice]:
    """Record notices, no two of them the same, each with its queue; those that their channel had not been given."""
    by_id = {notice.notice_id: (notice, queue) for notice, queue in queued}
    rows = database.execute(
        "SELECT notice_id FROM notice WHERE notice_id IN (SELECT value FROM json_each(?))", (json.dumps(list(by_id)),)
    )
    for (known,) in rows.fetchall():
        del by_id[known]
    database.executemany(
        "INSERT INTO notice VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                notice_id,
                notice.account_id,
                notice.type,
                notice.channel,
                notice.text,
                notice.event_key,
                notice.entry_id,
                instant_text(notice.created_at),
            )
            for notice_id, (notice, _) in by_id.items()
        ],
    )
    database.executemany(
        _TO_OUTBOX,
        [
            (queue, notice_id, json.dumps(_payload(notice_id, notice)), instant_text(notice.created_at))
            for notice_id, (notice, queue) in by_id.items()
            if queue is not None
        ],
    )
    return [notice for notice, _ in by_id.values()]


def _payload(notice_id: str, notice: Notice) -> dict[str, str]:
    payload = {
        "notice_id": notice_id,
        "account_id": notice.account_id,
        "type": notice.type,
        "channel": notice.channel,
        "text": notice.text,
        "created_at": notice.created_at.isoformat(),
    }
    if notice.phone:
        payload["phone"] = notice.phone
    return payload


def add_notice_delivery(database: sqlite3.Connection, notice_id: str, at: datetime) -> str | None:
    """Record that a notice reached the customer; whose it is, None when there is no such notice."""
    row = database.execute("SELECT account_id FROM notice WHERE notice_id = ?", (notice_id,)).fetchone()
    if row is None:
        return None
    database.execute("INSERT OR IGNORE INTO notice_delivery VALUES (?, 'delivered', ?)", (notice_id, instant_text(at)))
    return str(row[0])


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event of which a customer was told: its key, the ledger entry it followed, when the notice was made."""

    event_key: str
    entry_id: int
    created_at: datetime


def last_notice(database: sqlite3.Connection, account_id: str, notice_type: str) -> ToldEvent | None:
    """The newest event of a type of which an account was told."""
    row = database.execute(
        "SELECT event_key, entry_id, created_at FROM notice WHERE account_id = ? AND type = ?"
        " ORDER BY entry_id DESC, created_at DESC LIMIT 1",
        (account_id, notice_type),
    ).fetchone()
    return ToldEvent(row[0], row[1], instant_of(row[2])) if row else None


def was_told(database: sqlite3.Connection, event_key: str) -> bool:
    """Whether a notice of this event was made, by any channel."""
    return database.execute("SELECT 1 FROM notice WHERE event_key = ? LIMIT 1", (event_key,)).fetchone() is not None


def notice_marks(database: sqlite3.Connection, account_id: str) -> frozenset[str]:
    """What notices remember of an account from one posting to the next."""
    rows = database.execute("SELECT mark FROM notice_mark WHERE account_id = ?", (account_id,))
    return frozenset(mark for (mark,) in rows)


def set_notice_marks(
    database: sqlite3.Connection, account_id: str, before: frozenset[str], after: frozenset[str]
) -> None:
    """Let an account's marks be ``after`` instead of ``before``."""
    database.executemany(
        "DELETE FROM notice_mark WHERE account_id = ? AND mark = ?", _pairs(account_id, before - after)
    )
    database.executemany("INSERT INTO notice_mark VALUES (?, ?)", _pairs(account_id, after - before))


def _pairs(account_id: str, marks: frozenset[str]) -> list[tuple[str, str]]:
    return [(account_id, mark) for mark in sorted(marks)]


def display_notices(database: sqlite3.Connection, account_id: str, limit: int) -> list[dict[str, str]]:
    """The newest notices for an account's in-home display, newest first."""
    rows = database.execute(
        "SELECT notice_id, type, text, created_at FROM notice WHERE account_id = ? AND channel = 'display'"
        " ORDER BY created_at DESC, entry_id DESC LIMIT ?",
        (account_id, limit),
    )
    return [{"notice_id": n, "type": kind, "text": text, "created_at": at} for n, kind, text, at in rows]


def mark_displayed(database: sqlite3.Connection, notice_ids: list[str], at: datetime) -> bool:
    """Record that the broker has these notices for a display; True if any of them was new."""
    cursor = database.executemany(
        "INSERT OR IGNORE INTO notice_delivery VALUES (?, 'sent', ?)", ((key, instant_text(at)) for key in notice_ids)
    )
    return cursor.rowcount > 0


def add_event(
    database: sqlite3.Connection, kind: str, at: datetime, data: dict[str, Any], not_before_id: int = 0
) -> None:
    """Record an event and queue it for the head end. Its id, and all after it, are at least ``not_before_id``."""
    event_id = database.execute(
        "INSERT INTO event (event_id, at, kind, data)"
        " SELECT max(coalesce(max(event_id), 0) + 1, ?), ?, ?, ? FROM event",
        (not_before_id, instant_text(at), kind, json.dumps(data)),
    ).lastrowid
    payload = {"event_id": event_id, "at": at.isoformat(), "kind": kind, **data}
    add_outbox(database, "events", str(event_id), payload, at)


def last_events(database: sqlite3.Connection, limit: int) -> list[tuple[datetime, str, dict[str, Any]]]:
    """The newest events, newest first."""
    rows = database.execute("SELECT at, kind, data FROM event ORDER BY event_id DESC LIMIT ?", (limit,))
    return [(instant_of(at), kind, json.loads(data)) for at, kind, data in rows]


def add_rejected(database: sqlite3.Connection, source: str, payload: str, reason: str, at: datetime) -> None:
    """Keep what was refused, and why."""
    database.execute(
        "INSERT INTO rejected (at, source, payload, reason) VALUES (?, ?, ?, ?)",
        (instant_text(at), source, payload, reason),
    )


def add_weather_document(
    database: sqlite3.Connection, kind: str, received_at: datetime, digest: str, body: bytes
) -> None:
    """Keep a weather document that was used, so that a past decision can be shown again."""
    database.execute(
        "INSERT INTO weather_document (kind, received_at, digest, body) VALUES (?, ?, ?, ?)",
        (kind, instant_text(received_at), digest, zlib.compress(body)),
    )


def weather_document(database: sqlite3.Connection, kind: str) -> tuple[datetime, bytes] | None:
    """The newest document of a kind that has arrived: when it came, and its bytes."""
    row = database.execute(
        "SELECT received_at, body FROM weather_document WHERE kind = ? ORDER BY document_id DESC LIMIT 1", (kind,)
    ).fetchone()
    return (instant_of(row[0]), zlib.decompress(row[1])) if row else None


def set_state(database: sqlite3.Connection, facts: dict[str, str], at: datetime) -> None:
    """Write what the daemon knows of itself."""
    text = instant_text(at)
    database.executemany(
        "INSERT INTO gateway_state VALUES (?, ?, ?) ON CONFLICT (fact)"
        " DO UPDATE SET value = excluded.value, at = excluded.at",
        ((fact, value, text) for fact, value in facts.items()),
    )


def state(database: sqlite3.Connection) -> dict[str, tuple[str, datetime]]:
    """What the daemon last knew of itself: fact -> (value, when)."""
    return {fact: (value, instant_of(at)) for fact, value, at in database.execute("SELECT * FROM gateway_state")}


ALARM_KINDS = (
    "read_rejected",
    "reconnected_by_hand",
    "notice_failed",
    "database_restored",
    "disk_full",
    "backup_failed",
)


def alarms(database: sqlite3.Connection, limit: int = 20) -> list[dict[str, Any]]:
    """The newest events that somebody should look at, newest first."""
    marks = ", ".join("?" * len(ALARM_KINDS))
    rows = database.execute(
        f"SELECT at, kind, data FROM event WHERE kind IN ({marks}) ORDER BY event_id DESC LIMIT ?",
        (*ALARM_KINDS, limit),
    )
    return [{"at": at, "kind": kind, **json.loads(data)} for at, kind, data in rows]
