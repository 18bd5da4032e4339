"""``meter-sim simulate``: the daemon in virtual time, and what an independent judge says of it."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from meter_sim import world as worlds
from meter_sim.events import write_events
from meter_sim.judge import Verdict, judge, percentile
from meter_sim.judge_rules import PROGRAMS
from meter_sim.world import ZONE, Plan, World


def simulate(plan: Plan, events_file: Path | None, state_dir: Path | None) -> tuple[dict[str, Any], Verdict]:
    """Run a plan, judge it, and answer in the contract's words (section 5); the events go into a file if named."""
    began = time.perf_counter()
    if plan.program not in PROGRAMS:
        raise ValueError(f"--program - {plan.program!r} is not one of {', '.join(PROGRAMS)}")
    if events_file is not None:
        events_file.touch()  # a place where nothing can be written is told before the run, not after it
    with _state(state_dir) as directory:
        world = worlds.simulate(plan, directory)
        problems = worlds.audit_problems(world)
    happenings = world.recorder.in_order()
    zone = ZoneInfo(ZONE)
    if events_file is not None:
        write_events(happenings, zone, events_file)
    verdict = judge((happening.row(zone) for happening in happenings), ZONE, plan.program)
    answer = _answer(world, verdict, len(problems), time.perf_counter() - began)
    answer["findings"] = [asdict(finding) for finding in (*verdict.wrongful, *verdict.late, *verdict.unbalanced)]
    answer["findings"] += [{"at": None, "account_id": None, "reason": problem} for problem in problems]
    return answer, verdict


@contextmanager
def _state(state_dir: Path | None) -> Iterator[Path]:
    """Where the daemon's state lies; a state that nobody asked to keep lies in memory, where there is such a place."""
    if state_dir is not None:
        yield state_dir
        return
    memory = Path("/dev/shm")  # noqa: S108 - a fresh directory of our own is made in it
    with tempfile.TemporaryDirectory(prefix="meter-sim-", dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


def _answer(world: World, verdict: Verdict, problems: int, wall_seconds: float) -> dict[str, Any]:
    plan = world.plan
    payments = sum(happening.kind == "payment" for happening in world.recorder.happenings)
    return {
        "meters": plan.meters,
        "account_days": plan.meters * plan.days,
        "polls": worlds.polls(world),
        "payments": payments,
        "disconnects": verdict.disconnects,
        "reconnects": verdict.reconnects,
        "wrongful_disconnects": len(verdict.wrongful),
        "late_reconnects": len(verdict.late),
        "reconnect_seconds": {
            "p50": percentile(verdict.reconnect_seconds, 0.50),
            "p99": percentile(verdict.reconnect_seconds, 0.99),
            "max": max(verdict.reconnect_seconds, default=None),
        },
        "ledger_imbalance": len(verdict.unbalanced) + problems,
        "faults_injected": world.faults_injected,
        "wall_seconds": round(wall_seconds, 2),
    }


def good(answer: dict[str, Any]) -> bool:
    """Whether nobody was wronged and the books are whole."""
    return not (answer["wrongful_disconnects"] or answer["late_reconnects"] or answer["ledger_imbalance"])


def parse_start(text: str) -> date:
    """The first day. Raises ValueError in a sentence."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--start - {text!r} is not a day such as 2026-10-12") from None
    if not date(2026, 1, 2) <= day <= date(2099, 12, 31) - timedelta(days=1):
        raise ValueError(f"--start - {text} is not between 2026-01-02 and 2099-12-30")
    return day
