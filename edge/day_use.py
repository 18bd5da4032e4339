"""What one account used on a civil day: from registers, from a person's word, or an estimate where nothing else is.

Facts go before words and words before estimates, except that a final edit stands whatever comes. What is found depends
on the facts on record alone, so that a day found again after a late fact is what it would have been with it in time.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

from edge.core import usage as use_of
from edge.core import vee
from edge.core.tariffs import PeriodSpan, Tariff, period_spans
from edge.core.usage import DayQuality, DayUse
from edge.facts import register_line
from edge.gateway import Gateway
from edge.store import customers, manual, usage
from edge.store.customers import Account, TariffSpan
from edge.store.manual import Why
from edge.store.usage import ClosedDay, DayEdit

WHY = {
    "first_day": "an initial bill may not rest on an estimate (domain-rules R62)",
    "last_day": "a final bill may not rest on an estimate (domain-rules R62)",
    "no_history": "neither the three days before the gap nor last year's five are all known (domain-rules R59)",
    "too_long": "there is no actual read for more than three billing periods (domain-rules R62, R63)",
}


class DayFinder:
    """Finds the use of an account's days inside one transaction."""

    def __init__(
        self,
        database: sqlite3.Connection,
        gateway: Gateway,
        account: Account,
        tariffs: list[TariffSpan] | None = None,
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._account = account
        self._zone = gateway.settings.zone
        self._tariffs = customers.tariff_spans(database, account) if tariffs is None else tariffs
        self.limits = gateway.limits[account.meter_id]

    def bill_of(self, day: date) -> tuple[Tariff, date]:
        """The tariff of a day, and with which day the bill begins that it belongs to: each tariff has its own."""
        span = next((span for span in reversed(self._tariffs) if span.first_day <= day), self._tariffs[0])
        return self._gateway.tariffs[span.tariff], max(day.replace(day=1), span.first_day)

    def bounds(self, day: date) -> tuple[datetime, datetime]:
        """From when to when a day's use is the account's."""
        start, end = vee.day_bounds(day, self._zone)
        return (self._account.enrolled_at if day == self._account.first_day else start), end

    def instants(self, day: date) -> tuple[datetime, ...]:
        """The instants around which the registers must be known to say a day's use."""
        return tuple(use_of.boundaries(*self.bounds(day), self._spans(day)))

    def known(
        self, day: date, previous_end_wh: int | None, registers: use_of.Line | None = None, *, edits: bool = True
    ) -> DayUse | None:
        """The use of a day from registers, or as a person said it; None while its end is in the dark.

        ``previous_end_wh``: the register at the end of the day before, where no read says it. ``registers``: the
        register around the day's ``instants``, and ``edits`` whether a person said any day's use, where it was looked
        up for many accounts at once.
        """
        account_id = self._account.account_id
        edit = usage.edits(self._database, account_id, day, day).get(day) if edits else None
        start, end = self.bounds(day)
        spans = self._spans(day)
        if registers is None:
            registers = register_line(self._database, self._account.meter_id, self.instants(day), self.limits)
        found = use_of.measured(registers, day, start, end, spans)
        if edit is None or (found is not None and edit.standing == "estimate"):
            return found
        if found is not None:
            return self.edited(found, edit)
        by_period = self._by_period(edit, spans, ())
        final = edit.standing == "final"
        start_wh = previous_end_wh or 0
        return use_of.by_hand(day, start_wh, edit.energy_wh, self.limits, by_period, _said(edit), final=final)

    def edited(self, found: DayUse, edit: DayEdit) -> DayUse:
        """A day that registers say otherwise, as a person said it for good."""
        by_period = self._by_period(edit, self._spans(found.day), found.by_period)
        method = vee.Method.MANUAL.value
        return DayUse(
            found.day,
            found.start_register_wh,
            found.end_register_wh,
            edit.energy_wh,
            DayQuality.EDITED,
            by_period,
            method,
            (),
            _said(edit),
        )

    def again(self, closed: ClosedDay, fresh: Mapping[date, DayUse], previous_end_wh: int | None) -> DayUse:
        """The use of a day that is on the books, found again from the facts that are known by now.

        Days whose reads were pruned stay as they are, unless a person says otherwise. ``fresh``: what was found for
        the days before it.
        """
        start, _ = self.bounds(closed.day)
        if not closed.estimated and start < oldest_kept(self._gateway):
            edit = usage.edits(self._database, closed.account_id, closed.day, closed.day).get(closed.day)
            return closed.use if edit is None or edit.standing == "estimate" else self.edited(closed.use, edit)
        found = self.known(closed.day, previous_end_wh)
        if found is not None or closed.use.quality.measured:
            return found or closed.use
        estimate = self.estimate(closed.day, previous_end_wh, fresh)
        if isinstance(estimate, DayUse):
            return estimate
        return replace(closed.use, quality=DayQuality.ESTIMATED)  # what a person took back stands until reads come

    def estimate(self, day: date, previous_end_wh: int | None, fresh: Mapping[date, DayUse]) -> DayUse | Why:
        """An estimate of a day without a read (domain-rules R59), or why none is allowed (R62)."""
        account = self._account
        if day == account.first_day:
            return "first_day"
        if day == account.last_day:
            return "last_day"
        before = self._days(day - vee.LONGEST_GAP - timedelta(days=3), day - timedelta(days=1)) | {
            other: use for other, use in fresh.items() if other < day
        }
        known = [other for other, use in before.items() if use.quality is not DayQuality.ESTIMATED]
        if day - max(known, default=account.first_day) > vee.LONGEST_GAP:
            return "too_long"
        history = before | self._year_before(day)
        history.pop(account.first_day, None)  # a part of a day says nothing of a whole one
        records = {other: vee.DayRecord(use.energy_wh, use.quality.for_estimates) for other, use in history.items()}
        found = vee.estimate(records, day)
        if found.energy_wh is None:
            return "no_history"
        by_period = self._like(day, found.energy_wh, [history[used] for used in found.days_used])
        return use_of.estimated(found, day, previous_end_wh or 0, self.limits, by_period, self.efforts())

    def _days(self, first: date, last: date) -> dict[date, DayUse]:
        return {row.day: row.use for row in usage.days(self._database, self._account.account_id, first, last)}

    def _year_before(self, day: date) -> dict[date, DayUse]:
        if (day.month, day.day) == (2, 29):
            return {}
        same = day.replace(year=day.year - 1)
        return self._days(same - timedelta(days=3), same + timedelta(days=1))

    def _like(self, day: date, energy_wh: int, examples: list[DayUse]) -> tuple[tuple[str, int], ...]:
        """An estimate by period: like the days it rests on that are of the same kind, else like all of them."""
        spans = self._spans(day)
        if not any(span.period for span in spans):
            return ()
        version = self.bill_of(day)[0].version(day)
        same = [one.by_period for one in examples if version.day_type(one.day) is version.day_type(day)]
        fitting = [periods for periods in same if {name for name, _ in periods} == self.periods(day)]
        return use_of.by_period_like(energy_wh, spans, fitting or [one.by_period for one in examples])

    def periods(self, day: date) -> frozenset[str]:
        """The names of the periods by which a day is priced; none where it is not priced by the hour."""
        return frozenset(span.period for span in self._spans(day) if span.period)

    def _spans(self, day: date) -> tuple[PeriodSpan, ...]:
        tariff, _ = self.bill_of(day)
        return period_spans(tariff, day, self._zone) if tariff.time_of_use else ()

    def _by_period(
        self, edit: DayEdit, spans: tuple[PeriodSpan, ...], measured: tuple[tuple[str, int], ...]
    ) -> tuple[tuple[str, int], ...]:
        """By period as it was said; as the registers have it, or evenly, where that does not fit the day's prices."""
        names = {span.period for span in spans if span.period}
        said = edit.by_period
        if names and {name for name, _ in said} <= names and sum(part for _, part in said) == edit.energy_wh and said:
            return said
        return use_of.by_period_like(edit.energy_wh, spans, [measured])

    def efforts(self) -> str:
        """What was done to get a read, for the record (seed 003, 6.04 B(4)(a))."""
        last, refused, flags, failing_since, error = manual.efforts(self._database, self._account.meter_id)
        told = [f"the last read is of {self._text(last)}" if last else "the meter was never read"]
        if failing_since is not None:
            tried = self._gateway.polls_missed.get(self._account.meter_id)
            polls = f", {tried} polls tried in vain" if tried else ""
            told.append(f"no answer since {self._text(failing_since)}{polls} ({error})")
        if refused:
            told.append(f"{refused} reads refused since ({flags})")
        return "; ".join(told)

    def _text(self, instant: datetime) -> str:
        return instant.astimezone(self._zone).isoformat(timespec="minutes")


def _said(edit: DayEdit) -> str:
    return f"{edit.by}: {edit.reason}"


def oldest_kept(gateway: Gateway) -> datetime:
    """From when on all register reads are certainly kept."""
    return gateway.clock.now() - timedelta(days=gateway.settings.site.polling.keep_readings_days - 1)


def differs(found: DayUse, recorded: DayUse) -> bool:
    """Whether a day found again is another than the one on record, but for the words of its reason."""
    return replace(found, reason=recorded.reason) != recorded
