"""What the running daemon costs, and how fast its verbs and its bench answer."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from edge.store.engine import open_for_reading
from tests.bench.site import BIN, BenchError, Site, cpu_seconds, memory_mib, process, wait_for
from tests.bench.sweep import libmodbus
from tests.bench.table import Aim, Figure, ratio_of_turns

CASE = {
    "now": "2026-10-14T09:00:00-05:00",
    "program": "default",
    "account": {
        "enrolled": True,
        "balance": "-3.20",
        "arrears": "0.00",
        "protected": [],
        "holds": [],
        "zero_notice_delivered_at": "2026-10-12T19:00:00-05:00",
        "last_actual_read_at": "2026-10-14T08:45:00-05:00",
        "last_closed_day": "2026-10-13",
    },
    "meter": {"remote_disconnect": True, "relay": "connected", "confirm_seconds": 20},
    "weather": {
        "fetched_at": "2026-10-14T07:10:00-05:00",
        "first_hour": "2026-10-14T07:00:00-05:00",
        "temperature_f": [50 + hour % 24 for hour in range(120)],
        "heat_index_f": [50 + hour % 24 for hour in range(120)],
        "observed": {"at": "2026-10-14T08:53:00-05:00", "temperature_f": 54, "heat_index_f": 54},
        "alerts": [],
    },
    "moratoriums": [],
    "gateway": {
        "clock_trusted": True,
        "payments_feed_seen_at": "2026-10-14T08:59:00-05:00",
        "disconnects_left": 50,
        "shadow_mode": False,
    },
}


def while_polling(site: Site, process_id: int, seconds: float) -> list[Figure]:
    """CPU of the daemon for each read that it stored, polling every meter each second."""
    before, cpu, started = _stored(site), cpu_seconds(process_id), time.perf_counter()
    time.sleep(seconds)
    reads, used, lasted = _stored(site) - before, cpu_seconds(process_id) - cpu, time.perf_counter() - started
    if not reads:
        raise BenchError(f"the daemon stores nothing: {site.log_tail('ami-edge')}")
    return [
        Figure("running daemon, CPU of a stored read", used / reads * 1e6, "µs"),
        Figure("running daemon, reads stored a second", reads / lasted, "/s"),
        Figure("running daemon, share of one core", used / lasted * 100, "%"),
    ]


def _stored(site: Site) -> int:
    database = open_for_reading(site.directory / "state" / "edge.db")
    count: int = database.execute("SELECT count(*) FROM reading").fetchone()[0]
    database.close()
    return count


def memory(site: Site, process_id: int) -> list[Figure]:
    """The daemon's memory after all that it did."""
    meters = site.gateways * site.units
    bound = 150.0 if meters <= 500 else 400.0
    most, now = memory_mib(process_id, "VmHWM"), memory_mib(process_id, "VmRSS")
    return [
        Figure(f"daemon's memory at {meters} meters, most", most, "MiB", aim=Aim("at most", bound, "figure")),
        Figure(f"daemon's memory at {meters} meters, now", now, "MiB"),
    ]


def status_start(site: Site, turns: int) -> list[Figure]:
    """How much longer ``ami-edge status`` takes than a Python that does nothing."""
    verb = [str(BIN / "ami-edge"), *site.common(), "status"]
    nothing = [sys.executable, "-c", "pass"]
    ours, bare = [], []
    for turn in range(-1, turns):
        took = _seconds(verb), _seconds(nothing)
        if turn >= 0:
            ours.append(took[0])
            bare.append(took[1])
    more = median(mine - other for mine, other in zip(ours, bare, strict=True))
    return [
        Figure("ami-edge status", median(ours), "s", "python -c pass", median(bare), ratio_of_turns(ours, bare)),
        Figure("ami-edge status, more than python", more, "s", aim=Aim("at most", 0.25, "figure")),
    ]


def _seconds(command: Sequence[str], given: str = "") -> float:
    started = time.perf_counter()
    finished = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise BenchError(f"{' '.join(command[-3:])}: {finished.stderr[-500:]}")
    return time.perf_counter() - started


def whatif(cases: int) -> list[Figure]:
    """Cases a second of ``whatif decide --jsonl``, its start taken off."""
    verb = [str(BIN / "ami-edge"), "whatif", "decide", "--jsonl"]
    one = json.dumps(CASE) + "\n"
    many = []
    for number in range(cases):
        account = {**CASE["account"], "balance": f"-{number // 100}.{number % 100:02}"}  # type: ignore[dict-item]
        many.append(json.dumps({**CASE, "account": account}))
    lines = "\n".join(many) + "\n"
    took = median([_seconds(verb, lines) - _seconds(verb, one) for _ in range(3)])
    return [Figure("whatif decide --jsonl, cases a second", cases / took, "/s", aim=Aim("at least", 10_000, "figure"))]


def simulators_answers(site: Site, program: Path, turns: int, simulator_id: int) -> list[Figure]:
    """Answers to the C peer: the simulator beside pymodbus's server with as many devices on as many ports.

    The C peer itself needs much of the machine, so the rate says less than the CPU that an answer costs.
    """
    ready = site.directory / "pymodbus-ready.json"
    command = [sys.executable, "-m", "tests.bench.pymodbus_server", str(site.gateways), str(site.units), str(ready)]
    questions = site.gateways * site.units * 2
    ours: list[float] = []
    theirs: list[float] = []
    with process(site, "pymodbus-server", command) as running:
        wait_for(ready.exists, running, lambda: site.log_tail("pymodbus-server"))
        ports = tuple(json.loads(ready.read_text(encoding="utf-8")))
        with libmodbus(program, site.units, site.ports) as simulator, libmodbus(program, site.units, ports) as peer:
            simulator()
            peer()
            cpu = cpu_seconds(simulator_id), cpu_seconds(running.pid)
            for _ in range(turns):
                ours.append(questions / simulator()[0])
                theirs.append(questions / peer()[0])
            cpu = cpu_seconds(simulator_id) - cpu[0], cpu_seconds(running.pid) - cpu[1]
    mine, other = (used / turns / questions * 1e6 for used in cpu)
    peer_name = "pymodbus's server"
    rate = ratio_of_turns(ours, theirs)
    return [
        Figure("simulator's answers a second", median(ours), "/s", peer_name, median(theirs), rate),
        Figure("simulator's CPU of an answer", mine, "µs", peer_name, other, mine / other, Aim("at most", 0.25)),
    ]
