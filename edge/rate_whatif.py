"""What-if on money: what use would cost under a tariff, what a day without a read would be estimated at, and how a
payment would be split. Facts from files in, plain values for ``--json`` out; no state is touched (contract section 4).
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from itertools import groupby
from pathlib import Path
from typing import Any

from edge.core import rating, vee
from edge.core.money import format_cents, parse_cents
from edge.core.rating import DayUsage, Tariff
from edge.core.vee import DayRecord, Quality

_KWH = re.compile(r"(?=\.?\d)(\d{0,9})(?:\.(\d{1,12}))?")
_NANO = 1_000_000_000  # of a Wh: the last of the decimals that a use in kWh may have
_YEARS = range(1900, 2200)  # others are slips of the pen


class UsageError(Exception):
    """A file of use cannot be used. ``faults``: one sentence each, naming file, line and reason."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class _Row:
    where: str  # file and line, for messages
    cells: Mapping[str, str]


def _rows(path: Path, forms: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], list[_Row]]:
    """The rows of a CSV file and which of the ``forms`` (tuples of columns) its heading has. Raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise UsageError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except UnicodeDecodeError:
        raise UsageError([f"{path.name}: is not UTF-8 text"]) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as problem:
        raise UsageError([f"{path.name}: line {reader.line_num}: {problem}"]) from None
    heading = tuple(cell.strip().lower() for cell in lines[0][1]) if lines else ()
    if heading not in forms:
        wanted = " or ".join(",".join(form) for form in forms)
        raise UsageError([f"{path.name}: line 1: the heading must be {wanted}, not {','.join(heading) or 'empty'}"])
    rows: list[_Row] = []
    faults: list[str] = []
    for number, cells in lines[1:]:
        where = f"{path.name}: line {number}"
        if len(cells) != len(heading):
            faults.append(f"{where}: {len(cells)} cells where the heading has {len(heading)}")
            continue
        rows.append(_Row(where, dict(zip(heading, (cell.strip() for cell in cells), strict=True))))
    if not lines[1:]:
        faults.append(f"{path.name}: there are no rows below the heading")
    if faults:
        raise UsageError(faults)
    return heading, rows


def parse_wh(text: str) -> int:
    """Wh of a decimal text in kWh, half up where it has more than three decimals. Raises ValueError."""
    return _to_wh(_parse_nano_wh(text))


def _parse_nano_wh(text: str) -> int:
    """The 10^-9 Wh of a decimal text in kWh, exactly. Raises ValueError."""
    match = _KWH.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a use in kWh such as 31.25")
    return int((match[1] or "0") + (match[2] or "").ljust(12, "0"))


def _to_wh(nano_wh: int) -> int:
    """Wh, half up."""
    return (2 * nano_wh + _NANO) // (2 * _NANO)


def format_kwh(energy_wh: int) -> str:
    """kWh with three decimals, exactly the Wh."""
    return f"{energy_wh // 1000}.{energy_wh % 1000:03d}"


def parse_day(text: str) -> date:
    """A civil day of a text such as 2026-01-31. Raises ValueError."""
    try:
        if len(text) != 10:
            raise ValueError
        day = date.fromisoformat(text)
        if day.year not in _YEARS:
            raise ValueError
        return day
    except ValueError:
        raise ValueError(f"{text!r} is not a day such as 2026-01-31") from None


def _instant(text: str, zone: tzinfo) -> datetime:
    """An instant; one without offset is the wall clock's in the territory."""
    try:
        found = datetime.fromisoformat(text)
        if found.year not in _YEARS:
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 2026-01-31T14:00:00-06:00") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


def _intervals(rows: Sequence[_Row], zone: tzinfo) -> dict[date, tuple[str, list[tuple[datetime, int]]]]:
    """The first row's place and the intervals (start in UTC, 10^-9 Wh) of each civil day.

    A wall-clock time without offset that comes twice is, the second time, the later.
    """
    found: dict[date, tuple[str, list[tuple[datetime, int]]]] = {}
    seen: set[datetime] = set()
    faults: list[str] = []
    for row in rows:
        try:
            start = _instant(row.cells["start"], zone)
            if start.astimezone(UTC) in seen and datetime.fromisoformat(row.cells["start"]).tzinfo is None:
                start = start.replace(fold=1)
            instant = start.astimezone(UTC)
            if instant in seen:
                raise ValueError(f"the interval {row.cells['start']} comes twice")
            seen.add(instant)
            day = instant.astimezone(zone).date()
            found.setdefault(day, (row.where, []))[1].append((instant, _parse_nano_wh(row.cells["kwh"])))
        except ValueError as problem:
            faults.append(f"{row.where}: {problem}")
    if faults:
        raise UsageError(faults)
    return found


def _daily(rows: Sequence[_Row]) -> dict[date, tuple[str, int]]:
    """Each day's row and its Wh."""
    found: dict[date, tuple[str, int]] = {}
    faults: list[str] = []
    for row in rows:
        try:
            day = parse_day(row.cells["day"])
            if day in found:
                raise ValueError(f"{day} comes twice")
            found[day] = (row.where, parse_wh(row.cells["kwh"]))
        except ValueError as problem:
            faults.append(f"{row.where}: {problem}")
    if faults:
        raise UsageError(faults)
    return found


def read_usage(path: Path, tariff: Tariff, zone: tzinfo) -> list[DayUsage]:
    """The use by day, in order, of a CSV file with columns ``day,kwh`` or ``start,kwh``.

    Raises UsageError: a broken row, a day twice, a day before the tariff's first version, or daily use where the
    tariff prices that day by time of use.
    """
    heading, rows = _rows(path, [("day", "kwh"), ("start", "kwh")])
    daily = _daily(rows) if heading[0] == "day" else {}
    intervals = _intervals(rows, zone) if heading[0] == "start" else {}
    usage: list[DayUsage] = []
    for day in sorted(daily or intervals):
        place = daily[day][0] if daily else intervals[day][0]
        try:
            if daily:
                usage.append(_whole_day(tariff, day, daily[day][1]))
            else:
                usage.append(_day_of_intervals(tariff, day, intervals[day][1], zone))
        except ValueError as problem:
            raise UsageError([f"{place}: {problem}"]) from None
    return usage


def _whole_day(tariff: Tariff, day: date, energy_wh: int) -> DayUsage:
    if tariff.version(day).season(day).periods:
        raise ValueError(f"tariff {tariff.name} prices {day} by time of use: give columns start,kwh")
    return DayUsage(day, energy_wh)


def _day_of_intervals(tariff: Tariff, day: date, intervals: Sequence[tuple[datetime, int]], zone: tzinfo) -> DayUsage:
    """Intervals are added up exactly; what is rounded to the Wh is the day, or by time of use each of its periods."""
    exact = rating.by_period(tariff, day, intervals, zone)
    if not exact:
        return DayUsage(day, _to_wh(sum(nano_wh for _, nano_wh in intervals)))
    periods = tuple((period, _to_wh(nano_wh)) for period, nano_wh in exact)
    return DayUsage(day, sum(energy_wh for _, energy_wh in periods), periods)


def rate(tariff: Tariff, usage_file: Path, zone: tzinfo) -> dict[str, Any]:
    """The answer of ``whatif rate``: each day's prepaid charge, and each month's sum beside the postpaid bill.

    The days of a file are the days billed: where a month has fewer than the calendar, what is monthly is prorated to
    them. Raises UsageError.
    """
    days: list[dict[str, str]] = []
    months: list[dict[str, str]] = []
    for month, usage in _by_month(read_usage(usage_file, tariff, zone)):
        charged: dict[str, int] = {}
        for index, use in enumerate(usage):
            charges = rating.charges_for_last_day(tariff, usage[: index + 1], charged)
            for kind, cents in charges.items():
                charged[kind] = charged.get(kind, 0) + cents
            charge = format_cents(sum(charges.values()))
            days.append({"day": use.day.isoformat(), "kwh": format_kwh(use.energy_wh), "charge": charge})
        months.append(
            {
                "month": month,
                "kwh": format_kwh(sum(use.energy_wh for use in usage)),
                "prepaid_total": format_cents(sum(charged.values())),
                "postpaid_bill": format_cents(rating.bill(tariff, usage).total_cents),
            }
        )
    return {"tariff": tariff.name, "days": days, "months": months}


def _by_month(usage: Sequence[DayUsage]) -> Iterator[tuple[str, list[DayUsage]]]:
    for month, uses in groupby(usage, key=lambda use: use.day.isoformat()[:7]):
        yield month, list(uses)


def read_history(path: Path) -> dict[date, DayRecord]:
    """Daily use with its quality from a CSV file with columns ``day,kwh,quality``. Raises UsageError.

    An estimated day may have no use.
    """
    _, rows = _rows(path, [("day", "kwh", "quality")])
    found: dict[date, DayRecord] = {}
    faults: list[str] = []
    for row in rows:
        try:
            day = parse_day(row.cells["day"])
            if day in found:
                raise ValueError(f"{day} comes twice")
            if row.cells["quality"] not in list(Quality):
                raise ValueError(f"{row.cells['quality']!r} is not one of {', '.join(Quality)}")
            quality = Quality(row.cells["quality"])
            missing = quality is Quality.ESTIMATED and not row.cells["kwh"]
            found[day] = DayRecord(0 if missing else parse_wh(row.cells["kwh"]), quality)
        except ValueError as problem:
            faults.append(f"{row.where}: {problem}")
    if faults:
        raise UsageError(faults)
    return found


def estimate(history_file: Path, day: date) -> dict[str, Any]:
    """The answer of ``whatif estimate``: kWh with two decimals, half up, or null; the method; the days used."""
    found = vee.estimate(read_history(history_file), day)
    hundredths = found.hundredths_kwh
    return {
        "kwh": None if hundredths is None else format_cents(hundredths),
        "method": found.method.value,
        "days_used": [used.isoformat() for used in found.days_used],
    }


def payment(
    amount: str,
    balance: str,
    arrears: str,
    split: Callable[[int, int, int], tuple[int, int]],
    reconnects: Callable[[int, int], bool],
) -> dict[str, Any]:
    """The answer of ``whatif payment``: how a payment is split, what is left, and whether it brings power back.

    ``split`` is the program's rule: (amount, balance, arrears) in cents to the parts (to arrears, to balance);
    ``reconnects`` too: (amount, balance after it) in cents to whether a meter that we disconnected is reconnected.
    Raises UsageError when an amount cannot be read, the payment is not above zero or the debt is below it.
    """
    cents: dict[str, int] = {}
    faults: list[str] = []
    for name, text in (("amount", amount), ("balance", balance), ("arrears", arrears)):
        try:
            cents[name] = parse_cents(text)
        except ValueError as problem:
            faults.append(f"{name} - {problem}")
    if cents.get("amount", 1) <= 0:
        faults.append(f"amount - a payment is above zero, not {amount}")
    if cents.get("arrears", 0) < 0:
        faults.append(f"arrears - a debt is not below zero: {arrears}")
    if faults:
        raise UsageError(faults)
    to_arrears, to_balance = split(cents["amount"], cents["balance"], cents["arrears"])
    after = cents["balance"] + to_balance
    return {
        "to_arrears": format_cents(to_arrears),
        "to_balance": format_cents(to_balance),
        "balance": format_cents(after),
        "arrears": format_cents(cents["arrears"] - to_arrears),
        "reconnects": reconnects(cents["amount"], after),
    }
