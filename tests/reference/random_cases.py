"""Seeded random cases around every edge of the rules: times, days, thresholds, and facts that are missing or wrong."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
FOLDER = Path(__file__).parent.parent / "data" / "cases"
BASE: Json = json.loads((FOLDER / "base.json").read_text(encoding="utf-8"))
PROGRAMS = ("default", "oge-pay-as-you-go", "pso-prepay", "oec-prepaid", "lake-region", "strict", "missouri")
ZONES = ("America/Chicago",) * 5 + ("America/New_York", "America/Denver", "America/Phoenix")
DAYS = (
    *("2026-10-14", "2026-10-15", "2026-10-16", "2026-10-17", "2026-10-18", "2026-10-12", "2026-10-11"),  # Columbus Day
    *("2026-03-07", "2026-03-08", "2026-03-09", "2026-03-06", "2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02"),
    *("2026-07-01", "2026-07-02", "2026-07-03", "2026-07-04", "2026-07-06", "2027-07-02", "2027-07-05", "2027-07-06"),
    *("2026-12-23", "2026-12-24", "2026-12-25", "2026-12-28", "2026-12-31", "2027-01-01", "2027-01-04"),
    *("2027-12-23", "2027-12-24", "2027-12-30", "2027-12-31", "2028-01-03", "2028-02-29", "2026-02-28", "2027-02-12"),
    *("2026-11-10", "2026-11-11", "2026-11-25", "2026-11-26", "2026-11-27", "2026-11-30", "2026-05-07", "2026-05-08"),
    *("2026-03-31", "2026-04-01", "2026-05-29", "2026-06-01", "2026-06-18", "2026-06-19", "2026-09-30", "2026-10-01"),
)
CLOCKS = (
    *("00:00:00", "05:59:59", "06:00:00", "07:59:59", "08:00:00", "08:00:01", "09:00:00", "10:30:00", "11:58:00"),
    *("11:59:39", "11:59:40", "11:59:59", "12:00:00", "12:00:01", "14:27:59", "14:28:00", "14:29:40", "14:29:59"),
    *("14:30:00", "15:29:59", "15:30:00", "18:00:00", "22:00:00", "23:59:59"),
)
NONSENSE: tuple[Any, ...] = (None, "", "soon", -1, 3.5, True, [], {}, ["x"], "2026-13-45T00:00:00Z", "2026-10-14")
GAPS = (0, 1, 59, 60, 899, 900, 901, 3600, 7199, 7200, 7201, 43_200, 86_399, 86_400, 86_401, 172_800, 604_800)


def nonsense(random: Random) -> Any:
    """A value that is no fact."""
    return deepcopy(random.choice(NONSENSE))


def moment_near(random: Random, now: datetime, zone: ZoneInfo) -> str:
    """A time some edge away from now, before or after, or an edge of a civil day nearby; in one offset or another."""
    if random.random() < 0.6:
        moment = now + random.choice((-1, -1, 1)) * timedelta(seconds=random.choice(GAPS))
    else:
        day = now.astimezone(zone).date() + timedelta(days=random.randint(-4, 6))
        moment = datetime.combine(day, time.fromisoformat(random.choice(CLOCKS)), zone)
    return moment.astimezone(random.choice((zone, UTC))).isoformat()


def routine_case(random: Random) -> Json:
    """The base case at a random instant and program, with everything of the routine renewed by then."""
    zone = ZoneInfo(random.choice(ZONES))
    day = date.fromisoformat(random.choice(DAYS))
    clock = "09:00:00" if random.random() < 0.4 else random.choice(CLOCKS)
    now = datetime.combine(day, time.fromisoformat(clock), zone)
    first = now.astimezone(UTC).replace(minute=0, second=0) - timedelta(hours=random.choice((0, 0, 1, 2)))
    case = deepcopy(BASE)
    case |= {"now": now.isoformat(), "timezone": zone.key, "program": random.choice(PROGRAMS)}
    case["account"] |= {
        "zero_notice_delivered_at": (now - timedelta(days=5)).isoformat(),
        "last_actual_read_at": (now - timedelta(minutes=15)).isoformat(),
        "last_closed_day": (day - timedelta(days=1)).isoformat(),
    }
    case["weather"] |= {
        "fetched_at": min(now, datetime.combine(day, time(6, 30), zone)).isoformat(),
        "first_hour": first.isoformat(),
        "observed": {"at": (now - timedelta(minutes=7)).isoformat(), "temperature_f": 54, "heat_index_f": 54},
    }
    case["gateway"]["payments_feed_seen_at"] = (now - timedelta(minutes=1)).isoformat()
    return case


def money(random: Random, *usual: str) -> Any:
    """An amount: one of the usual ones, or any."""
    return random.choice((*usual, f"{random.randint(-3000, 3000) / 100:.2f}"))


def change_account(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """Another balance, debt, protection, notice, read or closed day."""
    account = case["account"]
    day = now.astimezone(zone).date() + timedelta(days=random.randint(-3, 1))
    protections: tuple[Any, ...] = (
        [],
        ["medical"],
        ["elderly_disabled", "life_support"],
        ["x"],
        "medical",
        ["x", "medical"],
    )
    changes: dict[str, Callable[[], Any]] = {
        "enrolled": lambda: random.choice((True, False, None)),
        "balance": lambda: money(random, "0.00", "0.01", "-0.01", "9.99", "10.00", "25.00"),
        "arrears": lambda: money(random, "0.00", "250.00", "0.01", "1.00"),
        "protected": lambda: random.choice(protections),
        "zero_notice_delivered_at": lambda: moment_near(random, now, zone),
        "returned_payment_notice_at": lambda: moment_near(random, now, zone),
        "payments_since_disconnect": lambda: money(random, "0.00", "24.99", "25.00", "10.00"),
        "last_actual_read_at": lambda: moment_near(random, now, zone),
        "balance_rests_on_estimates": lambda: random.choice((True, False)),
        "last_closed_day": lambda: day.isoformat(),
    }
    key = random.choice(sorted(changes))
    account[key] = changes[key]()


def change_relay(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """A switch in another state, most often ours and open, with money that may or may not do."""
    case["meter"]["relay"] = random.choice(("disconnected", "disconnected", "disconnected_other", "unknown", "x", None))
    case["account"]["balance"] = money(random, "0.00", "0.01", "-8.00", "7.00", "9.99", "10.00")
    case["account"]["arrears"] = money(random, "0.00", "250.00", "2.00", "0.01")
    case["account"]["payments_since_disconnect"] = money(random, "0.00", "24.99", "25.00", "10.00")


def change_switching(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """Another switch, a longer confirmation, or another state of the gateway."""
    meter, gateway = case["meter"], case["gateway"]
    change = random.randrange(6)
    if change == 0:
        meter["remote_disconnect"] = random.choice((True, False, "yes"))
    elif change < 3:
        meter["confirm_seconds"] = random.choice((0, 1, 20, 20.5, 119, 120, 121, 3600, 14_400, 14_401, 20_000, 90_000))
    elif change == 3:
        gateway["payments_feed_seen_at"] = moment_near(random, now, zone)
    elif change == 4:
        gateway["disconnects_left"] = random.choice((0, 1, -1, 50))
    else:
        gateway[random.choice(("clock_trusted", "shadow_mode"))] = random.choice((True, False))


def change_records(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """Holds or ordered moratoriums: over, in force, to come, open-ended, or of no sense."""
    records: list[Any] = []
    orders = random.random() < 0.4
    for _ in range(random.choice((1, 1, 2))):
        times = [moment_near(random, now, zone), moment_near(random, now, zone)]
        if random.random() < 0.9:
            times.sort(key=datetime.fromisoformat)
        record: Json = {"from": times[0], "until": times[1]}
        if random.random() < 0.3:
            record["until"] = None
        record |= (
            {"order": "PUD 1"}
            if orders
            else {"kind": random.choice(("dispute", "settlement", "aid_pending", "operator"))}
        )
        if random.random() < 0.1:
            record[random.choice(sorted(record))] = nonsense(random)
        if random.random() < 0.1:
            del record[random.choice(sorted(record))]
        records.append(record if random.random() < 0.96 else nonsense(random))
    if orders:
        case["moratoriums"] = records
        if random.random() < 0.5:
            case["program"] = "strict"
            case["account"]["zero_notice_delivered_at"] = moment_near(random, now, zone)
    else:
        case["account"]["holds"] = records


def change_weather(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """Cold or hot hours at a threshold, gaps and short series, other hours and times of fetch, alerts."""
    weather = case.get("weather")
    if not isinstance(weather, dict):
        return
    temperatures = (
        31.99,
        32,
        32.0,
        31.995,
        31.994,
        32.004,
        32.01,
        20,
        19.99,
        95,
        95.004,
        95.005,
        95.01,
        96,
        None,
        -40,
        115,
    )
    indices = (100.99, 100.994, 100.995, 101, 101.0, 102, 105, 105.004, 105.01, 106, 96, None, 130)
    change = random.randrange(9)
    if change < 2:
        series = list(BASE["weather"]["temperature_f"])
        series[random.choice((0, 1, 2, 3, 23, 24, 25, 26, 27, 70, 71, 72, 73, 74, 75, 100))] = random.choice(
            temperatures
        )
        weather["temperature_f"] = series
    elif change < 4:
        series = list(BASE["weather"]["heat_index_f"])
        series[random.choice((0, 1, 2, 8, 14, 15, 16, 17, 18, 23, 24, 25, 71, 72, 73, 74, 100))] = random.choice(
            indices
        )
        weather["heat_index_f"] = series
    elif change == 4:
        key = random.choice(("temperature_f", "heat_index_f"))
        weather[key] = BASE["weather"][key][: random.choice((0, 1, 10, 15, 23, 24, 25, 26, 71, 72, 73, 74, 75))]
    elif change == 5:
        shift = random.choice((-7200, -3600, -1800, -61, 0, 1, 600, 1800, 3600, -86_400, -172_800, 86_400))
        weather["first_hour"] = (now + timedelta(seconds=shift)).isoformat()
    elif change == 6:
        weather["fetched_at"] = moment_near(random, now, zone)
    elif change == 7:
        weather["observed"] = {
            "at": moment_near(random, now, zone) if random.random() < 0.5 else (now - timedelta(minutes=5)).isoformat(),
            "temperature_f": random.choice(temperatures),
            "heat_index_f": random.choice(indices),
        }
    else:
        names = ("Heat Advisory", "Excessive Heat Warning", "Extreme Heat Watch", "Flood Watch", "Winter Storm Warning")
        weather["alerts"] = random.choice(([], [random.choice(names)], list(names), [3], "Heat Advisory", None))


def change_program(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """A key of the program overridden."""
    overrides: Json = {
        "disconnect.trip": random.choice(("zero", "negative")),
        "disconnect.grace": random.choice(("next_day", "hours", "later")),
        "disconnect.grace_hours": random.choice((1, 24, 48, 72)),
        "disconnect.guard_seconds": random.choice((0, 60, 120, 600, 7200)),
        "disconnect.day_before_holiday": random.choice(("noon", "block", "normal")),
        "disconnect.max_read_age_hours": random.choice((1, 24, 36)),
        "disconnect.max_payment_feed_age_minutes": random.choice((1, 15, 60)),
        "disconnect.notice_after_moratorium": random.choice((True, False)),
        "arrears.share": random.choice((0.3, 0.0, 0.5, 0.01)),
        "arrears.first": random.choice((True, False)),
    }
    for key in random.sample(sorted(overrides), random.choice((1, 2, 6))):
        case["set"][key] = overrides[key]


def spoil(random: Random, case: Json, now: datetime, zone: ZoneInfo) -> None:
    """A fact, or a whole section of facts, that is missing or makes no sense."""
    name = random.choice(("account", "meter", "gateway", "weather", "moratoriums"))
    section, key = case, name
    if name != "moratoriums" and random.random() < 0.9:
        section = case.get(name, {})
        if not isinstance(section, dict) or not section:
            return
        key = random.choice(sorted(section))
    if random.random() < 0.4:
        section.pop(key, None)
    else:
        section[key] = nonsense(random)


CHANGES = (
    *(change_account, change_account, change_relay, change_switching, change_records),
    *(change_weather, change_weather, change_program, spoil),
)


def random_case(random: Random) -> Json:
    """One case: the routine at some instant, changed in up to three ways; `now` and `timezone` stay well formed."""
    case = routine_case(random)
    now, zone = datetime.fromisoformat(case["now"]), ZoneInfo(case["timezone"])
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3))):
        change = random.choice(CHANGES)
        if all(isinstance(case.get(name), dict) for name in ("account", "meter", "gateway")) or change is spoil:
            change(random, case, now, zone)
    return case
