"""``make mutations``: single faults put into a copy of the sources, one at a time; each must be caught.

A mutant is caught by the tests named with it, by a short ``meter-sim simulate``, or by both; the table says which. One
that nothing catches makes the run fail. Not part of ``make test``: it runs the tests dozens of times.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HANGS_S = 240.0
HOME = Path(__file__).parent.parent
COPIED = ("systemd", "edge", "protocols", "meter_sim", "config", "tests", "pyproject.toml", "README.md", "CHANGELOG.md")
CORE = ("tests/unit/test_decisions.py", "tests/unit/test_calendar.py", "tests/unit/test_whatif_cases.py")
AUTUMN = "--meters 18 --days 8 --start 2026-09-02 --seed 3 --faults none"
HARSH = "--meters 18 --days 8 --start 2026-09-14 --seed 3 --faults harsh"
FROST = "--meters 12 --days 9 --start 2026-01-12 --seed 2 --program pso-prepay --faults none"
HEAT = "--meters 18 --days 9 --start 2026-07-13 --seed 3 --faults none"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: in ``file``, ``old`` becomes ``new``; the tests that should notice, and a world that might."""

    name: str
    file: str
    old: str
    new: str
    tests: Sequence[str] = CORE
    world: str = AUTUMN


MUTANTS = (
    Mutant(
        "a window's end is inclusive",
        "edge/core/decisions.py",
        "if not span[0] <= case.now < span[1]:",
        "if not span[0] <= case.now <= span[1]:",
    ),
    Mutant(
        "a holiday is a day like any other",
        "edge/core/calendar.py",
        "    if name := holiday(day):\n        reasons",
        "    if (name := holiday(day)) and False:\n        reasons",
    ),
    Mutant(
        "Labor Day is not in the calendar",
        "edge/programs.py",
        "    def holiday(day: date) -> str | None:",
        "    def holiday(day: date) -> str | None:\n        if day.month == 9:\n            return None",
        ("tests/unit/test_programs.py", *CORE),
    ),
    Mutant(
        "the grace is the earlier of morning and 24 hours",
        "edge/core/calendar.py",
        "else max(morning, elapsed)",
        "else min(morning, elapsed)",
        CORE,
        HARSH,
    ),
    Mutant(
        "cold does not matter",
        "edge/core/weather_rules.py",
        "if cold is not None and forecast is not None and in_season",
        "if False and cold is not None and forecast is not None and in_season",
        ("tests/unit/test_weather_now.py", *CORE),
        FROST,
    ),
    Mutant(
        "heat does not matter",
        "edge/core/weather_rules.py",
        "if heat is not None and in_season",
        "if False and heat is not None and in_season",
        ("tests/unit/test_weather_now.py", *CORE),
        HEAT,
    ),
    Mutant("a hold includes its end", "edge/core/decisions.py", "or now < until))", "or now <= until))"),
    Mutant("protection does not matter", "edge/core/decisions.py", "    elif protected:\n", "    elif False:\n"),
    Mutant(
        "a balance of zero is cut",
        "edge/core/decisions.py",
        "if balance > 0 or (balance == 0 and trip is Trip.NEGATIVE):",
        "if balance > 0:",
    ),
    Mutant(
        "the payment feed may be a day old",
        "edge/core/decisions.py",
        "timedelta(minutes=program.max_payment_feed_age_minutes)):",
        "timedelta(hours=program.max_payment_feed_age_minutes)):",
        CORE,
        HARSH,
    ),
    Mutant(
        "a returned payment blocks for the day of the notice alone",
        "edge/core/calendar.py",
        "    while day.weekday() >= 5 or holiday(day):\n        day += DAY\n    return ends(day",
        "    return ends(day - DAY",
    ),
    Mutant(
        "reconnects wait for a cent more",
        "edge/core/reconnects.py",
        "balance >= program.reconnect_from_cents and _payments",
        "balance > program.reconnect_from_cents and _payments",
        (*CORE, "tests/unit/test_reconnects.py"),
    ),
    Mutant(
        "a sent order is sent again after a restart",
        "edge/relays.py",
        "                if link is not None:\n                    seen = await link.read_relay()\n            except",
        "                if link is not None:\n"
        "                    again = {'disconnect': 'disconnect', 'reconnect': 'connect'}[order.action]\n"
        "                    await link.command(SwitchAction(again), expires_in_s=COMMAND_LIFETIME_S)\n"
        "                    seen = await link.read_relay()\n            except",
        ("tests/scenario/test_command_life.py", "tests/e2e/test_cut.py"),
        HARSH,
    ),
    Mutant(
        "a disconnect is not decided again before it is sent",
        "edge/relays.py",
        "        ruling = self._gateway.rule(database, order.account_id, around)\n        present = ",
        "        journal(database, order, OrderState.SENT, '', around.now)\n        return True\n        present = ",
        ("tests/scenario/test_command_life.py", "tests/e2e/test_cut.py"),
        HARSH,
    ),
    Mutant(
        "a queued disconnect outlives its window",
        "edge/core/orders.py",
        "return not_after is not None and now < not_after",
        "return True",
        ("tests/unit/test_orders.py", "tests/scenario/test_command_life.py"),
        HARSH,
    ),
    Mutant(
        "a payment's id is not looked for",
        "edge/payments.py",
        "    earlier = books.payments(database, [request.payment_id for request in requests])\n",
        "    earlier = {}\n"
        "    requests = [replace(one, payment_id=f'{one.payment_id}/{around.now.isoformat()}') for one in requests]\n",
        ("tests/scenario/test_payments.py",),
        HARSH,
    ),
    Mutant(
        "the arrears share is rounded up",
        "edge/core/arrears.py",
        "shared * program.arrears_share_ppm // _MILLION)",
        "-(-shared * program.arrears_share_ppm // _MILLION))",
        ("tests/unit/test_whatif_cases.py", "tests/unit/test_ledger.py", "tests/property"),
    ),
    Mutant(
        "half a cent is dropped",
        "edge/core/rating.py",
        "return (2 * numerator + denominator) // (2 * denominator)",
        "return numerator // denominator",
        ("tests/unit/test_rating.py",),
    ),
    Mutant(
        "another meter's answer tells of a relay",
        "edge/readings.py",
        "if not other:  # where",
        "if True:  # where",
        ("tests/unit/test_polling.py",),
        HARSH,
    ),
    Mutant(
        "a register that ran back is believed",
        "edge/core/vee.py",
        "return Assessment(False, (Flag.BACKWARDS,), 0)",
        "return Assessment(True, (), 0)",
        ("tests/unit/test_vee.py",),
        HARSH,
    ),
    Mutant(
        "a message is acknowledged before it is durable",
        "edge/upstream.py",
        '                if batch[0].kind == "payments":\n',
        "                for message in batch:\n                    await self._link.acknowledge(message)\n"
        '                if batch[0].kind == "payments":\n',
        ("tests/scenario/test_payment_batches.py", "tests/scenario/test_payments.py"),
        HARSH,
    ),
)


def mutated(mutant: Mutant, folder: Path) -> None:
    """A copy of the sources with one fault. Raises ValueError where the sources have moved on."""
    for name in COPIED:
        source = HOME / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    file = folder / mutant.file
    text = file.read_text(encoding="utf-8")
    if mutant.old not in text:
        raise ValueError(f"{mutant.name}: {mutant.file} has no {mutant.old!r} any more")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def caught(mutant: Mutant, *, simulate: bool) -> tuple[str, str]:
    """What the tests and what the simulation say of a mutant: ``caught``, ``missed``, or nothing where not asked."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        mutated(mutant, folder)
        environment = {**os.environ, "PYTHONPATH": name, "PYTHONDONTWRITEBYTECODE": "1"}

        def fails(*arguments: str) -> str:
            command = [sys.executable, "-m", *arguments]
            try:
                code = subprocess.run(
                    command, cwd=folder, env=environment, capture_output=True, check=False, timeout=HANGS_S
                ).returncode
            except subprocess.TimeoutExpired:
                return "caught"
            return {0: "missed", 1: "caught"}.get(code, f"broken ({code})")  # no tests run, or none could be

        tests = [test for test in mutant.tests if (folder / test).exists()]
        by_tests = fails("pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)
        by_world = fails("meter_sim", "simulate", *mutant.world.split(), "--json") if simulate else ""
    return by_tests, by_world


def main() -> int:
    """Try all, or those whose name holds a word; tell a table."""
    parser = argparse.ArgumentParser("make mutations")
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--simulate", action="store_true", help="try a short simulation too")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.word in mutant.name]
    missed = 0
    with ThreadPoolExecutor(options.workers) as pool:
        results = pool.map(lambda mutant: caught(mutant, simulate=options.simulate), chosen)
        for mutant, (by_tests, by_world) in zip(chosen, results, strict=True):
            missed += "caught" not in (by_tests, by_world)
            print(f"{mutant.name:<60} tests: {by_tests:<8} simulate: {by_world}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
