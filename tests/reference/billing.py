"""The ordinary bill, written a second time from the contract and the tariff files' description, to judge the engine by.

Exact fractions of a dollar, read from the TOML text itself; nothing of ``edge`` is used. Each rule is one expression
on all days of a part at once, where the engine adds up as it goes.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

CENTS = 100


@dataclass(frozen=True)
class Use:
    """A civil day's use: Wh, in all or by the instants at which intervals start."""

    wh: int
    intervals: tuple[tuple[datetime, int], ...] = ()


def half_up(amount: Fraction) -> int:
    """The nearest integer; a half goes away from zero."""
    nearest = floor(abs(amount) + Fraction(1, 2))
    return nearest if amount >= 0 else -nearest


ROUNDINGS = {"half_up": half_up, "down": floor, "up": ceil}

# A holiday of a name: the days on which it can fall, and its weekday where it has one (Monday is 0).
NAMED_HOLIDAYS: dict[str, tuple[int, range, int | None]] = {
    "new_years_day": (1, range(1, 2), None),
    "martin_luther_king_day": (1, range(15, 22), 0),
    "presidents_day": (2, range(15, 22), 0),
    "memorial_day": (5, range(25, 32), 0),
    "juneteenth": (6, range(19, 20), None),
    "independence_day": (7, range(4, 5), None),
    "labor_day": (9, range(1, 8), 0),
    "columbus_day": (10, range(8, 15), 0),
    "veterans_day": (11, range(11, 12), None),
    "thanksgiving": (11, range(22, 29), 3),
    "christmas_day": (12, range(25, 26), None),
}


def is_named_holiday(name: str, day: date) -> bool:
    """Whether a day is the holiday of that name."""
    month, days, weekday = NAMED_HOLIDAYS[name]
    return day.month == month and day.day in days and weekday in (None, day.weekday())


def length_of_month(day: date) -> int:
    """How many days the civil month of a day has."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1).toordinal() - day.replace(day=1).toordinal()


class Biller:
    """A tariff file, and the bills it makes."""

    def __init__(self, toml: str, zone: tzinfo) -> None:
        self.tariff: dict[str, Any] = tomllib.loads(toml)
        self.zone = zone
        self._seasons: dict[date, dict[str, Any]] = {}
        self._kinds: dict[date, str] = {}
        self._by_period: dict[Use, dict[str, int]] = {}

    def version(self, day: date) -> int:
        """The index of the prices in force on a day."""
        return max(index for index, each in enumerate(self.tariff["versions"]) if each["effective"] <= day)

    def season(self, day: date) -> dict[str, Any]:
        """The season of a day: going back from it, the first that begins."""
        if day not in self._seasons:
            self._seasons[day] = self._season(day)
        return self._seasons[day]

    def _season(self, day: date) -> dict[str, Any]:
        version = self.tariff["versions"][self.version(day)]
        if "seasons" not in version:
            return {"begins": "", "tiers": [{"per_kwh": version["energy_per_kwh"]}]}
        seasons: dict[str, dict[str, Any]] = {each.get("begins", "01-01"): each for each in version["seasons"]}
        at = day
        while at.strftime("%m-%d") not in seasons:
            at -= timedelta(days=1)
        found = seasons[at.strftime("%m-%d")]
        if "energy_per_kwh" in found:
            return {**found, "tiers": [{"per_kwh": found["energy_per_kwh"]}]}
        return found

    def kind_of_day(self, day: date) -> str:
        """``holiday``, ``weekend`` or ``weekday``."""
        if day not in self._kinds:
            self._kinds[day] = self._kind_of_day(day)
        return self._kinds[day]

    def _kind_of_day(self, day: date) -> str:
        for each in self.tariff["versions"][self.version(day)].get("holidays", []):
            if each == day or (isinstance(each, str) and is_named_holiday(each, day)):
                return "holiday"
        return "weekend" if day.weekday() in (5, 6) else "weekday"

    def period(self, start: datetime) -> str:
        """The period of an interval: by what the wall clock shows as it starts."""
        wall = start.astimezone(self.zone)
        season = self.season(wall.date())
        for hours in season.get("hours", []):
            ends = hours["end"].hour * 60 + hours["end"].minute or 24 * 60
            begins = hours["start"].hour * 60 + hours["start"].minute
            if self.kind_of_day(wall.date()) in hours["days"] and begins <= wall.hour * 60 + wall.minute < ends:
                return str(hours["period"])
        return str(season["other_hours"])

    def by_period(self, use: Use) -> dict[str, int]:
        """A day's Wh by period."""
        if use not in self._by_period:
            found: dict[str, int] = {}
            for start, wh in use.intervals:
                period = self.period(start)
                found[period] = found.get(period, 0) + wh
            self._by_period[use] = found
        return self._by_period[use]

    def rider(self, name: str, day: date) -> Fraction:
        """What a rider, or fuel, adds to a kWh on a day."""
        steps = self.tariff.get("fuel", []) if name == "fuel" else self.tariff.get("riders", [])
        price = Fraction(0)
        for step in steps:
            if step.get("name", "fuel") == name and step["effective"] <= day:
                ended = "until" in step and step["until"] <= day
                price = Fraction(0) if ended else Fraction(step["per_kwh"])
        return price

    def lines(self, use: Mapping[date, Use]) -> dict[str, int]:
        """The bill of some days of one month: kind to cents, no zeros; versions are parts with a bill of their own."""
        bill: dict[str, int] = {}
        for version in sorted({self.version(day) for day in use}):
            part = {day: each for day, each in use.items() if self.version(day) == version}
            for kind, cents in self._part(self.tariff["versions"][version], part).items():
                bill[kind] = bill.get(kind, 0) + cents
        return {kind: cents for kind, cents in bill.items() if cents}

    def total(self, use: Mapping[date, Use]) -> int:
        """The bill of some days of one month, in cents."""
        return sum(self.lines(use).values())

    def charges(self, use: Mapping[date, Use]) -> list[int]:
        """Each day's charge in cents, in order: the bill to date less the bill to the day before."""
        days = sorted(use)
        to_date = [self.total({day: use[day] for day in days[:count]}) for count in range(len(days) + 1)]
        return [after - before for before, after in pairwise(to_date)]

    def _part(self, version: dict[str, Any], use: Mapping[date, Use]) -> dict[str, int]:
        share = Fraction(len(use), length_of_month(min(use)))
        exact = self._energy(use)
        exact["customer_charge"] = Fraction(version.get("customer_charge_per_month", "0")) * share
        cents = {kind: half_up(dollars * CENTS) for kind, dollars in exact.items()}
        least = Fraction(version.get("minimum_per_month", "0"))
        if least:
            cents["minimum"] = max(0, half_up(least * share * CENTS) - sum(cents.values()))
        cents["unmetered"] = half_up(Fraction(version.get("unmetered_per_day", "0")) * len(use) * CENTS)
        names = {step["name"] for step in self.tariff.get("riders", [])}
        for kind, name in [("fuel", "fuel"), *((f"rider:{name}", name) for name in names)]:
            dollars = sum((self.rider(name, day) * _kwh(each.wh) for day, each in use.items()), Fraction(0))
            cents[kind] = half_up(dollars * CENTS)
        before_taxes = sum(cents.values())
        for tax in version.get("taxes", []):
            amount = before_taxes * Fraction(tax["percent"]) / 100
            cents["tax:" + tax["name"]] = ROUNDINGS[tax.get("rounding", "half_up")](amount)
        return cents

    def _energy(self, use: Mapping[date, Use]) -> dict[str, Fraction]:
        """Dollars of energy by line: tiers on the use of each season's days, periods hour by hour."""
        found: dict[str, Fraction] = {}
        by_season: dict[str, list[date]] = {}
        for day in use:
            by_season.setdefault(self.season(day).get("begins", "01-01"), []).append(day)
        for days in by_season.values():
            season = self.season(days[0])
            if "periods" in season:
                for period, wh in (found for day in days for found in self.by_period(use[day]).items()):
                    dollars = Fraction(season["periods"][period]) * _kwh(wh)
                    found[f"energy:{period}"] = found.get(f"energy:{period}", Fraction(0)) + dollars
            else:
                share = Fraction(len(days), length_of_month(days[0]))
                dollars = in_tiers(season["tiers"], sum((_kwh(use[day].wh) for day in days), Fraction(0)), share)
                found["energy"] = found.get("energy", Fraction(0)) + dollars
        return found


def in_tiers(tiers: Iterable[Mapping[str, Any]], kwh: Fraction, share: Fraction) -> Fraction:
    """The price of energy in tiers: all at the first price, and what is beyond a limit at the step to the next."""
    dollars = previous = beyond = Fraction(0)
    for tier in tiers:
        price = Fraction(tier["per_kwh"])
        dollars += (price - previous) * max(Fraction(0), kwh - beyond)
        previous = price
        beyond = Fraction(tier.get("up_to_kwh", 0)) * share
    return dollars


def _kwh(wh: int) -> Fraction:
    return Fraction(wh, 1000)
