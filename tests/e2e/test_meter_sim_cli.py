"""``meter-sim`` as a program: run, truth, profiles; what it says and how it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

PROGRAM = (sys.executable, "-m", "meter_sim")
DDS = "hiking-dds238-2-znsr"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Simulators of this test are seen by this test alone."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    return {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path / "runtime"), "NO_COLOR": "1"}


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + 20
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.02)


@contextmanager
def running(environment: dict[str, str], ready_file: Path, *arguments: str) -> Iterator[dict]:
    """A simulator that listens; its ready file's content. It must leave in good order when told to."""
    process = subprocess.Popen(
        [*PROGRAM, "run", *arguments, "--ready-file", str(ready_file)],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        wait_for(lambda: ready_file.exists() or process.poll() is not None)
        yield json.loads(ready_file.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b""), errors
    assert not ready_file.exists()


def meter_sim(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=30)


def test_a_command_on_the_wire_shows_in_the_truth(environment, tmp_path: Path):
    with running(environment, tmp_path / "ready.json", "--profile", DDS, "--count", "3") as ready:
        assert [meter["meter_id"] for meter in ready["meters"]] == ["SIM-0001", "SIM-0002", "SIM-0003"]
        entry = ready["meters"][1]
        assert (entry["profile"], entry["transport"], entry["host"]) == (DDS, "modbus-tcp", "127.0.0.1")
        with ModbusTcpClient(entry["host"], port=entry["port"], retries=0) as client:
            assert not client.write_registers(0x1A, [0], device_id=entry["unit"]).isError()
            wait_for(lambda: client.read_holding_registers(0x1A, count=1, device_id=entry["unit"]).registers == [0])
        told = meter_sim(environment, "truth", "--json")
        assert told.returncode == 0, told.stderr
        second = json.loads(told.stdout)[1]
        assert (second["meter_id"], second["relay"], second["power_w"]) == ("SIM-0002", "disconnected", 0)
        assert second["energy_import_wh"] >= 1_000_000
        assert [(change["relay"], change["cause"]) for change in second["transitions"]] == [
            ("connected", "initial"),
            ("disconnected", "command"),
        ]
        assert datetime.fromisoformat(second["transitions"][1]["at"]).utcoffset() is not None
        table = meter_sim(environment, "truth", "--ready-file", str(tmp_path / "ready.json"))
        assert "SIM-0002  disconnected" in table.stdout


def test_faults_are_set_on_a_running_simulator_and_cleared(environment, tmp_path: Path):
    def faults(*arguments: str) -> list[dict]:
        done = meter_sim(environment, "fault", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with running(environment, tmp_path / "ready.json", "--profile", DDS, "--count", "2") as ready:
        entry = ready["meters"][0]
        with ModbusTcpClient(entry["host"], port=entry["port"], retries=0, timeout=0.3) as client:

            def register() -> list[int]:
                return client.read_holding_registers(0x0A, count=2, device_id=entry["unit"]).registers

            assert register() != [0, 0]
            (set_,) = faults("set", "SIM-0001", "zero_register")
            assert (set_["meter_id"], set_["fault"], set_["until"]) == ("SIM-0001", "zero_register", None)
            assert register() == [0, 0]
            (opened,) = faults("set", "SIM-0002", "self_open", "--for", "3600")
            assert opened["until"] > opened["since"]
            assert [told["fault"] for told in faults("list")] == ["zero_register", "self_open"]
            truth = json.loads(meter_sim(environment, "truth", "--json").stdout)
            assert [meter["relay"] for meter in truth] == ["connected", "disconnected"]
            assert truth[0]["energy_import_wh"] > 0  # the truth is what is physically so, whatever the meter tells
            assert [told["meter_id"] for told in faults("clear", "SIM-0001")] == ["SIM-0001"]
            assert register() != [0, 0]
            faults("set", "SIM-0001", "zero_register", "--for", "0.2")
            wait_for(lambda: [told["meter_id"] for told in faults("list")] == ["SIM-0002"])
            assert len(faults("clear")) == 1
        for arguments, sentence in (
            (("set", "SIM-0003", "dead"), "there is no meter 'SIM-0003'; there are SIM-0001, SIM-0002"),
            (("set", "SIM-0001", "moody"), "'moody' is no kind of fault; there are dead, garbage, slow"),
            (("set", "SIM-0001", "offline"), "SIM-0001 has no session with a broker to lose: use dead"),
        ):
            refused = meter_sim(environment, "fault", *arguments)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert sentence in refused.stderr
    assert meter_sim(environment, "fault", "list").returncode == 3


def test_a_feeder_file_with_a_serial_line(environment, tmp_path: Path):
    link = tmp_path / "bus" / "line-1"
    (tmp_path / "feeder.toml").write_text(
        f'lines = [{{id = "bus", transport = "modbus-rtu", device = "{link}"}}]\n'
        f'[[meters]]\nid = "M-1"\nprofile = "{DDS}"\nline = "bus"\nunit = 21\nrelay = "disconnected"\n'
    )
    with running(environment, tmp_path / "ready.json", str(tmp_path / "feeder.toml")) as ready:
        assert ready["meters"] == [
            {"meter_id": "M-1", "profile": DDS, "transport": "modbus-rtu", "device": str(link), "unit": 21}
        ]
        assert link.resolve().is_char_device()
        (meter,) = json.loads(meter_sim(environment, "--json", "truth").stdout)
        assert (meter["relay"], meter["power_w"]) == ("disconnected", 0)
    assert not link.is_symlink()


def test_which_simulator_is_meant(environment, tmp_path: Path):
    none = meter_sim(environment, "truth")
    assert (none.returncode, none.stdout) == (3, "")
    assert "no simulator runs under this user: start one with meter-sim run" in none.stderr
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    with running(environment, first, "--profile", DDS), running(environment, second, "--profile", DDS, "--count", "2"):
        several = meter_sim(environment, "truth")
        assert several.returncode == 1
        assert "2 simulators run under this user: say which one with --ready-file" in several.stderr
        assert len(json.loads(meter_sim(environment, "truth", "--json", "--ready-file", str(second)).stdout)) == 2
        stale = first.read_text()
    first.write_text(stale)
    gone = meter_sim(environment, "truth", "--ready-file", str(first))
    assert (gone.returncode, "does not run any more" in gone.stderr) == (3, True)


def test_a_missing_broker_is_waited_for_and_the_program_can_still_be_stopped(environment, tmp_path: Path):
    process = subprocess.Popen(
        [*PROGRAM, "run", "--profile", "tasmota-plug", "--broker", "127.0.0.1:1", "--ready-file", str(tmp_path / "r")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "waiting for the broker at 127.0.0.1:1" in process.stderr.readline()
    assert not (tmp_path / "r").exists()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_profiles_names_what_can_be_simulated(environment):
    told = json.loads(meter_sim(environment, "profiles", "--json").stdout)
    assert {DDS, "tasmota-plug", "eastron-sdm230-waveshare"} <= {profile["id"] for profile in told}
    assert DDS in meter_sim(environment, "profiles").stdout


def test_help_and_version(environment):
    assert meter_sim(environment, "--version").stdout.startswith("meter-sim ")
    for verb in ("run", "truth", "profiles"):
        assert meter_sim(environment, verb, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.toml",), "nowhere.toml: cannot be read: No such file or directory"),
        (("bad.toml",), "bad.toml: meters.0.lod - is not a known key"),
        (("unfit.toml",), "unfit.toml: meters.0.profile - there is no profile 'zz'"),
        (("broken.toml",), "broken.toml: Expected '=' after a key in a key/value pair (at line 2, column 4)"),
        (("--profile", "zz"), "--profile: there is no profile 'zz'; there are"),
        (("--count", "2"), "--count needs --profile"),
        (("bad.toml", "--profile", DDS), "give a feeder file or --profile, not both"),
        (("--broker", "here"), "--broker here: is not HOST:PORT"),
        (("--ready-file", "nowhere/ready.json"), "--ready-file nowhere/ready.json: there is no directory"),
        (("--ready-file", "."), "--ready-file .: is a directory"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(environment, tmp_path: Path, monkeypatch, arguments, sentence: str):
    lines = 'lines = [{id = "tcp", transport = "modbus-tcp"}]\n'
    (tmp_path / "bad.toml").write_text(
        f'{lines}[[meters]]\nid = "A"\nprofile = "{DDS}"\nline = "tcp"\nunit = 1\nlod = 3\n'
    )
    (tmp_path / "unfit.toml").write_text(f'{lines}[[meters]]\nid = "A"\nprofile = "zz"\nline = "tcp"\nunit = 1\n')
    (tmp_path / "broken.toml").write_text("\nid 3\n")
    monkeypatch.chdir(tmp_path)
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    told = meter_sim(environment, "run", *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert sentence in told.stderr
    assert told.stderr.count("\n") == 1
