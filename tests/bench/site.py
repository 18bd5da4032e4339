"""The site that is measured: a simulator and a daemon as processes, and the files that describe them."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meter_sim.truth import ask

BIN = Path(sys.executable).parent
PROFILE = "hiking-dds238-2-znsr"
HOST = "127.0.0.1"
PATIENCE_S = 60.0
SEED = 20_261_126


class BenchError(Exception):
    """The bench could not be set up or came to an end too early; one sentence."""


@dataclass
class Site:
    """``gateways`` TCP gateways with ``units`` meters each; ``dark``: the meters that start disconnected for credit."""

    directory: Path
    broker_port: int
    gateways: int
    units: int
    dark_count: int
    ports: tuple[int, ...] = ()
    dark: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        chosen = random.Random(SEED).sample(self.meter_ids(), self.dark_count)
        self.dark = tuple(chosen)

    def meter_ids(self) -> list[str]:
        """All meters, in the order of gateways and units."""
        return [f"M-{gateway}-{unit}" for gateway in range(self.gateways) for unit in range(1, self.units + 1)]

    @property
    def config(self) -> Path:
        """The daemon's edge.toml."""
        return self.directory / "edge.toml"

    @property
    def ready_file(self) -> Path:
        """What the simulator writes when all meters listen."""
        return self.directory / "ready.json"

    def environment(self) -> dict[str, str]:
        """What the processes run with."""
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.directory), "NO_COLOR": "1"}

    def write_feeder(self) -> Path:
        """The simulator's file; its ports are free ones."""
        lines = [f"[[lines]]\nid = 'line-{number}'\ntransport = 'modbus-tcp'" for number in range(self.gateways)]
        for meter_id in self.meter_ids():
            _, gateway, unit = meter_id.split("-")
            relay = "disconnected" if meter_id in self.dark else "connected"
            lines.append(
                f"[[meters]]\nid = '{meter_id}'\nprofile = '{PROFILE}'\nline = 'line-{gateway}'\nunit = {unit}\n"
                f"initial_register_wh = {1_000_000 + int(gateway) * 1000 + int(unit)}\nrelay = '{relay}'"
            )
        file = self.directory / "feeder.toml"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    def write_daemon_files(self) -> None:
        """``edge.toml`` for the ports that the simulator got, and the accounts of the meters in the dark."""
        listening = json.loads(self.ready_file.read_text(encoding="utf-8"))["meters"]
        self.ports = tuple(dict.fromkeys(entry["port"] for entry in listening))
        lines = [f"[broker]\nport = {self.broker_port}\n[clock]\ntrust = 'always'\n[polling]\nevery_seconds = 1"]
        for number, port in enumerate(self.ports):
            lines.append(f"[[lines]]\nid = 'line-{number}'\ntransport = 'modbus-tcp'\nhost = '{HOST}'\nport = {port}")
        for meter_id in self.meter_ids():
            _, gateway, unit = meter_id.split("-")
            place = f"line = 'line-{gateway}'\nunit = {unit}"
            lines.append(f"[[meters]]\nid = '{meter_id}'\nprofile = '{PROFILE}'\n{place}")
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows = ["account_id,meter_id,opening_balance,disconnected_for_credit"]
        rows += [f"{account_of(meter_id)},{meter_id},-4.20,yes" for meter_id in self.dark]
        lit = [meter_id for meter_id in self.meter_ids() if meter_id not in self.dark]
        rows += [f"{account_of(meter_id)},{meter_id},40.00,no" for meter_id in lit]
        (self.directory / "accounts.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def common(self, state: str = "state") -> list[str]:
        """The options that every verb of ``ami-edge`` gets."""
        return ["--config", str(self.config), "--state-dir", str(self.directory / state)]

    def truth(self) -> dict[str, dict[str, Any]]:
        """What is physically so, by meter."""
        return {meter["meter_id"]: meter for meter in ask({"ask": "truth"}, self.ready_file)["meters"]}

    def log_tail(self, name: str) -> str:
        """The end of a process's log, for a sentence about why it did not do what it should."""
        return (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-2000:]


def account_of(meter_id: str) -> str:
    """The account that a meter serves."""
    return f"A{meter_id[1:]}"


@contextmanager
def process(site: Site, name: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its log beside the site's files, ended with the block."""
    with (site.directory / f"{name}.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env=site.environment())
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def simulator(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """The meters, all listening; the daemon's files are written for them."""
    command = [str(BIN / "meter-sim"), "run", str(site.write_feeder()), "--ready-file", str(site.ready_file)]
    with process(site, "meter-sim", command) as running:
        wait_for(site.ready_file.exists, running, lambda: site.log_tail("meter-sim"))
        site.write_daemon_files()
        yield running


@contextmanager
def daemon(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon at work, its accounts enrolled."""
    command = [str(BIN / "ami-edge"), *site.common(), "run"]
    with process(site, "ami-edge", command) as running:
        wait_for(lambda: _healthy(site.directory / "state" / "edge.sock"), running, lambda: site.log_tail("ami-edge"))
        enrolled = subprocess.run(
            [str(BIN / "ami-edge"), *site.common(), "enroll", str(site.directory / "accounts.csv")],
            capture_output=True,
            text=True,
            env=site.environment(),
            check=False,
        )
        if enrolled.returncode:
            raise BenchError(f"the accounts could not be enrolled: {enrolled.stderr}{site.log_tail('ami-edge')}")
        yield running


def wait_for(
    condition: Callable[[], bool], running: subprocess.Popen[bytes] | None = None, log: Callable[[], str] = str
) -> None:
    """Return when the condition holds. Raises BenchError with the log when the process ends first or it lasts long."""
    deadline = time.perf_counter() + PATIENCE_S
    while not condition():
        if running is not None and running.poll() is not None:
            raise BenchError(f"a process ended too early: {log()}")
        if time.perf_counter() > deadline:
            raise BenchError(f"waited {PATIENCE_S:.0f} s in vain: {log()}")
        time.sleep(0.05)


def _healthy(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(100)
        except OSError:
            return False


def memory_mib(process_id: int, key: str) -> float:
    """A process's memory in MiB: ``VmRSS`` now, ``VmHWM`` at most so far."""
    for line in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {process_id} tells no {key}")


def cpu_seconds(process_id: int) -> float:
    """User and system CPU of a process so far."""
    after_name = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
