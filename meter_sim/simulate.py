"""``meter-sim simulate``: the daemon in virtual time, and what an independent judge says of it."""

import shutil
import time
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from meter_sim import world as worlds
from meter_sim.events import write_events
from meter_sim.judge import Verdict, judge, percentile
from meter_sim.world import ZONE, Plan, World


def simulate(plan: Plan, events_file: Path | None, state_dir: Path | None) -> tuple[dict[str, Any], Verdict]:
    """Run a plan, judge it, and answer in the contract's words (section 5); the events go into a file if named."""
    began = time.perf_counter()
    world = worlds.simulate(plan, state_dir)
    happenings = world.recorder.in_order()
    zone = ZoneInfo(ZONE)
    if events_file is not None:
        write_events(happenings, zone, events_file)
    rows = (happening.row(zone) for happening in happenings)
    verdict = judge(rows, ZONE, plan.program)
    problems = worlds.audit_problems(world)
    answer = _answer(world, verdict, len(problems), time.perf_counter() - began)
    answer["findings"] = [asdict(finding) for finding in (*verdict.wrongful, *verdict.late, *verdict.unbalanced)]
    answer["findings"] += [{"at": None, "account_id": None, "reason": problem} for problem in problems]
    if state_dir is None:
        shutil.rmtree(world.state_dir)
    return answer, verdict


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
