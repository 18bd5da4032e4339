"""``ami-edge whatif`` as a program: what use costs, what a day is estimated at, how a payment is split."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AMI_EDGE = Path(sys.executable).parent / "ami-edge"
CONFIG = Path(__file__).parents[2] / "config"


def whatif(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [str(AMI_EDGE), "--config", str(CONFIG / "edge.toml"), "whatif", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def asked(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(whatif(*arguments, "--json").stdout)
    return answer


def test_rate_by_name_and_by_file(tmp_path: Path) -> None:
    use = tmp_path / "use.csv"
    use.write_text("day,kwh\n2026-01-30,20\n2026-01-31,20\n")

    by_name = asked("rate", "--tariff", "flat", "--usage", str(use))
    by_file = asked("rate", "--tariff", str(CONFIG / "tariffs" / "flat.toml"), "--usage", str(use))

    assert by_name["days"] == by_file["days"] != []
    assert by_name["months"] == [
        {"month": "2026-01", "kwh": "40.000", "prepaid_total": "4.55", "postpaid_bill": "4.55"}
    ]
    table = whatif("rate", "--tariff", "flat", "--usage", str(use)).stdout
    assert [line.split() for line in table.splitlines()][:2] == [
        ["day", "kwh", "charge"],
        ["2026-01-30", "20.000", by_name["days"][0]["charge"]],
    ]
    assert "2026-01  40.000" in table


def test_estimate(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("day,kwh,quality\n2026-03-01,10,actual\n2026-03-02,20,actual\n2026-03-03,31.01,customer\n")

    found = asked("estimate", "--history", str(history), "--day", "2026-03-04")
    assert found == {
        "kwh": "20.34",
        "method": "three_prior_days",
        "days_used": ["2026-03-01", "2026-03-02", "2026-03-03"],
    }
    assert "three_prior_days" in whatif("estimate", "--history", str(history), "--day", "2026-03-04").stdout


PAYMENT = ("payment", "--amount", "25.00", "--balance", "-3.20", "--arrears", "100.00")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ("7.50", "17.50", "14.30", "92.50", True)),
        (("--program", "oge-pay-as-you-go", "--amount", "24.99"), ("7.49", "17.50", "14.30", "92.51", False)),
        (("--program", "oec-prepaid", "--amount", "18.00"), ("5.40", "12.60", "9.40", "94.60", False)),
        (("--set", "arrears.share=0.5"), ("12.50", "12.50", "9.30", "87.50", True)),
        (("--balance", "-17.50"), ("7.50", "17.50", "0.00", "92.50", False)),
    ],
)
def test_payment(arguments: tuple[str, ...], expected: tuple[str, str, str, str, bool]) -> None:
    found = asked(*PAYMENT, *arguments)
    assert tuple(found[key] for key in ("to_arrears", "to_balance", "balance", "arrears", "reconnects")) == expected


def test_what_cannot_be_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "use.csv"
    broken.write_text("day,kwh\n2026-01-30,much\n")
    missing = str(tmp_path / "none.csv")
    refused = {
        ("rate", "--tariff", "flat", "--usage", str(broken)): "use.csv: line 2: 'much' is not a use in kWh",
        ("rate", "--tariff", "flat", "--usage", missing): "none.csv: cannot be read",
        ("rate", "--tariff", "cheap", "--usage", str(broken)): "there is no tariff 'cheap'",
        ("rate", "--tariff", str(tmp_path / "t.toml"), "--usage", str(broken)): "t.toml",
        ("estimate", "--history", str(broken), "--day", "2026-01-30"): "use.csv: line 1: the heading must be",
        ("estimate", "--history", str(broken), "--day", "yesterday"): "--day - 'yesterday' is not a day",
        (*PAYMENT, "--amount", "0.00"): "amount - a payment is above zero",
        (*PAYMENT, "--balance", "much"): "balance - ",
        (*PAYMENT, "--program", "none"): "there is no program 'none'",
        (*PAYMENT, "--set", "arrears.shares=1"): "arrears.shares",
        ("payment", "--amount", "5.00"): "--balance",
    }
    for arguments, told in refused.items():
        done = whatif(*arguments, code=2)
        assert told in done.stderr
        assert done.stdout == ""
