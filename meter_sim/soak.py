"""``make soak``: search for a counter-example at random for a given time, on all cores, and shrink what is found.

Every case is a plan of ``meter-sim simulate``: a seed, a program, a first day and a mix of faults drawn at random. One
that fails is made smaller while it still fails: fewer days, fewer meters, fewer kinds of fault. What is left is told as
the command that repeats it.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import date, timedelta
from multiprocessing import get_context

from meter_sim.judge_rules import PROGRAMS
from meter_sim.mixes import KINDS
from meter_sim.simulate import good, simulate
from meter_sim.world import Plan

FIRST_DAYS = (date(2026, 1, 2), date(2031, 12, 1))
# Half of the cases lie where rules meet: holidays and the days before them, both clock changes, frost and heat.
OCCASIONS = (
    *((1, 15), (2, 10), (3, 5), (5, 20), (6, 28), (7, 1), (8, 1)),
    *((9, 2), (10, 28), (11, 8), (11, 22), (12, 20), (12, 29)),
)
SHRINKING_S = 600.0

Fails = Callable[[Plan], str | None]


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A plan that fails, and how."""

    plan: Plan
    reason: str


def random_plan(chance: random.Random) -> Plan:
    """A case."""
    span = (FIRST_DAYS[1] - FIRST_DAYS[0]).days
    start = FIRST_DAYS[0] + timedelta(days=chance.randrange(span))
    if chance.random() < 0.5:
        month, day = chance.choice(OCCASIONS)
        start = date(chance.randint(FIRST_DAYS[0].year + 1, FIRST_DAYS[1].year - 1), month, day)
    return Plan(
        meters=chance.choice((9, 18, 36, 100)),
        days=chance.randint(5, 21),
        start=start,
        seed=chance.randrange(1_000_000_000),
        program=chance.choice(tuple(PROGRAMS)),
        faults=chance.choice(("normal", "normal", "harsh")),
    )


def failure(plan: Plan) -> str | None:
    """Run a plan; what is wrong with it, in a few lines; None where nothing is."""
    try:
        answer, _ = simulate(plan, None, None)
    except BaseExceptionGroup as problems:
        return f"the daemon died: {_innermost(problems)!r}"
    if good(answer):
        return None
    findings = answer["findings"][:5]
    return "\n".join(f"{found['at'] or ''} {found['account_id'] or ''} {found['reason']}".strip() for found in findings)


def _innermost(problems: BaseException) -> BaseException:
    return _innermost(problems.exceptions[0]) if isinstance(problems, BaseExceptionGroup) else problems


def smaller(plan: Plan) -> Iterator[Plan]:
    """Plans that are a little less than this one, the greatest steps first."""
    for days in (plan.days // 2, plan.days * 3 // 4, plan.days - 1):
        if 0 < days < plan.days:
            yield replace(plan, days=days)
    for meters in (1, plan.meters // 2, plan.meters * 3 // 4, plan.meters - 1):
        if 0 < meters < plan.meters:
            yield replace(plan, meters=meters)
    if plan.faults != "none":
        yield replace(plan, faults="none")
    name, *without = plan.faults.split("-")
    if name == "harsh":
        yield replace(plan, faults="-".join(("normal", *without)))
    for kind in KINDS:
        if name != "none" and kind not in without:
            yield replace(plan, faults=f"{plan.faults}-{kind}")


def shrink(found: CounterExample, fails: Fails, until: float = math.inf) -> CounterExample:
    """The smallest counter-example that can be found from here before ``until`` (``time.perf_counter``)."""
    while True:
        for plan in smaller(found.plan):
            if time.perf_counter() > until:
                return found
            if reason := fails(plan):
                found = CounterExample(plan, reason)
                break
        else:
            return found


def command_of(plan: Plan) -> str:
    """The command that repeats a plan."""
    return (
        f"meter-sim simulate --meters {plan.meters} --days {plan.days} --start {plan.start} --seed {plan.seed}"
        f" --program {plan.program} --faults {plan.faults}"
    )


def search(minutes: float, seed: int, workers: int) -> tuple[int, int, CounterExample | None]:
    """Search until the time is over or something fails: cases, account-days, and what was found."""
    chance = random.Random(seed)
    until = time.perf_counter() + minutes * 60
    cases = account_days = 0
    running: dict[Future[str | None], Plan] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        while True:
            while len(running) < workers and (time.perf_counter() < until or not cases + len(running)):
                plan = random_plan(chance)
                running[pool.submit(failure, plan)] = plan
            if not running:
                return cases, account_days, None
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                plan = running.pop(future)
                cases += 1
                account_days += plan.meters * plan.days
                _tell(f"{account_days:>9,} account-days; {command_of(plan)}")
                if reason := future.result():
                    pool.shutdown(wait=False, cancel_futures=True)
                    return cases, account_days, CounterExample(plan, reason)


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, tell, and answer 1 where something was found."""
    parser = argparse.ArgumentParser("make soak", description="Search for a counter-example at random.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="repeat the same cases")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    seed = int.from_bytes(os.urandom(4), "big") if options.seed is None else options.seed
    _tell(f"searching for {options.minutes:g} minutes on {options.workers} cores, with the seed {seed}")
    began = time.perf_counter()
    cases, account_days, found = search(options.minutes, seed, options.workers)
    hours = (time.perf_counter() - began) / 3600
    if found is not None:
        _tell(f"found: {command_of(found.plan)}\n{found.reason}\nmaking it smaller")
        found = shrink(found, failure, time.perf_counter() + SHRINKING_S)
    answer = {
        "seed": seed,
        "cases": cases,
        "account_days": account_days,
        "account_days_per_hour": round(account_days / hours),
        "command": found and command_of(found.plan),
        "reason": found and found.reason,
    }
    if options.json:
        print(json.dumps(answer))
    else:
        print(f"{account_days:,} account-days in {cases} cases searched, {answer['account_days_per_hour']:,} an hour")
        if found is not None:
            print(f"{found.reason}\nrepeat it with: {command_of(found.plan)}")
    return 1 if found else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
