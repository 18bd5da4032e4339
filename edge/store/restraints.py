"""What keeps accounts from being disconnected: protections, holds, moratorium orders. Insert-only; an end is a row."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from edge.core.model import Hold, HoldKind, MoratoriumOrder, Protection
from edge.store.base import instant_of, instant_text

HOLD = "hold"
MORATORIUM = "moratorium"


@dataclass(frozen=True, slots=True)
class RecordedProtection:
    """A protection that began or ended, when and by whom it was told."""

    account_id: str
    kind: Protection
    protected: bool
    at: datetime
    by: str


def protections(database: sqlite3.Connection, account_id: str) -> tuple[Protection, ...]:
    """The protections of an account in force."""
    return protections_of(database, [account_id]).get(account_id, ())


def protections_of(database: sqlite3.Connection, account_ids: Iterable[str]) -> dict[str, tuple[Protection, ...]]:
    """The protections in force by account, those without any left out: of each kind the last row counts."""
    last: dict[str, dict[str, bool]] = {}
    for account_id, kind, protected in database.execute(
        "SELECT account_id, kind, protected FROM protection WHERE account_id IN (SELECT value FROM json_each(?))"
        " ORDER BY rowid",
        (json.dumps(list(account_ids)),),
    ):
        last.setdefault(account_id, {})[kind] = bool(protected)
    return {
        account_id: tuple(Protection(kind) for kind, protected in kinds.items() if protected)
        for account_id, kinds in last.items()
    }


def recorded_protections(database: sqlite3.Connection) -> list[RecordedProtection]:
    """Every beginning and end of a protection, oldest first."""
    rows = database.execute("SELECT account_id, kind, protected, at, by FROM protection ORDER BY rowid")
    return [
        RecordedProtection(account_id, Protection(kind), bool(protected), instant_of(at), by)
        for account_id, kind, protected, at, by in rows
    ]


def add_protection(
    database: sqlite3.Connection, account_id: str, kind: Protection, protected: bool, at: datetime, by: str
) -> None:
    """Record that a protection begins or ends."""
    database.execute(
        "INSERT INTO protection VALUES (?, ?, ?, ?, ?)", (account_id, kind.value, int(protected), instant_text(at), by)
    )


@dataclass(frozen=True, slots=True)
class Release:
    """How a hold was ended: ``outcome`` is released, or of a settlement honoured or broken."""

    released_at: datetime
    outcome: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class RecordedHold:
    """A hold as it stands, with who recorded it and when; ``hold.until`` is the earlier of its end and its release.

    ``ends_at``: the end that it was given, whatever became of it.
    """

    hold_id: str
    account_id: str
    hold: Hold
    reason: str
    registered_late: bool
    recorded_at: datetime
    by: str
    ends_at: datetime | None = None
    release: Release | None = None


_HOLD = (
    "SELECT h.hold_id, account_id, kind, starts_at, until, h.reason, registered_late, h.recorded_at, h.by, released_at,"
    " outcome, r.reason, r.by FROM hold h LEFT JOIN hold_release r USING (hold_id)"
    " WHERE hold_row = (SELECT max(hold_row) FROM hold same WHERE same.hold_id = h.hold_id)"
)


def _hold(
    row: tuple[str, str, str, str, str | None, str, int, str, str, str | None, str, str, str],
) -> RecordedHold:
    hold_id, account_id, kind, starts_at, until, reason, late, recorded_at, by, released_at, *how = row
    release = None if released_at is None else Release(instant_of(released_at), *how)
    ends_at = None if until is None else instant_of(until)
    ends = [instant_of(text) for text in (until, released_at) if text is not None]
    hold = Hold(HoldKind(kind), instant_of(starts_at), min(ends) if ends else None)
    return RecordedHold(hold_id, account_id, hold, reason, bool(late), instant_of(recorded_at), by, ends_at, release)


def recorded_holds(database: sqlite3.Connection, account_id: str | None = None) -> list[RecordedHold]:
    """All holds, or those of one account, in the order in which they were recorded, each as it stands now."""
    only = "" if account_id is None else " AND account_id = ?"
    rows = database.execute(f"{_HOLD}{only} ORDER BY hold_row", () if account_id is None else (account_id,))
    return [_hold(row) for row in rows]


def holds_of(database: sqlite3.Connection, account_ids: Iterable[str]) -> dict[str, tuple[Hold, ...]]:
    """All holds by account, past ones too; a release ends a hold at its instant."""
    rows = database.execute(
        f"{_HOLD} AND account_id IN (SELECT value FROM json_each(?)) ORDER BY hold_row",
        (json.dumps(list(account_ids)),),
    )
    found: dict[str, list[Hold]] = {}
    for recorded in map(_hold, rows):
        found.setdefault(recorded.account_id, []).append(recorded.hold)
    return {account_id: tuple(held) for account_id, held in found.items()}


def hold(database: sqlite3.Connection, hold_id: str) -> RecordedHold | None:
    """The hold of an id, or None."""
    row = database.execute(f"{_HOLD} AND h.hold_id = ?", (hold_id,)).fetchone()
    return _hold(row) if row else None


def add_hold(database: sqlite3.Connection, recorded: RecordedHold) -> None:
    """Record a hold, or a new end of one that is there under its id."""
    hold = recorded.hold
    database.execute(
        "INSERT INTO hold (hold_id, account_id, kind, starts_at, until, reason, registered_late, recorded_at, by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            recorded.hold_id,
            recorded.account_id,
            hold.kind.value,
            instant_text(hold.starts_at),
            None if recorded.ends_at is None else instant_text(recorded.ends_at),
            recorded.reason,
            int(recorded.registered_late),
            instant_text(recorded.recorded_at),
            recorded.by,
        ),
    )
    _watch(database, HOLD, recorded.hold_id)


def release_hold(database: sqlite3.Connection, hold_id: str, release: Release, at: datetime) -> None:
    """End a hold. Raises sqlite3.IntegrityError when it was released before."""
    database.execute(
        "INSERT INTO hold_release VALUES (?, ?, ?, ?, ?, ?)",
        (
            hold_id,
            instant_text(release.released_at),
            release.outcome,
            release.reason,
            instant_text(at),
            release.by,
        ),
    )


@dataclass(frozen=True, slots=True)
class RecordedMoratorium:
    """A moratorium order as it stands: why and by whom it was ordered, when and by whom it was recorded."""

    order: MoratoriumOrder
    reason: str
    ordered_by: str
    recorded_at: datetime
    by: str


def recorded_moratoriums(database: sqlite3.Connection) -> list[RecordedMoratorium]:
    """The ordered moratoriums; of each order the last row counts, so that a new end replaces the old one."""
    last: dict[str, RecordedMoratorium] = {}
    for name, starts_at, until, reason, ordered_by, recorded_at, by in database.execute(
        "SELECT order_name, starts_at, until, reason, ordered_by, recorded_at, by FROM moratorium"
        " ORDER BY moratorium_id"
    ):
        order = MoratoriumOrder(name, instant_of(starts_at), None if until is None else instant_of(until))
        last[name] = RecordedMoratorium(order, reason, ordered_by, instant_of(recorded_at), by)
    return list(last.values())


def moratoriums(database: sqlite3.Connection) -> tuple[MoratoriumOrder, ...]:
    """The ordered moratoriums as a decision sees them, past ones too."""
    return tuple(recorded.order for recorded in recorded_moratoriums(database))


def add_moratorium(database: sqlite3.Connection, recorded: RecordedMoratorium) -> None:
    """Record a moratorium order, or a new end of one."""
    order = recorded.order
    database.execute(
        "INSERT INTO moratorium (order_name, starts_at, until, reason, ordered_by, recorded_at, by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            order.order,
            instant_text(order.starts_at),
            None if order.until is None else instant_text(order.until),
            recorded.reason,
            recorded.ordered_by,
            instant_text(recorded.recorded_at),
            recorded.by,
        ),
    )
    _watch(database, MORATORIUM, order.order)


# Which of them the head end knows to be in force, so that a beginning and an end are each told once.


def _watch(database: sqlite3.Connection, kind: str, name: str) -> None:
    database.execute("INSERT OR IGNORE INTO live_restraint VALUES (?, ?, 0)", (kind, name))


def watched(database: sqlite3.Connection, kind: str) -> Iterator[tuple[str, bool]]:
    """The holds or moratoriums that are not over, and whether each was told as in force."""
    rows = database.execute("SELECT name, told FROM live_restraint WHERE kind = ? ORDER BY name", (kind,)).fetchall()
    return ((name, bool(told)) for name, told in rows)


def set_told(database: sqlite3.Connection, kind: str, name: str, told: bool) -> None:
    """Note whether a hold or moratorium was told as in force."""
    database.execute("UPDATE live_restraint SET told = ? WHERE kind = ? AND name = ?", (int(told), kind, name))


def forget(database: sqlite3.Connection, kind: str, name: str) -> None:
    """Watch a hold or moratorium no more: it is over."""
    database.execute("DELETE FROM live_restraint WHERE kind = ? AND name = ?", (kind, name))
