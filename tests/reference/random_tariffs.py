"""Random tariff files and random months of use, by seed: every form that a tariff file can have, and odd months."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from random import Random

from tests.reference.billing import NAMED_HOLIDAYS, Biller, Use

ALWAYS = date(2020, 1, 1)
FORMS = ("flat", "tiers", "hours")


def random_tariff(chance: Random, about: date, forms: tuple[str, ...] = FORMS) -> str:
    """A tariff file as TOML; versions, seasons and riders tend to change in the month of ``about``."""
    first = about.replace(day=1)
    changes = sorted({first + timedelta(days=chance.randrange(1, 28)) for _ in range(chance.choice((0, 0, 1, 2)))})
    parts = [_version(chance, effective, about, forms) for effective in (ALWAYS, *changes)]
    for effective in sorted({ALWAYS, first + timedelta(days=chance.randrange(31))} if chance.random() < 0.7 else ()):
        parts.append(f'[[fuel]]\neffective = {effective}\nper_kwh = "{_price(chance)}"')
    for name in chance.sample(("storm", "grid", "green"), chance.choice((0, 0, 1, 2))):
        parts.append(_rider(chance, name, first))
    return "\n\n".join(parts) + "\n"


def random_use(chance: Random, biller: Biller, about: date) -> dict[date, Use]:
    """Use of a run of days in the month of ``about``; by intervals wherever that day is priced by the hour."""
    first = about.replace(day=1)
    days = [first + timedelta(days=index) for index in range(31)]
    days = [day for day in days if day.month == first.month]
    if chance.random() < 0.5:  # enrolled late, or left early
        days = days[chance.randrange(len(days)) :]
        days = days[: chance.randrange(len(days)) + 1]
    most = chance.choice((300, 3_000, 40_000, 90_000))
    return {day: _use_of_day(chance, biller, day, most) for day in days}


def instants(day: date, zone: tzinfo, minutes: int) -> list[datetime]:
    """The starts, in UTC, of a civil day's intervals of so many minutes: those of 23, 24 or 25 hours."""
    start, end = (datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + timedelta(days=1)))
    return [start + timedelta(minutes=minutes * index) for index in range((end - start) // timedelta(minutes=minutes))]


def _use_of_day(chance: Random, biller: Biller, day: date, most: int) -> Use:
    if "periods" not in biller.season(day):
        return Use(chance.choice((0, chance.randrange(most), 1000 * chance.randrange(1 + most // 1000))))
    starts = instants(day, biller.zone, chance.choice((15, 30, 60)))
    intervals = [(start, chance.randrange(1 + 2 * most // len(starts))) for start in starts]
    return Use(sum(wh for _, wh in intervals), tuple(intervals))


def _price(chance: Random) -> str:
    """A price per kWh; round ones meet the half cent, a few are below zero."""
    sign = "-" if chance.random() < 0.1 else ""
    return sign + chance.choice((f"0.{chance.randrange(300_000):06d}", f"0.{chance.randrange(60) * 5:03d}", "0.125"))


def _monthly(chance: Random) -> str:
    return chance.choice(("0.00", f"{chance.randrange(30)}.{chance.randrange(100):02d}", f"{chance.randrange(31)}"))


def _version(chance: Random, effective: date, about: date, forms: tuple[str, ...]) -> str:
    lines = ["[[versions]]", f"effective = {effective}"]
    if chance.random() < 0.7:
        lines.append(f'customer_charge_per_month = "{_monthly(chance)}"')
    if chance.random() < 0.4:
        lines.append(f'minimum_per_month = "{_monthly(chance)}"')
    if chance.random() < 0.3:
        lines.append(f'unmetered_per_day = "{chance.choice(("0.25", "0.333333", "0.4"))}"')
    if chance.random() < 0.7:
        names = [f'"{name}"' for name in chance.sample(sorted(NAMED_HOLIDAYS), 4)]
        lines.append(f"holidays = [{', '.join([*names, str(about + timedelta(days=chance.randrange(-3, 4)))])}]")
    if forms == ("flat",) or ("flat" in forms and chance.random() < 0.2):
        lines.append(f'energy_per_kwh = "{_price(chance)}"')
    else:
        inside = f"{about.month:02d}-{chance.randrange(1, 29):02d}"
        other = f"{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
        begins = {inside, other} if chance.random() < 0.7 else {other}
        lines += [_season(chance, each, chance.choice(forms)) for each in sorted(begins)]
    for name in chance.sample(("city", "sales", "franchise"), chance.choice((0, 1, 2, 3))):
        percent = chance.choice(
            ("3", "4.35", "0.125", "12.5", f"{chance.randrange(20)}.{chance.randrange(10_000):04d}")
        )
        lines.append(f'[[versions.taxes]]\nname = "{name}"\npercent = "{percent}"')
        if (rounding := chance.choice(("", "half_up", "down", "up"))) != "":
            lines.append(f'rounding = "{rounding}"')
    return "\n".join(lines)


def _season(chance: Random, begins: str, form: str) -> str:
    head = f'[[versions.seasons]]\nname = "from-{begins}"\nbegins = "{begins}"\n'
    if form == "flat":
        return head + f'energy_per_kwh = "{_price(chance)}"'
    if form == "tiers":
        limits = sorted(chance.sample((1, 7, 30, 100, 310, 600, 1400), chance.randrange(4)))
        tiers = [f'{{ up_to_kwh = {limit}, per_kwh = "{_price(chance)}" }}' for limit in limits]
        last = f'{{ per_kwh = "{_price(chance)}" }}'
        return head + f"tiers = [{', '.join([*tiers, last])}]"
    periods = ", ".join(f'{name} = "{_price(chance)}"' for name in ("on_peak", "shoulder", "off_peak"))
    return head + f'periods = {{ {periods} }}\nother_hours = "off_peak"\nhours = [{", ".join(_hours(chance))}]'


def _hours(chance: Random) -> list[str]:
    """Bands that do not overlap, on all kinds of day or on some; bounds are quarters, in the small hours often."""
    found: list[str] = []
    kinds = [("weekday",), ("weekend", "holiday")] if chance.random() < 0.7 else [("weekday", "weekend", "holiday")]
    for days in kinds:
        quarters = (0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 28, 56, 57, 76, 88, 96)
        bounds = sorted(chance.sample(quarters, chance.choice((0, 2, 4))))
        for start, end in zip(bounds[::2], bounds[1::2], strict=True):
            listed = ", ".join(f'"{day}"' for day in days)
            period = chance.choice(("on_peak", "shoulder"))
            span = f"start = {_clock(start)}, end = {_clock(end % 96)}"
            found.append(f'{{ days = [{listed}], {span}, period = "{period}" }}')
    return found


def _clock(quarter: int) -> str:
    return f"{quarter // 4:02d}:{quarter % 4 * 15:02d}:00"


def _rider(chance: Random, name: str, first: date) -> str:
    begins = first + timedelta(days=chance.randrange(-3, 25))
    ends = begins + timedelta(days=chance.randrange(1, 20))
    until = f"until = {ends}\n" if chance.random() < 0.6 else ""
    step = f'[[riders]]\nname = "{name}"\neffective = {begins}\n{until}per_kwh = "{_price(chance)}"'
    if until and chance.random() < 0.5:
        again = f'[[riders]]\nname = "{name}"\neffective = {ends}\nper_kwh = "{_price(chance)}"'
        return f"{step}\n\n{again}"
    return step
