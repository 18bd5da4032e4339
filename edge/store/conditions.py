"""What is not as it should be with meters: each condition with when it began and ended, insert-only."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.store.base import instant_of, instant_text


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in force: which meter, what, since when, and what else is known of it."""

    meter_id: str
    condition: str
    since: datetime
    data: dict[str, Any]


_IN_FORCE = (
    "SELECT c.meter_id, c.condition, c.at, c.data FROM meter_condition c WHERE c.in_force = 1 AND c.condition_row ="
    " (SELECT max(condition_row) FROM meter_condition l WHERE l.meter_id = c.meter_id AND l.condition = c.condition)"
)


def _condition(row: tuple[str, str, str, str]) -> Condition:
    return Condition(row[0], row[1], instant_of(row[2]), json.loads(row[3]))


def of_meter(database: sqlite3.Connection, meter_id: str) -> dict[str, Condition]:
    """A meter's conditions in force, by name."""
    rows = database.execute(f"{_IN_FORCE} AND c.meter_id = ? ORDER BY c.condition_row", (meter_id,))
    return {found.condition: found for found in map(_condition, rows)}


def in_force(database: sqlite3.Connection) -> list[Condition]:
    """Every meter's conditions in force, the newest first."""
    return [_condition(row) for row in database.execute(f"{_IN_FORCE} ORDER BY c.condition_row DESC")]


QUESTIONED = ("meter_replaced", "units_exchanged")  # another meter answers: nobody is disconnected through it


def questioned(database: sqlite3.Connection) -> dict[str, Condition]:
    """The meters that are not those they should be, each with the condition that says so."""
    rows = database.execute(f"{_IN_FORCE} AND c.condition IN (?, ?)", QUESTIONED)
    return {found.meter_id: found for found in map(_condition, rows)}


def begin(
    database: sqlite3.Connection, meter_id: str, condition: str, at: datetime, data: dict[str, Any] | None = None
) -> bool:
    """Record that a condition begins; False, and nothing is recorded, where it is in force already."""
    if condition in of_meter(database, meter_id):
        return False
    _add(database, meter_id, condition, True, at, data or {})
    return True


def end(database: sqlite3.Connection, meter_id: str, condition: str, at: datetime) -> bool:
    """Record that a condition is over; False where it was not in force."""
    if condition not in of_meter(database, meter_id):
        return False
    _add(database, meter_id, condition, False, at, {})
    return True


def _add(
    database: sqlite3.Connection, meter_id: str, condition: str, in_force: bool, at: datetime, data: dict[str, Any]
) -> None:
    database.execute(
        "INSERT INTO meter_condition (meter_id, condition, in_force, at, data) VALUES (?, ?, ?, ?, ?)",
        (meter_id, condition, int(in_force), instant_text(at), json.dumps(data)),
    )
