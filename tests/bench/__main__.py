"""``python -m tests.bench``: measure everything, print a table. 0 also where an aim is missed: it is no test."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.payments import payments
from tests.bench.running import memory, simulators_answers, status_start, whatif, while_polling
from tests.bench.site import BenchError, Site, daemon, simulator
from tests.bench.sweep import sweeps
from tests.bench.table import Figure, render
from tests.bench.tools import ToolsMissing, build_libmodbus_sweep, provide_tools
from tests.brokers import mosquitto

UNITS = 50  # meters behind one TCP gateway


def measure(directory: Path, arguments: argparse.Namespace) -> list[Figure]:
    """Everything, the daemon's own code first, then the daemon as a process."""
    turns = 9 if arguments.quick else 21
    figures: list[Figure] = []

    def stage(name: str) -> None:
        print(f"measuring {name}", flush=True)

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
    stage("decisions")
    return figures + whatif(2_000 if arguments.quick else 20_000)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 meters, 10 payments, 9 turns")
    parser.add_argument("--meters", type=int, help=f"how many meters, in gateways of {UNITS}; 500 without --quick")
    arguments = parser.parse_args(given)
    arguments.meters = arguments.meters or (100 if arguments.quick else 500)
    try:
        provide_tools()
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
