"""The very daemon, for weeks, in seconds: nobody wronged, nobody left in the dark, not a cent lost."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edge.store import books, customers, usage
from edge.store.base import open_for_reading
from meter_sim.simulate import good, simulate
from meter_sim.world import Plan

KEYS = {
    "meters",
    "account_days",
    "polls",
    "payments",
    "disconnects",
    "reconnects",
    "wrongful_disconnects",
    "late_reconnects",
    "reconnect_seconds",
    "ledger_imbalance",
    "faults_injected",
    "wall_seconds",
}
METER_SIM = Path(sys.executable).parent / "meter-sim"


def run_program(*arguments: str, hash_seed: str = "0") -> dict[str, Any]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [str(METER_SIM), "simulate", *arguments, "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_week_of_twenty_meters_is_the_same_byte_for_byte_wherever_it_runs(tmp_path: Path) -> None:
    week = ("--meters", "20", "--days", "7", "--start", "2026-10-12", "--faults", "normal")
    digests = []
    for seed, hash_seed in (("1", "1"), ("1", "2"), ("2", "1")):
        file = tmp_path / f"{seed}-{hash_seed}.jsonl"
        answer = run_program(*week, "--seed", seed, "--events", str(file), hash_seed=hash_seed)
        assert set(answer) >= KEYS
        digests.append(hashlib.sha256(file.read_bytes()).hexdigest())

    assert digests[0] == digests[1] != digests[2]
    rows = [json.loads(line) for line in (tmp_path / "1-1.jsonl").read_text().splitlines()]
    assert rows == sorted(rows, key=lambda row: row["at"])
    assert {"payment", "charge", "adjustment", "notice", "forecast", "observation"} <= {row["kind"] for row in rows}


@pytest.mark.parametrize(
    ("start", "days", "faults"),
    [("2026-08-03", 7, "normal"), ("2026-11-21", 9, "normal")],
)
def test_nobody_is_wronged_in_any_season(start: str, days: int, faults: str, tmp_path: Path) -> None:
    plan = Plan(10, days, date.fromisoformat(start), 7, faults=faults)

    answer, verdict = simulate(plan, None, tmp_path)

    assert good(answer), answer
    assert verdict.disconnects == answer["disconnects"]
    with open_for_reading(tmp_path / "edge.db") as database:
        assert list(books.audit(database)) == []


def test_people_are_cut_and_come_back(tmp_path: Path) -> None:
    answer, _ = simulate(Plan(20, 7, date(2026, 9, 14), 3), None, tmp_path)

    assert good(answer), answer
    assert answer["disconnects"] > 0
    assert answer["reconnects"] > 0
    assert answer["reconnect_seconds"]["max"] < 60


def test_the_cold_alone_keeps_power_on(tmp_path: Path) -> None:
    plan = Plan(12, 9, date(2026, 1, 12), 2, program="pso-prepay")

    answer, verdict = simulate(plan, tmp_path / "events.jsonl", tmp_path / "state")

    assert good(answer), answer
    with open_for_reading(tmp_path / "state" / "edge.db") as database:
        kept_on = database.execute("SELECT count(*) FROM decision WHERE codes = 'weather_cold'").fetchone()[0]
    assert kept_on > 0
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    cuts = [row for row in rows if (row["kind"], row.get("cause")) == ("relay", "credit")]
    assert len(cuts) == verdict.disconnects


def test_everything_fails_and_nobody_is_wronged(tmp_path: Path) -> None:
    plan = Plan(14, 8, date(2026, 9, 21), 5, faults="harsh")

    answer, _ = simulate(plan, tmp_path / "events.jsonl", None)

    assert good(answer), answer
    assert answer["disconnects"] > 0
    rows = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    faults = {row["fault"] for row in rows if row["kind"] == "fault"}
    assert faults >= {"dead", "stuck_relay", "silent", "away", "killed"}
    assert any(row["kind"] == "restart" for row in rows)
    assert any(row["kind"] == "relay" and row["cause"] == "foreign" for row in rows)


@pytest.mark.parametrize("start", ["2026-03-07", "2026-10-31"])
def test_days_of_23_and_25_hours_close_once(start: str, tmp_path: Path) -> None:
    plan = Plan(8, 3, date.fromisoformat(start), 5)

    answer, _ = simulate(plan, None, tmp_path)

    assert good(answer), answer
    with open_for_reading(tmp_path / "edge.db") as database:
        for account in customers.accounts(database):
            if not account.active:
                continue  # a protected customer has left the program
            closed = usage.days(database, account.account_id, plan.start, date(2027, 1, 1))
            assert [day.day for day in closed] == [date.fromisoformat(start), closed[1].day]
            assert closed[1].start_register_wh == closed[0].end_register_wh


def test_a_state_that_is_left_can_be_read_by_technicians(tmp_path: Path) -> None:
    run_program("--meters", "4", "--days", "3", "--start", "2026-09-14", "--state-dir", str(tmp_path))
    arguments = [
        str(METER_SIM.parent / "ami-edge"),
        "--config",
        str(tmp_path / "edge.toml"),
        "--state-dir",
        str(tmp_path),
    ]

    def read(*verb: str) -> Any:
        done = subprocess.run([*arguments, "--json", *verb], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert [account["account_id"] for account in read("accounts")] == [f"A-{n:05d}" for n in range(1, 5)]
    assert read("verify")["ok"] is True
    assert len(read("ledger", "A-00001")) == 3
    assert [meter["link"] for meter in read("meters")] == ["ok"] * 4
