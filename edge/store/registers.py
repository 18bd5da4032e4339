"""What the next read of a meter is judged by: its last register, an exchange, and reads that are judged again."""

import sqlite3
from collections.abc import Collection
from datetime import datetime

from edge.core.vee import RegisterRead
from edge.store.base import instant_of, instant_text


def last_register(database: sqlite3.Connection, meter_id: str) -> RegisterRead | None:
    """What the next read of a meter is validated against: its last accepted read, or its exchange if that was later."""
    row = database.execute(
        "SELECT at, energy_wh FROM (SELECT at, energy_wh FROM reading WHERE meter_id = ?1 AND accepted = 1"
        " ORDER BY at DESC LIMIT 1) UNION ALL SELECT at, initial_register_wh FROM meter_exchange WHERE meter_id = ?1"
        " ORDER BY at DESC LIMIT 1",
        (meter_id,),
    ).fetchone()
    return RegisterRead(instant_of(row[0]), row[1]) if row else None


def is_confirmed(database: sqlite3.Connection, meter_id: str) -> bool:
    """Whether a meter's register is known from more than one read, or from an exchange."""
    (known,) = database.execute(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM reading WHERE meter_id = ?1 AND accepted = 1 LIMIT 2))"
        " + 2 * EXISTS (SELECT 1 FROM meter_exchange WHERE meter_id = ?1)",
        (meter_id,),
    ).fetchone()
    return int(known) > 1


def reassess(database: sqlite3.Connection, assessed: Collection[tuple[str, datetime, bool, str]]) -> None:
    """Replace what validation said of reads: (meter_id, at, accepted, flags); for reads after a late exchange."""
    database.executemany(
        "UPDATE reading SET accepted = ?, flags = ? WHERE meter_id = ? AND at = ?",
        [(int(accepted), flags, meter_id, instant_text(at)) for meter_id, at, accepted, flags in assessed],
    )


def exchanged_serials(database: sqlite3.Connection) -> dict[str, str]:
    """By meter that was exchanged, the serial number of the one that hangs there now."""
    rows = database.execute("SELECT meter_id, new_serial FROM meter_exchange ORDER BY at")
    return dict(rows.fetchall())


def last_exchange_register(database: sqlite3.Connection, meter_id: str) -> RegisterRead | None:
    """The first register of the meter that hangs in a place now; None where none was exchanged."""
    row = database.execute(
        "SELECT at, initial_register_wh FROM meter_exchange WHERE meter_id = ? ORDER BY at DESC LIMIT 1", (meter_id,)
    ).fetchone()
    return RegisterRead(instant_of(row[0]), row[1]) if row else None
