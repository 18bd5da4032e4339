"""``python -m tests.bench``: measure everything, print a table. 0 also where an aim is missed: it is no test."""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.bench.ledger import Sizes, transactions
from tests.bench.payments import payments
from tests.bench.running import memory, simulators_answers, status_start, whatif, while_polling
from tests.bench.site import BenchError, Site, daemon, simulator
from tests.bench.sweep import sweeps
from tests.bench.table import Figure, render
from tests.bench.tools import ToolsMissing, build_libmodbus_sweep, provide_tools
from tests.brokers import mosquitto

PARTS = ("ledger", "wires", "decisions")
UNITS = 50  # meters behind one TCP gateway


def stage(name: str) -> None:
    """Say what is being measured."""
    print(f"measuring {name}", flush=True)


def measure(directory: Path, arguments: argparse.Namespace) -> list[Figure]:
    """The chosen parts: transactions in this process, then what goes over wires, then decisions."""
    figures: list[Figure] = []
    if "ledger" in arguments.parts:
        sizes = Sizes(arguments.accounts, 3 if arguments.quick else 9, arguments.entries)
        stage(f"{sizes.turns} days of {sizes.accounts:,} accounts, and as many payments as accounts")
        figures += transactions(directory / "ledger", sizes)
    if "wires" in arguments.parts:
        provide_tools()
        figures += over_wires(directory, arguments)
    if "decisions" in arguments.parts:
        stage("decisions")
        figures += whatif(2_000 if arguments.quick else 20_000)
    return figures


def over_wires(directory: Path, arguments: argparse.Namespace) -> list[Figure]:
    """Meters, broker and the daemon as a process; the daemon's own code first."""
    turns = 9 if arguments.quick else 21
    figures: list[Figure] = []
    with mosquitto(directory) as broker:
        site = Site(directory, broker.port, -(-arguments.meters // UNITS), UNITS, 10 if arguments.quick else 50)
        program = build_libmodbus_sweep(directory)
        with simulator(site) as meters:
            stage(f"{turns} turns of sweeps, four ways")
            figures += sweeps(site, program, turns)
            stage("the simulator beside pymodbus's server")
            figures += simulators_answers(site, program, turns, meters.pid)
            with daemon(site) as running:
                stage("the daemon while it polls")
                figures += while_polling(site, running.pid, 10 if arguments.quick else 60)
                stage(f"{len(site.dark)} payments")
                figures += payments(site)
                figures += memory(site, running.pid)
                stage("the start of a verb")
                figures += status_start(site, 9)
    return figures


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 meters, 1,000 accounts, few turns")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}: those wanted, with commas")
    parser.add_argument("--meters", type=int, help=f"how many meters, in gateways of {UNITS}; 500 without --quick")
    parser.add_argument("--accounts", type=int, help="how many accounts' days are closed; 5,000 without --quick")
    parser.add_argument("--entries", type=int, help="how long the ledger of `account show` is; 100,000 without --quick")
    arguments = parser.parse_args(given)
    arguments.parts = arguments.parts.split(",")
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    arguments.accounts = arguments.accounts or (1_000 if arguments.quick else 5_000)
    arguments.entries = arguments.entries or (10_000 if arguments.quick else 100_000)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    arguments.meters = arguments.meters or (100 if arguments.quick else 500)
    try:
        with tempfile.TemporaryDirectory(prefix="ami-edge-bench-") as directory:
            figures = measure(Path(directory), arguments)
    except (ToolsMissing, BenchError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(
        f"\n{os.cpu_count()} cores; ratios are medians over turns, which absolute figures on a busy machine are not\n"
    )
    print(render(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
