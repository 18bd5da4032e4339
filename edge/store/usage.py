"""Use in SQLite: closed days with their revisions, estimates, and facts about registers that are no polled reads."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from edge.core.rating import DayUsage
from edge.core.usage import DayQuality, DayUse, Exchange, Read
from edge.store import provisional
from edge.store.base import insert_sealed, instant_of, instant_text

Standing = Literal["estimate", "final", "withdrawn"]


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """One revision of a civil day that is on the books: its use, what that rests on, and its charges in full by kind.

    ``transaction_id``: the posting that brought the charges there. ``balance_cents``: the customer's, after it.
    """

    account_id: str
    revision: int
    meter_id: str
    use: DayUse
    charges: Mapping[str, int]
    balance_cents: int
    transaction_id: int
    closed_at: datetime

    @property
    def day(self) -> date:
        """The civil day."""
        return self.use.day

    @property
    def energy_wh(self) -> int:
        """The day's use."""
        return self.use.energy_wh

    @property
    def by_period(self) -> tuple[tuple[str, int], ...]:
        """The day's use by period, where it is priced by the hour."""
        return self.use.by_period

    @property
    def start_register_wh(self) -> int:
        """The register at the day's beginning."""
        return self.use.start_register_wh

    @property
    def end_register_wh(self) -> int:
        """The register at the day's end."""
        return self.use.end_register_wh

    @property
    def estimated(self) -> bool:
        """Whether an estimate stands in for reads."""
        return self.use.quality is DayQuality.ESTIMATED

    @property
    def charge_cents(self) -> int:
        """What the day costs."""
        return sum(self.charges.values())

    @property
    def usage(self) -> DayUsage:
        """The day as a bill takes it."""
        return DayUsage(self.use.day, self.use.energy_wh, self.use.by_period)


_DAY = (
    "SELECT account_id, day, meter_id, start_register_wh, end_register_wh, energy_wh, quality, method, days_used,"
    " reason, by_period, charges, balance_cents, transaction_id, closed_at"
)
_Row = tuple[str, str, str, int, int, int, str, str, str, str, str, str, int, int, str, int]


def _day(row: _Row) -> ClosedDay:
    account_id, day, meter_id, start, end, energy, quality, method, days_used, reason, periods, charges = row[:12]
    balance, transaction_id, closed_at, revision = row[12:]
    return ClosedDay(
        account_id,
        revision,
        meter_id,
        DayUse(
            date.fromisoformat(day),
            start,
            end,
            energy,
            DayQuality(quality),
            _periods(periods),
            method,
            tuple([date.fromisoformat(used) for used in json.loads(days_used)]) if days_used else (),
            reason,
        ),
        json.loads(charges),
        balance,
        transaction_id,
        instant_of(closed_at),
    )


def _periods(text: str) -> tuple[tuple[str, int], ...]:
    return () if text == "[]" else tuple([(name, energy_wh) for name, energy_wh in json.loads(text)])


def add_day(database: sqlite3.Connection, closed: ClosedDay, ends_at: datetime) -> None:
    """Record a revision of a day that ends at ``ends_at``. Raises sqlite3.IntegrityError when it is there already."""
    add_days(database, [(closed, ends_at)])


def add_days(database: sqlite3.Connection, ended: Sequence[tuple[ClosedDay, datetime]]) -> None:
    """Record revisions of days, each with the instant at which the day ends. Raises sqlite3.IntegrityError."""
    insert_sealed(database, "day", *[_row(closed) for closed, _ in ended])
    provisional.keep(database, [_ended(closed, ends_at) for closed, ends_at in ended])
    for closed, ends_at in ended:
        key = closed.account_id, closed.day.isoformat()
        if closed.estimated:
            database.execute("INSERT OR IGNORE INTO estimated_day VALUES (?, ?, ?)", (*key, instant_text(ends_at)))
        elif closed.revision > 1:
            database.execute("DELETE FROM estimated_day WHERE account_id = ? AND day = ?", key)
        if closed.revision > 1:
            database.execute("DELETE FROM bill_to_date WHERE account_id = ?", key[:1])


def _ended(closed: ClosedDay, ends_at: datetime) -> provisional.Ended:
    day, ends, said = closed.day.isoformat(), instant_text(ends_at), not closed.use.quality.measured
    return provisional.Ended(closed.account_id, closed.meter_id, day, ends, said, closed.revision == 1)


def _row(closed: ClosedDay) -> tuple[str | int, ...]:
    use = closed.use
    return (
        closed.account_id,
        use.day.isoformat(),
        closed.revision,
        closed.meter_id,
        use.start_register_wh,
        use.end_register_wh,
        use.energy_wh,
        use.quality.value,
        use.method,
        json.dumps([used.isoformat() for used in use.days_used]) if use.days_used else "",
        use.reason,
        json.dumps(use.by_period) if use.by_period else "[]",
        json.dumps(dict(closed.charges)),
        closed.charge_cents,
        closed.balance_cents,
        closed.transaction_id,
        instant_text(closed.closed_at),
    )


def last_day(database: sqlite3.Connection, account_id: str) -> ClosedDay | None:
    """The newest closed day of an account at its last revision, or None."""
    row = database.execute(
        f"{_DAY}, revision FROM day WHERE account_id = ? ORDER BY day DESC, revision DESC LIMIT 1", (account_id,)
    ).fetchone()
    return _day(row) if row else None


def last_ends(database: sqlite3.Connection, account_ids: Sequence[str]) -> dict[str, tuple[date, int]]:
    """The newest closed day of each account, and the register at its end; accounts without one are left out."""
    rows = database.execute(
        "SELECT account_id, day, end_register_wh, max(revision) FROM json_each(?) JOIN day ON account_id = value"
        " AND day = (SELECT max(day) FROM day WHERE account_id = value) GROUP BY account_id",
        (json.dumps(account_ids),),
    )
    return {account_id: (date.fromisoformat(day), end_wh) for account_id, day, end_wh, _ in rows}


def days(database: sqlite3.Connection, account_id: str, first: date, last: date) -> list[ClosedDay]:
    """The closed days of an account from ``first`` to ``last``, both included, each at its last revision."""
    rows = database.execute(
        f"{_DAY}, max(revision) FROM day WHERE account_id = ? AND day BETWEEN ? AND ? GROUP BY day ORDER BY day",
        (account_id, first.isoformat(), last.isoformat()),
    )
    return [_day(row) for row in rows]


def revisions(database: sqlite3.Connection, account_id: str, day: date) -> list[ClosedDay]:
    """All revisions of a closed day, oldest first."""
    rows = database.execute(
        f"{_DAY}, revision FROM day WHERE account_id = ? AND day = ? ORDER BY revision", (account_id, day.isoformat())
    )
    return [_day(row) for row in rows]


def reads_around(
    database: sqlite3.Connection, meter_ids: Sequence[str], instants: Sequence[datetime]
) -> dict[str, list[Read]]:
    """Of each meter the last accepted read at or before each instant and the first one at or after it."""
    found: dict[str, list[Read]] = {}
    for meter_id, at, energy_wh in database.execute(
        "WITH boundary(at) AS MATERIALIZED (SELECT value FROM json_each(?2)),"
        " meter(id) AS MATERIALIZED (SELECT value FROM json_each(?1))"
        " SELECT r.meter_id, r.at, r.energy_wh FROM meter CROSS JOIN boundary b JOIN reading r ON r.meter_id = id"
        " AND r.at = (SELECT max(at) FROM reading WHERE meter_id = id AND at <= b.at AND accepted = 1)"
        " UNION ALL SELECT r.meter_id, r.at, r.energy_wh FROM meter CROSS JOIN boundary b JOIN reading r"
        " ON r.meter_id = id AND r.at ="
        " (SELECT min(at) FROM reading WHERE meter_id = id AND at >= b.at AND accepted = 1)",
        (json.dumps(meter_ids), json.dumps([instant_text(instant) for instant in instants])),
    ):
        found.setdefault(meter_id, []).append(Read(instant_of(at), energy_wh))
    return found


def other_facts(
    database: sqlite3.Connection, meter_ids: Sequence[str]
) -> tuple[dict[str, list[Exchange]], dict[str, list[Read]]]:
    """Meters' exchanges and what customers read off them; meters without any are left out."""
    exchanged: dict[str, list[Exchange]] = {}
    reported: dict[str, list[Read]] = {}
    for meter_id, at, final, initial in database.execute(
        "SELECT meter_id, at, final_register_wh, initial_register_wh FROM meter_exchange"
        " WHERE meter_id IN (SELECT value FROM json_each(?1))"
        " UNION ALL SELECT meter_id, at, energy_wh, NULL FROM customer_read"
        " WHERE meter_id IN (SELECT value FROM json_each(?1))",
        (json.dumps(meter_ids),),
    ):
        if initial is None:
            reported.setdefault(meter_id, []).append(Read(instant_of(at), final, customer=True))
        else:
            exchanged.setdefault(meter_id, []).append(Exchange(instant_of(at), final, initial))
    return exchanged, reported


@dataclass(frozen=True, slots=True)
class MeterExchange:
    """One meter replaced by another in the same place: their serial numbers, last and first register."""

    meter_id: str
    at: datetime
    old_serial: str
    new_serial: str
    final_register_wh: int
    initial_register_wh: int
    reason: str
    recorded_at: datetime
    by: str


def add_exchange(database: sqlite3.Connection, exchange: MeterExchange) -> None:
    """Record an exchange. Raises sqlite3.IntegrityError when one is known for the instant."""
    database.execute(
        "INSERT INTO meter_exchange VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            exchange.meter_id,
            instant_text(exchange.at),
            exchange.old_serial,
            exchange.new_serial,
            exchange.final_register_wh,
            exchange.initial_register_wh,
            exchange.reason,
            instant_text(exchange.recorded_at),
            exchange.by,
        ),
    )


def exchanges(database: sqlite3.Connection, meter_id: str) -> list[MeterExchange]:
    """The exchanges of a meter, oldest first."""
    rows = database.execute(
        "SELECT meter_id, at, old_serial, new_serial, final_register_wh, initial_register_wh, reason, recorded_at, by"
        " FROM meter_exchange WHERE meter_id = ? ORDER BY at",
        (meter_id,),
    )
    return [
        MeterExchange(meter, instant_of(at), old, new, final, initial, reason, instant_of(recorded), by)
        for meter, at, old, new, final, initial, reason, recorded, by in rows
    ]


def add_customer_read(
    database: sqlite3.Connection, account_id: str, meter_id: str, read: Read, recorded_at: datetime, by: str
) -> None:
    """Record what a customer read. Raises sqlite3.IntegrityError when a read is known for the instant."""
    database.execute(
        "INSERT INTO customer_read VALUES (?, ?, ?, ?, ?, ?)",
        (meter_id, instant_text(read.at), account_id, read.register_wh, instant_text(recorded_at), by),
    )


@dataclass(frozen=True, slots=True)
class DayEdit:
    """A day's use as a person said it. ``estimate``: until reads cover it; ``withdrawn``: no longer said."""

    account_id: str
    day: date
    standing: Standing
    energy_wh: int
    by_period: tuple[tuple[str, int], ...]
    reason: str
    recorded_at: datetime
    by: str


def add_edit(database: sqlite3.Connection, edit: DayEdit) -> None:
    """Record an edit; it takes the place of earlier ones of the same day."""
    database.execute(
        "INSERT INTO day_edit (account_id, day, standing, energy_wh, by_period, reason, recorded_at, by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            edit.account_id,
            edit.day.isoformat(),
            edit.standing,
            edit.energy_wh,
            json.dumps(edit.by_period),
            edit.reason,
            instant_text(edit.recorded_at),
            edit.by,
        ),
    )


def edits(database: sqlite3.Connection, account_id: str, first: date, last: date) -> dict[date, DayEdit]:
    """The edits in force of an account's days from ``first`` to ``last``, both included, by day."""
    rows = database.execute(
        "SELECT account_id, day, standing, energy_wh, by_period, reason, recorded_at, by, max(edit_id) FROM day_edit"
        " WHERE account_id = ? AND day BETWEEN ? AND ? GROUP BY day",
        (account_id, first.isoformat(), last.isoformat()),
    )
    found = {}
    for account, day, standing, energy_wh, periods, reason, recorded_at, by, _ in rows:
        if standing != "withdrawn":
            edit = DayEdit(
                account,
                date.fromisoformat(day),
                standing,
                energy_wh,
                _periods(periods),
                reason,
                instant_of(recorded_at),
                by,
            )
            found[edit.day] = edit
    return found


def with_edits(database: sqlite3.Connection, account_ids: Sequence[str]) -> frozenset[str]:
    """Those with a day of which a person said the use."""
    rows = database.execute(
        "SELECT DISTINCT account_id FROM day_edit WHERE account_id IN (SELECT value FROM json_each(?))",
        (json.dumps(account_ids),),
    )
    return frozenset(account_id for (account_id,) in rows)


def accounts_of_meter(database: sqlite3.Connection, meter_id: str, since: date) -> list[str]:
    """The accounts that a meter has served on or after a day."""
    rows = database.execute(
        "SELECT account_id FROM account LEFT JOIN unenrolment USING (account_id) WHERE meter_id = ?"
        " AND coalesce(last_day, '9999') >= ? ORDER BY account_id",
        (meter_id, since.isoformat()),
    )
    return [account_id for (account_id,) in rows]
