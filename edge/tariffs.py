"""Tariffs from ``tariffs/*.toml``: checked, with every fault named by file and key, and turned into the core's values.

Prices are text in dollars, such as ``"0.0975"``, with at most six decimals: a TOML float is refused, because a float
does not keep what was written. The file's name without ``.toml`` is the tariff's name.
"""

import re
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from edge.core import tariffs as core
from edge.core.tariffs import HOLIDAYS, DayType, Rounding, Tariff
from edge.settings import ConfigError, fault_sentence, read_toml

_DECIMAL = re.compile(r"(-?)(\d{1,9})(?:\.(\d{1,9}))?")
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # of every year, so that 29 February is no day here
_CALENDAR_DAY = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


class TariffError(ConfigError):
    """A tariff cannot be used. ``faults``: one sentence each, naming file and key."""


def _scaled(value: object, decimals: int, example: str) -> int:
    """A decimal text as an integer of 10^-decimals. Raises ValueError with a sentence."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(
            f'{value} is a number: write it as text in quotes, such as "{example}", so that it stays exact'
        )
    match = _DECIMAL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{value!r} is not a decimal text such as "{example}"')
    sign, whole, fraction = match.groups()
    fraction = (fraction or "").rstrip("0")
    if len(fraction) > decimals:
        raise ValueError(f"{value!r} has more than {decimals} decimals")
    scaled = int(whole + fraction.ljust(decimals, "0"))
    return -scaled if sign else scaled


def _month_day(value: object) -> tuple[int, int]:
    match = _CALENDAR_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > _DAYS_IN_MONTH[int(match[1]) - 1]:
        raise ValueError(f'{value!r} is not a month and day such as "06-01"')
    return int(match[1]), int(match[2])


def _percent(value: object) -> int:
    parts_per_million = _scaled(value, 4, "3.5")
    if not 0 <= parts_per_million <= 1_000_000:
        raise ValueError(f"{value!r} is not from 0 to 100 per cent")
    return parts_per_million


Price = Annotated[int, BeforeValidator(lambda value: _scaled(value, 6, "0.0975"))]
NotNegativePrice = Annotated[Price, Field(ge=0)]
Percent = Annotated[int, BeforeValidator(_percent)]
MonthDay = Annotated[tuple[int, int], BeforeValidator(_month_day)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Tier(_Part):
    up_to_kwh: Annotated[int, Field(ge=1)] | None = None
    per_kwh: Price


class _Hours(_Part):
    days: list[Literal["weekday", "weekend", "holiday"]] = Field(min_length=1)
    start: time
    end: time
    period: Name

    @property
    def minutes(self) -> tuple[int, int]:
        """Start and end in minutes of the day; an end of midnight is the day's end."""
        start = self.start.hour * 60 + self.start.minute
        return start, self.end.hour * 60 + self.end.minute or 1440

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if any(bound.second or bound.microsecond for bound in (self.start, self.end)):
            raise ValueError("start and end are whole minutes")
        start, end = self.minutes
        if start >= end:
            raise ValueError("start must be before end: write hours over midnight as two")
        return self


class _Season(_Part):
    name: Name = "all"
    begins: MonthDay = (1, 1)
    energy_per_kwh: Price | None = None
    tiers: list[_Tier] | None = Field(default=None, min_length=1)
    periods: dict[Name, Price] | None = Field(default=None, min_length=1)
    hours: list[_Hours] = []
    other_hours: str | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if sum(form is not None for form in (self.energy_per_kwh, self.tiers, self.periods)) != 1:
            raise ValueError("give exactly one of energy_per_kwh, tiers and periods")
        if self.tiers is not None:
            _check_tiers(self.tiers)
        if self.periods is None:
            if self.hours or self.other_hours is not None:
                raise ValueError("hours and other_hours belong to periods")
        else:
            _check_periods(self.periods, self.hours, self.other_hours)
        return self

    def to_core(self) -> core.Season:
        """The season as the core's value."""
        if self.periods is not None and self.other_hours is not None:
            bands = tuple(
                core.Band(tuple(DayType(day) for day in hours.days), *hours.minutes, hours.period)
                for hours in self.hours
            )
            return core.Season(self.name, self.begins, (), tuple(self.periods.items()), bands, self.other_hours)
        if self.tiers is not None:
            tiers = tuple(
                core.Tier(None if tier.up_to_kwh is None else tier.up_to_kwh * 1000, tier.per_kwh)
                for tier in self.tiers
            )
            return core.Season(self.name, self.begins, tiers)
        assert self.energy_per_kwh is not None
        return core.Season(self.name, self.begins, (core.Tier(None, self.energy_per_kwh),))


def _check_tiers(tiers: list[_Tier]) -> None:
    limits = [tier.up_to_kwh for tier in tiers]
    if limits[-1] is not None or None in limits[:-1]:
        raise ValueError("tiers - every tier but the last has up_to_kwh, the last has none")
    known = [limit for limit in limits if limit is not None]
    if sorted(set(known)) != known:
        raise ValueError("tiers - up_to_kwh must rise from tier to tier")


def _check_periods(periods: dict[str, int], hours: list[_Hours], other_hours: str | None) -> None:
    if other_hours not in periods:
        raise ValueError("other_hours - names one of periods, for the hours that no other has")
    for entry in hours:
        if entry.period not in periods:
            raise ValueError(f"hours - there is no price for the period {entry.period!r}")
    for index, entry in enumerate(hours):
        start, end = entry.minutes
        for other in hours[:index]:
            other_start, other_end = other.minutes
            if set(entry.days) & set(other.days) and start < other_end and other_start < end:
                raise ValueError(f"hours - {entry.period} and {other.period} overlap")


class _Tax(_Part):
    name: Name
    percent: Percent
    rounding: Literal["half_up", "down", "up"] = "half_up"


class _Version(_Part):
    effective: date
    customer_charge_per_month: NotNegativePrice = 0
    minimum_per_month: NotNegativePrice = 0
    unmetered_per_day: NotNegativePrice = 0
    energy_per_kwh: Price | None = None
    seasons: list[_Season] | None = Field(default=None, min_length=1)
    taxes: list[_Tax] = []
    holidays: list[str | date] = []

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.energy_per_kwh is None) == (self.seasons is None):
            raise ValueError("give either energy_per_kwh or seasons")
        seasons = self.seasons or []
        if len({season.begins for season in seasons}) != len(seasons):
            raise ValueError("seasons - two begin on the same day")
        if len({tax.name for tax in self.taxes}) != len(self.taxes):
            raise ValueError("taxes - two have the same name")
        for holiday in self.holidays:
            if isinstance(holiday, str) and holiday not in HOLIDAYS:
                raise ValueError(f"holidays - {holiday!r} is neither a date nor one of {', '.join(HOLIDAYS)}")
        return self

    def to_core(self) -> core.Version:
        """The version as the core's value."""
        seasons: tuple[core.Season, ...]
        if self.energy_per_kwh is not None:
            seasons = (core.Season("all", (1, 1), (core.Tier(None, self.energy_per_kwh),)),)
        else:
            seasons = tuple(season.to_core() for season in self.seasons or ())
        return core.Version(
            effective=self.effective,
            seasons=seasons,
            customer_charge_micro=self.customer_charge_per_month,
            minimum_micro=self.minimum_per_month,
            unmetered_micro_per_day=self.unmetered_per_day,
            taxes=tuple(core.Tax(tax.name, tax.percent, Rounding(tax.rounding)) for tax in self.taxes),
            holidays=tuple(self.holidays),
        )


class _Step(_Part):
    effective: date
    per_kwh: Price


class _Rider(_Step):
    name: Name
    until: date | None = None


class _File(_Part):
    description: str = ""
    source: str = ""
    versions: list[_Version] = Field(min_length=1)
    fuel: list[_Step] = []
    riders: list[_Rider] = []

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        for key, steps in (("versions", self.versions), ("fuel", self.fuel)):
            days = [step.effective for step in steps]
            if sorted(set(days)) != days:
                raise ValueError(f"{key} - effective must rise from one to the next")
        for name in {rider.name for rider in self.riders}:
            end = date.min
            for rider in self.riders:
                if rider.name != name:
                    continue
                if rider.effective < end or (rider.until is not None and rider.until <= rider.effective):
                    raise ValueError(f"riders - {name} overlaps itself or is out of order")
                end = rider.until or date.max
        return self

    def to_core(self, name: str) -> Tariff:
        """The tariff as the core's value."""
        steps: dict[str, list[tuple[date, int]]] = {}
        for step in self.fuel:
            steps.setdefault("fuel", []).append((step.effective, step.per_kwh))
        for rider in self.riders:
            of_rider = steps.setdefault(f"rider:{rider.name}", [])
            of_rider.append((rider.effective, rider.per_kwh))
            if rider.until is not None:
                of_rider.append((rider.until, 0))
        riders = tuple(core.Rider(kind, tuple(found)) for kind, found in steps.items())
        return Tariff(name, tuple(version.to_core() for version in self.versions), riders, self.description)


def load_tariff(path: Path) -> Tariff:
    """One tariff from its file. Raises TariffError with every fault found in it."""
    try:
        tables = read_toml(path)
    except ConfigError as problem:
        raise TariffError(problem.faults) from None
    return parse_tariff(tables, path.name)


def parse_tariff(tables: dict[str, Any], file_name: str) -> Tariff:
    """A tariff from a file's tables. Raises TariffError with every fault."""
    try:
        content = _File.model_validate(tables)
    except ValidationError as problem:
        raise TariffError(f"{file_name}: {fault_sentence(error)}" for error in problem.errors()) from None
    return content.to_core(file_name.removesuffix(".toml"))


def load_tariffs(*folders: Path) -> dict[str, Tariff]:
    """The tariffs of some folders by name; of two with one name, the first folder's counts.

    Raises TariffError with every fault in every file.
    """
    found: dict[str, Tariff] = {}
    faults: list[str] = []
    for path in _files(folders):
        try:
            found[path.stem] = load_tariff(path)
        except TariffError as problem:
            faults.extend(problem.faults)
    if faults:
        raise TariffError(faults)
    return found


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    seen: set[str] = set()
    for folder in folders:
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
            if path.stem not in seen:
                seen.add(path.stem)
                yield path


def find_tariff(name_or_file: str, *folders: Path) -> Tariff:
    """A tariff by the path of its file or by its name in some folders. Raises TariffError, also where there is none."""
    if name_or_file.endswith(".toml") or "/" in name_or_file:
        return load_tariff(Path(name_or_file))
    known = {path.stem: path for path in _files(folders)}
    if name_or_file in known:
        return load_tariff(known[name_or_file])
    raise TariffError([f"there is no tariff {name_or_file!r}: known are {', '.join(sorted(known)) or 'none'}"])
