"""What-if on money: answers of the contract's shape, and faults by file and line."""

from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge import rate_whatif
from edge.rate_whatif import UsageError
from edge.tariffs import load_tariffs

CHICAGO = ZoneInfo("America/Chicago")
TARIFFS = load_tariffs(Path(__file__).parents[2] / "config" / "tariffs")


def write(folder: Path, text: str) -> Path:
    file = folder / "use.csv"
    file.write_text(text)
    return file


def rate_faults(folder: Path, text: str, tariff: str = "flat") -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        rate_whatif.rate(TARIFFS[tariff], write(folder, text), CHICAGO)
    return caught.value.faults


def test_rate_by_day(tmp_path: Path):
    rows = "".join(f"{date(2026, 1, 30) + timedelta(days=index)},20\n" for index in range(4))
    answer = rate_whatif.rate(TARIFFS["flat"], write(tmp_path, "day,kwh\n" + rows), CHICAGO)
    assert answer["days"] == [
        {"day": "2026-01-30", "kwh": "20.000", "charge": "2.27"},
        {"day": "2026-01-31", "kwh": "20.000", "charge": "2.28"},
        {"day": "2026-02-01", "kwh": "20.000", "charge": "2.31"},
        {"day": "2026-02-02", "kwh": "20.000", "charge": "2.30"},
    ]
    assert answer["months"] == [
        {"month": "2026-01", "kwh": "40.000", "prepaid_total": "4.55", "postpaid_bill": "4.55"},
        {"month": "2026-02", "kwh": "40.000", "prepaid_total": "4.61", "postpaid_bill": "4.61"},
    ]


def test_rate_by_interval_with_and_without_offset_on_the_longest_day(tmp_path: Path):
    offsets = "start,kwh\n2026-11-01T00:00:00-05:00,1\n2026-11-01T01:00:00-05:00,1\n2026-11-01T01:00:00-06:00,1\n"
    wall = "start,kwh\n2026-11-01T00:00,1\n2026-11-01T01:00,1\n2026-11-01T01:00,1\n"
    answers = [rate_whatif.rate(TARIFFS["time-of-use"], write(tmp_path, text), CHICAGO) for text in (offsets, wall)]
    assert answers[0] == answers[1]
    assert answers[0]["months"] == [
        # 3 kWh x 6.40 c, 13.00 / 30, fuel 3 x 2.88 c, 3 % of 0.71
        {"month": "2026-11", "kwh": "3.000", "prepaid_total": "0.73", "postpaid_bill": "0.73"}
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "use.csv: line 1: the heading must be day,kwh or start,kwh, not empty"),
        ("date,kwh\n2026-01-01,1\n", "use.csv: line 1: the heading must be day,kwh or start,kwh, not date,kwh"),
        ("day,kwh\n", "use.csv: there are no rows below the heading"),
        ("day,kwh\n2026-01-01,1\n\n2026-02-30,1\n", "use.csv: line 4: '2026-02-30' is not a day such as 2026-01-31"),
        ("day,kwh\n2026-01-01,-1\n", "use.csv: line 2: '-1' is not a use in kWh such as 31.25"),
        ("day,kwh\n9999-12-31,1\n", "use.csv: line 2: '9999-12-31' is not a day such as 2026-01-31"),
        (
            "start,kwh\n0001-01-01T00:00:00+06:00,1\n",
            "use.csv: line 2: '0001-01-01T00:00:00+06:00' is not a time such as",
        ),
        ("day,kwh\n2026-01-01,.\n", "use.csv: line 2: '.' is not a use in kWh such as 31.25"),
        ("day,kwh\n2026-01-01,nan\n", "use.csv: line 2: 'nan' is not a use in kWh such as 31.25"),
        ("day,kwh\n2026-01-01,1\n2026-01-01,1\n", "use.csv: line 3: 2026-01-01 comes twice"),
        ("day,kwh\n2026-01-01\n", "use.csv: line 2: 1 cells where the heading has 2"),
        ("day,kwh\n1999-12-31,1\n", "use.csv: line 2: tariff flat has no prices for 1999-12-31"),
        ("start,kwh\nnoon,1\n", "use.csv: line 2: 'noon' is not a time such as 2026-01-31T14:00:00-06:00"),
        (
            "start,kwh\n2026-01-01T00:00:00Z,1\n2025-12-31T18:00:00-06:00,1\n",
            "use.csv: line 3: the interval 2025-12-31T18:00:00-06:00 comes twice",
        ),
        ('day,kwh\n2026-01-01,"1\n', "use.csv: line 2: "),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, text: str, said: str):
    (found,) = rate_faults(tmp_path, text)
    assert found.startswith(said)


def test_all_broken_rows_are_told(tmp_path: Path):
    assert len(rate_faults(tmp_path, "day,kwh\nx,1\n2026-01-01,y\n2026-01-02,3\n")) == 2


def test_time_of_use_needs_intervals(tmp_path: Path):
    (found,) = rate_faults(tmp_path, "day,kwh\n2026-07-01,1\n", "time-of-use")
    assert found == "use.csv: line 2: tariff time-of-use prices 2026-07-01 by time of use: give columns start,kwh"


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read"):
        rate_whatif.rate(TARIFFS["flat"], tmp_path / "none.csv", CHICAGO)
    (tmp_path / "use.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        rate_whatif.rate(TARIFFS["flat"], tmp_path / "use.csv", CHICAGO)


@pytest.mark.parametrize(
    ("text", "wh"), [("1", 1000), ("0.0004", 0), ("0.0005", 1), ("12.3456", 12_346), ("7.1", 7_100), (".5", 500)]
)
def test_kwh_become_wh(text: str, wh: int):
    assert rate_whatif.parse_wh(text) == wh


def test_estimate(tmp_path: Path):
    file = write(
        tmp_path,
        "day,kwh,quality\n2026-01-01,10.00,actual\n2026-01-02,10.00,customer\n2026-01-03,10.014,actual\n"
        "2026-01-04,,estimated\n2026-01-05,99,estimated\n",
    )
    assert rate_whatif.estimate(file, date(2026, 1, 6)) == {
        "kwh": "10.00",
        "method": "three_prior_days",
        "days_used": ["2026-01-01", "2026-01-02", "2026-01-03"],
    }
    assert rate_whatif.estimate(file, date(2026, 1, 2)) == {"kwh": None, "method": "manual", "days_used": []}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2026-01-01,1,guess", "line 2: 'guess' is not one of actual, customer, estimated"),
        ("2026-01-01,,actual", "line 2: '' is not a use in kWh"),
    ],
)
def test_faults_of_a_history(tmp_path: Path, row: str, said: str):
    with pytest.raises(UsageError, match=said):
        rate_whatif.estimate(write(tmp_path, f"day,kwh,quality\n{row}\n"), date(2026, 1, 2))


def thirty_per_cent(amount: int, _balance: int, arrears: int) -> tuple[int, int]:
    to_arrears = min(amount * 30 // 100, arrears)
    return to_arrears, amount - to_arrears


def test_payment_of_the_seed():
    # Seed 002, PSO, message C: $30, $9 toward arrears, $21 to the balance.
    answer = rate_whatif.payment("30", "-1.37", "120.00", thirty_per_cent, lambda _amount, balance: balance > 0)
    assert answer == {
        "to_arrears": "9.00",
        "to_balance": "21.00",
        "balance": "19.63",
        "arrears": "111.00",
        "reconnects": True,
    }


def test_payment_that_is_not_enough():
    answer = rate_whatif.payment("10", "-7.00", "1.00", thirty_per_cent, lambda _amount, balance: balance > 2_00)
    assert (answer["to_arrears"], answer["balance"], answer["reconnects"]) == ("1.00", "2.00", False)


def test_faults_of_a_payment():
    with pytest.raises(UsageError) as caught:
        rate_whatif.payment("0", "1.234", "-1", thirty_per_cent, lambda _amount, _balance: True)
    assert [fault.split(" - ")[0] for fault in caught.value.faults] == ["balance", "amount", "arrears"]
