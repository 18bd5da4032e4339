"""An independent judge of a simulated world: it reads the event file and knows the rules, and shares no code with them.

It asks of every disconnect for credit whether anything that had reached the gateway when it was sent forbade it, and
whether the relay opened inside the window; of every dark home with credit or a protection how long it stayed dark; and
of every account whether its amounts sum to its balance (contract section 5). The limits stand in ``judge_rules``.

Times in which an injected fault cut a home's meter, its line, the broker or the daemon count neither towards a late
reconnect nor in ``reconnect_seconds``. A fault of a line names the meters on it in ``meters``; one without is taken to
be of the only line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from meter_sim.judge_rules import FEED_LASTS, PROGRAMS, Calendar, Weather

LATE_AFTER = timedelta(seconds=300)
SHARED_TARGETS = ("line", "broker", "daemon")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: when, whose, and why."""

    at: str
    account_id: str
    reason: str


@dataclass
class Verdict:
    """What the judge found; a disconnect counts once, however many rules forbade it."""

    wrongful: list[Finding] = field(default_factory=list)
    late: list[Finding] = field(default_factory=list)
    unbalanced: list[Finding] = field(default_factory=list)
    reconnect_seconds: list[float] = field(default_factory=list)
    disconnects: int = 0
    reconnects: int = 0


@dataclass(slots=True)
class _Fault:
    name: str
    began: datetime
    ended: datetime | None = None


@dataclass
class _Account:
    account_id: str
    balance: Decimal = Decimal(0)
    meter_id: str = ""
    zero_notices: list[datetime] = field(default_factory=list)  # of this fall
    returned_at: datetime | None = None  # when the customer was told of a returned payment
    protected: bool = False
    holds: dict[str, str] = field(default_factory=dict)
    commanded: bool = False  # a disconnect was sent and its relay has not been seen to open yet
    reasons: list[str] = field(default_factory=list)  # against the disconnect sent last
    finding: int | None = None  # where the verdict tells them
    dark: bool = False
    paid_in_the_dark: Decimal = Decimal(0)
    entitled_at: datetime | None = None  # since when a dark home should have power


def judge(events: Iterable[Row], timezone: str, program: str) -> Verdict:
    """Judge the rows of an event file, in their order. Raises ValueError for a program that it does not know."""
    if program not in PROGRAMS:
        raise ValueError(f"the judge knows no program {program!r}; it knows {', '.join(PROGRAMS)}")
    return _Judge(ZoneInfo(timezone), program).judge(events)


class _Judge:
    def __init__(self, zone: ZoneInfo, program: str) -> None:
        self._zone = zone
        self._rules = PROGRAMS[program]
        self._calendar = Calendar(zone, self._rules)
        self._accounts: dict[str, _Account] = {}
        self._weather = Weather()
        self._moratoriums: dict[str, datetime] = {}
        self._moratorium_end: datetime | None = None
        self._faults: dict[str, list[_Fault]] = {}  # by what they cut
        self.verdict = Verdict()

    def judge(self, events: Iterable[Row]) -> Verdict:
        last = None
        for event in events:
            last = datetime.fromisoformat(event["at"])
            if "account_id" in event:
                self._take_for_account(event, last)
            else:
                self._take_for_all(event, last)
        for account in self._accounts.values():
            if last is not None and account.entitled_at is not None:
                self._wait_ends(account, last)
        return self.verdict

    def _take_for_account(self, event: Row, at: datetime) -> None:
        account = self._accounts.setdefault(event["account_id"], _Account(event["account_id"]))
        match event["kind"]:
            case "payment" | "charge" | "adjustment":
                self._book(event, account)
                self._entitle(account, at)
            case "relay":
                self._relay(event, account, at)
            case "command":
                account.meter_id = event["meter_id"]
                if (event["action"], event["state"]) == ("disconnect", "sent"):
                    self._sent(account, at)
            case "notice":
                if event["type"] == "zero" and account.balance <= 0:
                    account.zero_notices.append(at)
                elif event["type"] == "returned_payment":
                    account.returned_at = at
            case "protected":
                account.protected = event["protected"]
                self._entitle(account, at)
            case "hold":
                account.holds[event["hold_id"]] = event["hold"]
            case "hold_released":
                account.holds.pop(event["hold_id"], None)

    def _take_for_all(self, event: Row, at: datetime) -> None:
        match event["kind"]:
            case "moratorium":
                if event["active"]:
                    self._moratoriums[event["order"]] = at
                elif self._moratoriums.pop(event["order"], None) is not None:
                    self._moratorium_end = at
            case "forecast":
                self._weather.fetched_at = at
                self._weather.first_hour = datetime.fromisoformat(event["first_hour"])
                self._weather.temperature = tuple(map(_f100, event["temperature_f"]))
                self._weather.index = tuple(map(_f100, event["heat_index_f"]))
            case "observation":
                self._weather.observed_at = at
                self._weather.observed_temperature = _f100(event["temperature_f"])
                self._weather.observed_index = _f100(event["heat_index_f"])
            case "fault":
                for target in event.get("meters", [event["target"]]):
                    self._faults.setdefault(target, []).append(_Fault(event["fault"], at))
            case "fault_end":
                for target in event.get("meters", [event["target"]]):
                    for fault in self._faults.get(target, ()):
                        if fault.name == event["fault"] and fault.ended is None:
                            fault.ended = at

    def _book(self, event: Row, account: _Account) -> None:
        amount = Decimal(event["amount"])
        account.balance += amount
        if account.balance != Decimal(event["balance"]):
            reason = f"the amounts sum to {account.balance}, the books say {event['balance']}"
            self.verdict.unbalanced.append(Finding(event["at"], account.account_id, reason))
            account.balance = Decimal(event["balance"])  # so that the same cent is not found again
        if account.balance > 0:
            account.zero_notices.clear()
        if event["kind"] == "payment" and account.dark:
            account.paid_in_the_dark += amount  # less the arrears share, which no event tells: never too early

    def _sent(self, account: _Account, at: datetime) -> None:
        account.commanded = True
        account.reasons, account.finding = [], None
        self._accuse(account, at, self._forbidden(account, at))

    def _accuse(self, account: _Account, at: datetime, reasons: list[str]) -> None:
        """Tell what was wrong with a disconnect, in one finding."""
        if not reasons:
            return
        account.reasons += reasons
        if account.finding is None:
            account.finding = len(self.verdict.wrongful)
            self.verdict.wrongful.append(Finding(at.isoformat(), account.account_id, "; ".join(account.reasons)))
        else:
            first = self.verdict.wrongful[account.finding]
            self.verdict.wrongful[account.finding] = Finding(first.at, account.account_id, "; ".join(account.reasons))

    def _forbidden(self, account: _Account, at: datetime) -> list[str]:
        reasons = [
            self._calendar.refused(at),
            self._calendar.graced(account.zero_notices, at),
            self._calendar.returned(account.returned_at, at),
            self._calendar.unrefreshed(account.zero_notices, self._moratorium_end, at),
            *self._weather.forbids(at, self._zone, self._rules),
        ]
        if account.balance >= 0:
            reasons.append(f"with a balance of {account.balance}")
        if account.protected:
            reasons.append("for a protected customer")
        reasons += [f"against a hold, {kind}" for kind in account.holds.values()]
        reasons += [f"in an ordered moratorium, {order}" for order in self._moratoriums]
        if any(fault.ended is None and at - fault.began > FEED_LASTS for fault in self._faults.get("broker", ())):
            reasons.append("with no sign of the payment feed for more than 15 minutes")
        if any(fault.ended is None for fault in self._faults.get("clock", ())):
            reasons.append("by a clock that was set wrong")
        return [f"a disconnect was sent {reason}" for reason in reasons if reason]

    def _relay(self, event: Row, account: _Account, at: datetime) -> None:
        account.meter_id = event["meter_id"]
        if event["relay"] == "connected":
            if event["cause"] == "reconnect":
                self.verdict.reconnects += 1
            if account.entitled_at is not None:
                self.verdict.reconnect_seconds.append(self._wait_ends(account, at))
            account.dark, account.entitled_at = False, None
        elif event["cause"] == "credit":
            self.verdict.disconnects += 1
            if not account.commanded:
                account.reasons, account.finding = [], None
                self._accuse(account, at, ["the relay opened without a command having been sent"])
            if reason := self._calendar.closed(at):
                self._accuse(account, at, [f"the relay opened {reason}"])
            account.commanded, account.dark, account.paid_in_the_dark = False, True, Decimal(0)
            self._entitle(account, at)

    def _entitle(self, account: _Account, at: datetime) -> None:
        """Note since when a dark home should have power, or that it should not any more."""
        enough = account.paid_in_the_dark >= self._rules.reconnect_payments
        entitled = account.protected or (account.balance >= self._rules.reconnect_from and enough)
        if not account.dark:
            account.entitled_at = None
        elif entitled and account.entitled_at is None:
            account.entitled_at = at
        elif not entitled and account.entitled_at is not None:
            self._wait_ends(account, at)
            account.entitled_at = None

    def _wait_ends(self, account: _Account, at: datetime) -> float:
        """How many seconds a home waited for the power it was entitled to; more than 300 are told."""
        assert account.entitled_at is not None
        waited = at - account.entitled_at - self._fault_time(account.meter_id, account.entitled_at, at)
        if waited > LATE_AFTER:
            reason = f"dark for {waited.total_seconds():.0f} s after it was entitled to power"
            self.verdict.late.append(Finding(at.isoformat(), account.account_id, reason))
        return max(0.0, waited.total_seconds())

    def _fault_time(self, meter_id: str, start: datetime, end: datetime) -> timedelta:
        """How much of a time was covered by faults of the meter, its line, the broker or the daemon."""
        spans = [
            (max(fault.began, start), min(fault.ended or end, end))
            for target in (meter_id, *SHARED_TARGETS)
            for fault in self._faults.get(target, ())
            if fault.began < end and (fault.ended is None or fault.ended > start)
        ]
        total, reached = timedelta(0), start
        for began, ended in sorted(spans):
            total += max(timedelta(0), ended - max(began, reached))
            reached = max(reached, ended)
        return total


def _f100(degrees: float | None) -> int | None:
    """Degrees as they are compared: rounded to 0.01 F."""
    return None if degrees is None else round(degrees * 100)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of all do not exceed; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    wanted = max(1, -int(-len(ordered) * share // 1))
    return round(ordered[min(wanted, len(ordered)) - 1], 3)
