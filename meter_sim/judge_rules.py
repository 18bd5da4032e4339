"""What each program forbids, written out a second time, sharing no code with the daemon.

The figures are those of contract section 4 and the domain rules (R1-R4, R14-R16, R22, R29, R30, R57, C1-C7), as a
reader of those pages would write them down, so that a fault in the daemon's rules or in its configuration is not
repeated here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import holidays

HOUR_S = 3600
OBSERVATION_LASTS = timedelta(hours=2)
FORECAST_FROM = time(6)
MORNING = time(8)
GRACE = timedelta(hours=24)
FEED_LASTS = timedelta(minutes=15)

Window = tuple[time, time]
Season = tuple[tuple[int, int], tuple[int, int]]


def _week(mon_thu_end: time) -> tuple[Window | None, ...]:
    return (*[(time(8), mon_thu_end)] * 4, (time(8), time(12)), None, None)


@dataclass(frozen=True, slots=True)
class Rules:
    """One program's limits; hundredths of a degree Fahrenheit, seasons by (month, day) with both ends included."""

    windows: tuple[Window | None, ...] = _week(time(14, 30))
    state: str = "OK"
    guard: timedelta = timedelta(0)
    eve_blocked: bool = False
    cold_f100: int = 3200
    cold_at_limit: bool = False
    cold_hours: int = 24
    cold_season: Season | None = None
    index_f100: int = 10100
    index_at_limit: bool = True
    warm_above_f100: int | None = None
    heat_hours: int | None = None  # None: the rest of the civil day
    heat_season: Season | None = None
    fresh_notice: bool = False  # a new zero notice, 24 hours old, once a moratorium has ended
    reconnect_from: Decimal = Decimal("0.01")
    reconnect_payments: Decimal = Decimal(0)


PROGRAMS = {
    "default": Rules(),
    "pso-prepay": Rules(windows=_week(time(15, 30))),
    "oge-pay-as-you-go": Rules(reconnect_payments=Decimal(25)),
    "oec-prepaid": Rules(reconnect_from=Decimal(10)),
    "lake-region": Rules(),
    "strict": Rules(  # its night's low of 20 F is a colder case of its limit of 32 F over the same hours
        guard=timedelta(seconds=120),
        eve_blocked=True,
        cold_at_limit=True,
        cold_hours=72,
        warm_above_f100=9500,
        heat_hours=72,
        fresh_notice=True,
    ),
    "missouri": Rules(
        state="MO",
        cold_hours=72,
        cold_season=((11, 1), (3, 31)),
        index_f100=10500,
        index_at_limit=False,
        warm_above_f100=9500,
        heat_hours=72,
        heat_season=((6, 1), (9, 30)),
    ),
}


class Calendar:
    """When a program's windows are open, in the territory's civil time."""

    def __init__(self, zone: ZoneInfo, rules: Rules) -> None:
        self._zone = zone
        self._rules = rules
        self._holidays = (holidays.country_holidays("US"), holidays.country_holidays("US", subdiv=rules.state))

    def closed(self, at: datetime) -> str:
        """Why no relay may be open for credit at this instant; empty where one may."""
        local = at.astimezone(self._zone)
        if name := self._holiday(local.date()):
            return f"on a holiday, {name}"
        window = self._rules.windows[local.weekday()]
        if window is None:
            return f"on a {local:%A}"
        if not window[0] <= local.time() < window[1]:
            return f"at {local:%A %H:%M:%S}, outside the window"
        return ""

    def refused(self, at: datetime) -> str:
        """Why no disconnect may be sent at this instant as far as days and hours go; empty where it may."""
        if reason := self.closed(at):
            return reason
        local = at.astimezone(self._zone)
        if self._rules.eve_blocked and (name := self._holiday(local.date() + timedelta(days=1))):
            return f"on the day before a holiday, {name}"
        window = self._rules.windows[local.weekday()]
        end = datetime.combine(local.date(), window[1], self._zone) if window else local
        if self._rules.guard and local + self._rules.guard >= end:
            return f"less than {self._rules.guard.total_seconds():.0f} s before the window's end"
        return ""

    def _holiday(self, day: date) -> str:
        return next((str(name) for calendar in self._holidays if (name := calendar.get(day))), "")

    def graced(self, notices: Sequence[datetime], at: datetime) -> str:
        """Why the zero notices of this fall, by their delivery, do not allow a disconnect yet; empty where they do."""
        if not notices:
            return "without a zero notice"
        tomorrow = notices[0].astimezone(self._zone).date() + timedelta(days=1)
        morning = datetime.combine(tomorrow, MORNING, self._zone).timestamp()
        end = max(morning, (notices[0] + GRACE).timestamp())
        return "within the grace" if at.timestamp() < end else ""

    def returned(self, told_at: datetime | None, at: datetime) -> str:
        """Why a returned payment forbids a disconnect: the first whole business day after it was told is not over."""
        if told_at is None:
            return ""
        day = told_at.astimezone(self._zone).date() + timedelta(days=1)
        while day.weekday() >= 5 or self._holiday(day):
            day += timedelta(days=1)
        return "within the day after a returned payment" if at.astimezone(self._zone).date() <= day else ""

    def unrefreshed(self, notices: Sequence[datetime], moratorium_end: datetime | None, at: datetime) -> str:
        """Why a program that wants a fresh notice after a moratorium forbids it; empty where it does not."""
        if not self._rules.fresh_notice or moratorium_end is None:
            return ""
        fresh = [notice for notice in notices if notice >= moratorium_end]
        return "" if fresh and fresh[0] + GRACE <= at else "without a fresh notice after a moratorium"


@dataclass(slots=True)
class Weather:
    """The forecast and the observation in force, as the gateway had them; hundredths of a degree, None: missing."""

    fetched_at: datetime | None = None
    first_hour: datetime | None = None
    temperature: tuple[int | None, ...] = ()
    index: tuple[int | None, ...] = ()
    observed_at: datetime | None = None
    observed_temperature: int | None = None
    observed_index: int | None = None

    def forbids(self, at: datetime, zone: ZoneInfo, rules: Rules) -> Iterator[str]:
        """Every reason of the weather's against a disconnect at this instant."""
        local = at.astimezone(zone)
        if self.fetched_at is None or self.first_hour is None:
            yield "without a forecast"
            return
        if self.observed_at is None or at - self.observed_at > OBSERVATION_LASTS:
            yield "without an observation of the last 2 hours"
        elif self.observed_index is None or (rules.warm_above_f100 is not None and self.observed_temperature is None):
            yield "on an observation with a value missing"
        if self.fetched_at.timestamp() < datetime.combine(local.date(), FORECAST_FROM, zone).timestamp():
            yield "on a forecast that was not of the morning"
        midnight = datetime.combine(local.date() + timedelta(days=1), time(), zone)
        heat_s = rules.heat_hours * HOUR_S if rules.heat_hours else midnight.timestamp() - at.timestamp()
        cold = self._hours(self.temperature, at, rules.cold_hours * HOUR_S)
        hot = self._hours(self.index, at, heat_s)
        warm = [] if rules.warm_above_f100 is None else self._hours(self.temperature, at, heat_s)
        if None in cold or None in hot or None in warm:
            yield "on a forecast with an hour missing"
        if _in_season(local.date(), rules.cold_season):
            yield from _cold(cold, rules)
        if _in_season(local.date(), rules.heat_season):
            yield from _hot([*hot, self.observed_index], [*warm, self.observed_temperature], rules)

    def _hours(self, values: Sequence[int | None], at: datetime, seconds: float) -> list[int | None]:
        """The values of every hour that overlaps the time from ``at`` on; None for an hour that is not there."""
        assert self.first_hour is not None
        since = at.timestamp() - self.first_hour.timestamp()
        start, end = int(since // HOUR_S), -int(-(since + seconds) // HOUR_S)
        return [values[hour] if 0 <= hour < len(values) else None for hour in range(start, end)]


def _in_season(day: date, season: Season | None) -> bool:
    if season is None:
        return True
    start, end = season
    today = (day.month, day.day)
    return start <= today <= end if start <= end else today >= start or today <= end


def _cold(values: Sequence[int | None], rules: Rules) -> Iterator[str]:
    for value in values:
        if value is not None and (value < rules.cold_f100 or (rules.cold_at_limit and value == rules.cold_f100)):
            yield f"with {value / 100:g} F forecast within {rules.cold_hours} hours"
            return


def _hot(indices: Sequence[int | None], temperatures: Sequence[int | None], rules: Rules) -> Iterator[str]:
    for value in indices:
        if value is not None and (value > rules.index_f100 or (rules.index_at_limit and value == rules.index_f100)):
            yield f"with a heat index of {value / 100:g} F"
            break
    for value in temperatures:
        if value is not None and rules.warm_above_f100 is not None and value > rules.warm_above_f100:
            yield f"with {value / 100:g} F, too hot"
            break
