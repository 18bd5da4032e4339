"""The acceptance cases, and patches on their base: facts that a test changes one by one."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge.core.calendar import HolidayLookup
from edge.core.decisions import decide
from edge.core.model import Decision, Facts
from edge.core.programs import Program
from edge.whatif import answer, merged, parse_case

CHICAGO = ZoneInfo("America/Chicago")
FOLDER = Path(__file__).parent / "data" / "cases"
BASE: dict[str, Any] = json.loads((FOLDER / "base.json").read_text(encoding="utf-8"))


def lines_of(name: str) -> list[dict[str, Any]]:
    """The cases of one file: ``name``, ``patch`` and ``expect`` each."""
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line.strip()]


def case(patch: Any = None, now: str | None = None) -> Any:
    """The base case, moved to ``now`` with everything of the routine renewed by then, and a merge patch applied."""
    moved = BASE if now is None else merged(BASE, _renewed(datetime.fromisoformat(now)))
    return merged(moved, patch or {})


def answered(patch: Any = None, now: str | None = None) -> dict[str, Any]:
    """The answer to a patched base case."""
    return answer(case(patch, now))


def known(patch: Any = None, now: str | None = None) -> tuple[Facts, Program, HolidayLookup]:
    """The facts and rules of a patched base case."""
    return parse_case(case(patch, now))


def decided(patch: Any = None, now: str | None = None) -> Decision:
    """The decision on a patched base case."""
    return decide(*known(patch, now))


def codes(given: dict[str, Any] | Decision) -> set[str]:
    """The codes of an answer's or a decision's blocks; each is told once."""
    found = [b.code for b in given.blocks] if isinstance(given, Decision) else [b["code"] for b in given["blocks"]]
    assert len(found) == len(set(found))
    return set(found)


def _renewed(now: datetime) -> dict[str, Any]:
    local = now.astimezone(CHICAGO)
    return {
        "now": now.isoformat(),
        "account": {
            "zero_notice_delivered_at": (now - timedelta(days=5)).isoformat(),
            "last_actual_read_at": (now - timedelta(minutes=15)).isoformat(),
            "last_closed_day": (local.date() - timedelta(days=1)).isoformat(),
        },
        "weather": {
            "fetched_at": min(now, local.replace(hour=6, minute=0, second=0, microsecond=0)).isoformat(),
            "first_hour": local.replace(minute=0, second=0, microsecond=0).isoformat(),
            "observed": {"at": (now - timedelta(minutes=7)).isoformat()},
        },
        "gateway": {"payments_feed_seen_at": (now - timedelta(minutes=1)).isoformat()},
    }


# Patches that many tables make.

HOLD = {"kind": "dispute", "from": "2026-10-14T08:00:00-05:00", "until": "2026-10-14T10:00:00-05:00"}
ORDER = {"order": "PUD 2026-1", "from": "2026-10-01T00:00:00-05:00", "until": "2026-10-15T00:00:00-05:00"}


def account(**changes: Any) -> dict[str, Any]:
    """Other facts of the account."""
    return {"account": changes}


def hold(**changes: Any) -> dict[str, Any]:
    """A hold in force, or one that differs."""
    return account(holds=[{**HOLD, **changes}])


def order(**changes: Any) -> dict[str, Any]:
    """An ordered moratorium in force, or one that differs."""
    return {"moratoriums": [{**ORDER, **changes}]}


def weather(**changes: Any) -> dict[str, Any]:
    """Other weather."""
    return {"weather": changes}


def hours(usual: float, **others: Any) -> list[Any]:
    """A series of 120 hours with some of them, ``h3`` for the fourth, different."""
    series: list[Any] = [usual] * 120
    for place, value in others.items():
        series[int(place[1:])] = value
    return series


FRESH_NOTICE = {"program": "strict", **order(until="2026-10-13T12:00:00-05:00")}
