"""Tariff files: what ships loads and prices as it says; every fault is told, by file and key."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from edge.core.rating import DayUsage, bill
from edge.tariffs import TariffError, find_tariff, load_tariff, load_tariffs, parse_tariff

SHIPPED = Path(__file__).parents[2] / "config" / "tariffs"
GOOD = """
[[versions]]
effective = 2020-01-01
energy_per_kwh = "0.10"
"""


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(TariffError) as caught:
        parse_tariff(tomllib.loads(text), "x.toml")
    return caught.value.faults


def test_what_ships():
    tariffs = load_tariffs(SHIPPED)
    assert set(tariffs) == {"flat", "seasonal-tiers", "time-of-use"}
    assert [name for name, tariff in tariffs.items() if tariff.time_of_use] == ["time-of-use"]


def test_flat_as_it_ships():
    usage = [DayUsage(date(2026, 2, 1), 28 * 20_000, days=28)]
    assert dict(bill(load_tariffs(SHIPPED)["flat"], usage).lines) == {"energy": 5460, "customer_charge": 1000}


def test_seasonal_tiers_as_they_ship():
    usage = [DayUsage(date(2026, 7, 1), 1_500_000, days=31)]
    assert dict(bill(load_tariffs(SHIPPED)["seasonal-tiers"], usage).lines) == {
        "energy": 12_023,  # 600 x 7.12 + 800 x 8.45 + 100 x 9.91 c
        "customer_charge": 1300,
        "fuel": 4314,
        "rider:storm": 170,  # 1.7025
        "tax:franchise": 534,  # 3 % of 178.07
        "tax:sales": 775,  # 4.35 % of 178.07 = 7.746
    }


def test_time_of_use_as_it_ships():
    tariff = load_tariffs(SHIPPED)["time-of-use"]
    usage = [DayUsage(date(2026, 7, 1), 30_000, (("on_peak", 10_000), ("off_peak", 20_000)))]
    assert dict(bill(tariff, usage).lines) == {
        "energy:on_peak": 210,
        "energy:off_peak": 102,
        "customer_charge": 42,
        "fuel": 86,
        "tax:franchise": 13,
    }


def test_riders_begin_and_end():
    text = GOOD + '[[riders]]\nname = "a"\neffective = 2026-01-02\nuntil = 2026-01-04\nper_kwh = "1"\n'
    usage = [DayUsage(date(2026, 1, day), 1000) for day in (1, 2, 3, 4)]
    assert dict(bill(parse_tariff(tomllib.loads(text), "x.toml"), usage).lines) == {"energy": 40, "rider:a": 200}


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("0.0977", '0.0977 is a number: write it as text in quotes, such as "0.0975", so that it stays exact'),
        ("1", "1 is a number"),
        ('"9.77c"', "'9.77c' is not a decimal text"),
        ('"1e-3"', "'1e-3' is not a decimal text"),
        ('"0.0000001"', "'0.0000001' has more than 6 decimals"),
        ("true", "True is not a decimal text"),
    ],
)
def test_prices_are_decimal_text(price: str, said: str):
    (found,) = faults(GOOD.replace('"0.10"', price))
    assert found.startswith(f"x.toml: versions.0.energy_per_kwh - {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "versions - Field required"),
        ("versions = []", "versions - List should have at least 1 item"),
        (GOOD + 'reconnect_fee = "10.00"', "versions.0.reconnect_fee - is not a known key"),
        (GOOD + 'customer_charge_per_month = "-1"', "versions.0.customer_charge_per_month - "),
        (GOOD + 'holidays = ["boxing_day"]', "'boxing_day' is neither a date nor one of new_years_day"),
        (GOOD + GOOD, "versions - effective must rise"),
        (GOOD + '[[versions.seasons]]\nenergy_per_kwh = "1"', "give either energy_per_kwh or seasons"),
        (
            GOOD + '[[versions.taxes]]\nname = "a"\npercent = "101"',
            "versions.0.taxes.0.percent - '101' is not from 0 to 100 per cent",
        ),
        (GOOD + '[[fuel]]\nper_kwh = "1"', "fuel.0.effective - Field required"),
        (
            GOOD + '[[riders]]\nname = "a"\neffective = 2026-01-02\nuntil = 2026-01-02\nper_kwh = "1"',
            "riders - a overlaps itself or is out of order",
        ),
    ],
)
def test_faults_of_a_file(text: str, said: str):
    assert any(said in fault for fault in faults(text))


@pytest.mark.parametrize(
    ("season", "said"),
    [
        ('energy_per_kwh = "1"\ntiers = [{ per_kwh = "1" }]', "exactly one of energy_per_kwh, tiers and periods"),
        ('tiers = [{ up_to_kwh = 5, per_kwh = "1" }]', "the last has none"),
        (
            'tiers = [{ up_to_kwh = 5, per_kwh = "1" }, { up_to_kwh = 5, per_kwh = "1" }, { per_kwh = "1" }]',
            "must rise",
        ),
        ('begins = "04-31"\nenergy_per_kwh = "1"', "'04-31' is not a month and day"),
        ('begins = "02-29"\nenergy_per_kwh = "1"', "'02-29' is not a month and day"),
        ('begins = "06-31"\nenergy_per_kwh = "1"', "seasons.0.begins - '06-31' is not a month and day"),
        ('begins = "6-1"\nenergy_per_kwh = "1"', "'6-1' is not a month and day"),
        ('energy_per_kwh = "1"\nother_hours = "a"', "belong to periods"),
        ('periods = { a = "1" }', "other_hours - names one of periods"),
        (
            'periods = { a = "1" }\nother_hours = "a"\n'
            'hours = [{ days = ["weekday"], start = 09:00:00, end = 10:00:00, period = "b" }]',
            "no price for the period 'b'",
        ),
        (
            'periods = { a = "1" }\nother_hours = "a"\n'
            'hours = [{ days = ["weekday"], start = 22:00:00, end = 06:00:00, period = "a" }]',
            "write hours over midnight as two",
        ),
        (
            'periods = { a = "1", b = "1" }\nother_hours = "a"\n'
            'hours = [{ days = ["weekday"], start = 09:00:00, end = 12:00:00, period = "a" },'
            ' { days = ["weekday", "holiday"], start = 11:00:00, end = 00:00:00, period = "b" }]',
            "hours - b and a overlap",
        ),
    ],
)
def test_faults_of_a_season(season: str, said: str):
    text = f"[[versions]]\neffective = 2020-01-01\n[[versions.seasons]]\n{season}\n"
    assert any(fault.startswith("x.toml: versions.0.seasons.0") and said in fault for fault in faults(text))


def test_all_faults_of_all_files_at_once(tmp_path: Path):
    (tmp_path / "a.toml").write_text(GOOD.replace('"0.10"', "0.10") + 'fee = "1"\n')
    (tmp_path / "b.toml").write_text("versions = [")
    (tmp_path / "c.toml").write_text(GOOD)
    with pytest.raises(TariffError) as caught:
        load_tariffs(tmp_path)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["a.toml", "a.toml", "b.toml"]


def test_the_first_folder_counts(tmp_path: Path):
    (tmp_path / "flat.toml").write_text(GOOD)
    found = load_tariffs(tmp_path, SHIPPED, tmp_path / "missing")
    assert found["flat"].versions[0].effective == date(2020, 1, 1)
    assert "time-of-use" in found


def test_a_tariff_by_name_or_by_file(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(GOOD)
    assert find_tariff(str(file), SHIPPED).name == load_tariff(file).name == "own"
    assert find_tariff("flat", SHIPPED).name == "flat"
    with pytest.raises(TariffError, match="no tariff 'fat': known are flat, seasonal-tiers, time-of-use"):
        find_tariff("fat", SHIPPED)
    with pytest.raises(TariffError, match="cannot be read"):
        find_tariff(str(tmp_path / "none.toml"), SHIPPED)
