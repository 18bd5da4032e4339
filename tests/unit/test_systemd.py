"""The units that ship: what they promise to systemd, and that systemd would take them."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from edge import daemon

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
EDGE = UNITS / "ami-edge.service"
BENCH = UNITS / "meter-sim@.service"

Directives = dict[str, dict[str, list[str]]]


def directives(unit: Path) -> Directives:
    """The sections of a unit file; a key may be given more than once."""
    sections: Directives = {}
    keys: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            keys = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, f"{unit.name}: {line!r} is not KEY=VALUE"
            keys.setdefault(key, []).append(value)
    return sections


def only(unit: Path, section: str, key: str) -> str:
    """The value of a key that is given once."""
    (value,) = directives(unit)[section][key]
    return value


def test_systemd_learns_when_the_daemon_is_ready_and_when_it_is_stuck() -> None:
    assert only(EDGE, "Service", "Type") == "notify"
    assert only(EDGE, "Service", "NotifyAccess") == "main"
    watchdog = timedelta(seconds=int(only(EDGE, "Service", "WatchdogSec")))
    assert watchdog >= 2 * daemon.PROGRESS_WINDOW, "a loop may rest as long as its window without being killed for it"


def test_a_crash_is_restarted_but_bad_configuration_is_not() -> None:
    assert only(EDGE, "Service", "Restart") == "on-failure"
    assert only(EDGE, "Service", "RestartPreventExitStatus") == "2"
    assert only(EDGE, "Service", "RestartSec") == "5", "slower than the start limit, so that systemd never gives up"


def test_the_daemon_is_ordered_after_time_and_network() -> None:
    after = only(EDGE, "Unit", "After").split()
    assert {"time-sync.target", "network-online.target"} <= set(after)
    assert only(EDGE, "Unit", "Wants") == "network-online.target"


def test_directories_and_user_are_those_that_the_program_looks_for() -> None:
    for key in ("StateDirectory", "ConfigurationDirectory", "RuntimeDirectory", "User", "Group"):
        assert only(EDGE, "Service", key) == "ami-edge", key
    assert only(EDGE, "Service", "ExecStart").split()[1:] == ["run", "--config", "/etc/ami-edge/edge.toml"]
    sysusers = (UNITS / "ami-edge.sysusers").read_text(encoding="utf-8")
    assert "u ami-edge - " in sysusers
    assert "m ami-edge dialout" in sysusers


def test_secrets_are_shown_by_example_and_never_given() -> None:
    text = EDGE.read_text(encoding="utf-8")
    assert "#LoadCredential=" in text
    assert "LoadCredential" not in directives(EDGE)["Service"], (
        "an example credential would keep a new box from starting"
    )


def test_the_kernel_can_still_be_asked_about_the_clock() -> None:
    service = directives(EDGE)["Service"]
    assert "ProtectClock" not in service, "it forbids adjtimex: the clock would never be trusted"
    assert {"adjtimex", "clock_adjtime"} <= set(only(EDGE, "Service", "SystemCallFilter").split())
    assert service["CapabilityBoundingSet"] == [""]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("DevicePolicy", "closed"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
        ("UMask", "0027"),
    ],
)
def test_the_daemon_is_confined(key: str, value: str) -> None:
    assert only(EDGE, "Service", key) == value


def test_a_bench_serves_one_feeder_file_an_instance() -> None:
    command = only(BENCH, "Service", "ExecStart").split()
    assert command[1:3] == ["run", "/etc/ami-edge/sim/%i.toml"]
    runtime = only(BENCH, "Service", "RuntimeDirectory")
    assert command[3:] == ["--ready-file", f"/run/{runtime}/ready.json"]
    assert only(BENCH, "Service", "Environment") == f"XDG_RUNTIME_DIR=/run/{runtime}", "the truth is told there"


@pytest.mark.parametrize(("unit", "instance"), [(EDGE, "ami-edge.service"), (BENCH, "meter-sim@bench.service")])
def test_systemd_takes_the_unit(unit: Path, instance: str, tmp_path: Path) -> None:
    assert {"Unit", "Service", "Install"} == set(directives(unit))
    tool = shutil.which("systemd-analyze")
    if tool is None:
        return  # a machine without systemd has nobody to ask; what the unit promises is checked above
    program = only(unit, "Service", "ExecStart").split()[0]
    text = unit.read_text(encoding="utf-8").replace(program, shutil.which("true") or "/bin/true")
    copy = tmp_path / instance
    copy.write_text(text, encoding="utf-8")
    verdict = subprocess.run([tool, "verify", str(copy)], capture_output=True, text=True, check=False)
    told = [line for line in verdict.stderr.splitlines() if instance in line]
    assert (verdict.returncode, told) == (0, [])
