"""From facts to a recorded ruling: decide about one account, write down what changed, want or cancel a switch order.

Everything here runs inside a transaction of the store, beside the fact that made it necessary.
"""

import sqlite3
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from edge.core.decisions import decide, send_before
from edge.core.likeness import has_power_and_credit, likeness
from edge.core.model import Action, Decision, Facts, Relay
from edge.core.money import format_cents
from edge.core.orders import OURS, Cause, OrderState, follows_the_rules
from edge.core.programs import Program
from edge.facts import Circumstances, HolidayLookup, Rulebook, Subject, Switchgear, gather, gather_many
from edge.store import customers, fleet, many, past, records
from edge.store.customers import Account

DISCONNECT_AGAIN_AFTER = timedelta(minutes=15)  # a disconnect that failed is not tried again sooner


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was decided about an account, on which facts, and the order that came of it, if any."""

    account: Account
    facts: Facts
    decision: Decision
    order_id: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A person's word that an account be disconnected, if the rules allow it: why, and who."""

    reason: str
    by: str


def rule_on(
    database: sqlite3.Connection,
    account_id: str,
    rulebook: Rulebook,
    switchgear: Mapping[str, Switchgear],
    around: Circumstances,
    asked: Asked | None = None,
) -> Ruling:
    """Decide about an account now; record the decision if it changed; want or cancel its switch order.

    ``asked``: who wants a disconnect; the order carries the name, and does not wait because one failed just now.
    """
    judged = judge(database, account_id, rulebook, switchgear, around)
    note_circumstances(database, around, rulebook.digest)
    in_force = many.decisions_in_force(database, [account_id]).get(account_id)
    return _act(database, judged, in_force, rulebook.digest, around, asked)


def rule_on_many(
    database: sqlite3.Connection,
    account_ids: Sequence[str],
    rulebook: Rulebook,
    switchgear: Mapping[str, Switchgear],
    around: Circumstances,
) -> list[Ruling]:
    """Decide about accounts as ``rule_on`` does. Raises LookupError for an unknown account.

    Who has power and credit is passed over, and has no ruling in the answer, where the decision on record still holds.
    """
    accounts = customers.accounts_of(database, account_ids)
    if unknown := [account_id for account_id in account_ids if account_id not in accounts]:
        raise LookupError(f"there is no account {unknown[0]}")
    subjects = []
    for account_id in account_ids:
        account = accounts[account_id]
        subjects.append(Subject(account, rulebook.programs[account.program][0], switchgear.get(account.meter_id)))
    note_circumstances(database, around, rulebook.digest)
    in_force = many.decisions_in_force(database, account_ids)
    wanted = many.meters_with_wanted_orders(database)
    alike: dict[Hashable, tuple[str, ...]] = {}
    rulings = []
    for subject, facts in zip(subjects, gather_many(database, subjects, around), strict=True):
        account, program = subject.account, subject.program
        holiday = rulebook.programs[account.program][1]
        stands = in_force.get(account.account_id)
        decision = None
        if has_power_and_credit(facts):
            kind = (account.program, likeness(facts, program))
            if kind not in alike:
                decision = decide(facts, program, holiday)
                alike[kind] = _codes(decision)
            unchanged = stands is not None and (stands.action, stands.codes) == (Action.NONE, alike[kind])
            if unchanged and account.meter_id not in wanted:
                continue
        judged = account, facts, decision or decide(facts, program, holiday), program, holiday
        waits = account.meter_id in wanted
        rulings.append(_act(database, judged, stands, rulebook.digest, around, wanted=waits))
    return rulings


def _codes(decision: Decision) -> tuple[str, ...]:
    return tuple([block.code for block in decision.blocks])


_Judged = tuple[Account, Facts, Decision, Program, HolidayLookup]


def _act(
    database: sqlite3.Connection,
    judged: _Judged,
    in_force: many.InForce | None,
    digest: str,
    around: Circumstances,
    asked: Asked | None = None,
    *,
    wanted: bool = True,
) -> Ruling:
    """Record a decision if it changed; want or cancel the account's switch order; ``wanted``: there may be one."""
    account, facts, decision, program, holiday = judged
    decision_id = _record(database, account, decision, in_force, digest, around)
    if wanted:
        _cancel_what_is_no_longer_wanted(database, account, decision, around.now)
    order_id = None
    if _needs_order(database, account, facts, decision, around.now, again=asked is not None):
        not_after = None
        if decision.action is Action.DISCONNECT:
            not_after = send_before(facts, program, holiday)
        order_id = want(database, account, decision.action, not_after, decision_id, around.now, asked)
    return Ruling(account, facts, decision, order_id)


def want(
    database: sqlite3.Connection,
    account: Account,
    action: Action,
    not_after: datetime | None,
    decision_id: int,
    now: datetime,
    asked: Asked | None = None,
    cause: Cause = Cause.CREDIT,
) -> int:
    """Journal a new order for an account's meter and tell the head end; its id.

    ``asked``: why and by whom. Within the rules that makes it manual; ``cause`` says what is apart from them.
    """
    if asked is not None and cause is Cause.CREDIT:
        cause = Cause.MANUAL
    order_id = fleet.add_order(
        database,
        meter_id=account.meter_id,
        account_id=account.account_id,
        action=action.value,
        not_after=not_after,
        decision_id=decision_id,
        at=now,
        cause=cause.value,
        reason="" if asked is None else asked.reason,
        by="" if asked is None else asked.by,
    )
    _tell_step(database, fleet.order(database, order_id), OrderState.WANTED, "", now)
    return order_id


def judge(
    database: sqlite3.Connection,
    account_id: str,
    rulebook: Rulebook,
    switchgear: Mapping[str, Switchgear],
    around: Circumstances,
) -> _Judged:
    """Decide about an account without recording anything. Raises LookupError for an unknown account."""
    account = customers.account(database, account_id)
    if account is None:
        raise LookupError(f"there is no account {account_id}")
    program, holiday = rulebook.programs[account.program]
    facts = gather(database, account, program, switchgear.get(account.meter_id), around)
    return account, facts, decide(facts, program, holiday), program, holiday


def note_circumstances(database: sqlite3.Connection, around: Circumstances, digest: str) -> None:
    """Write down what holds for the whole gateway, if it changed: a past decision is shown again from it."""
    seen_at = around.payments_feed_seen_at
    feed = "" if seen_at is None else past.FEED_ALIVE if seen_at == around.now else seen_at.isoformat()
    noted = past.RecordedCircumstances(
        at=around.now,
        running=True,
        clock_trusted=around.clock_trusted,
        feed=feed,
        shadow_mode=around.shadow_mode,
        disconnects_per_hour=around.limits.per_hour,
        disconnects_per_day=around.limits.per_day,
        disconnects_per_meter=around.limits.per_meter,
        share_of_line_ppm=around.limits.share_of_line_ppm,
        rules_digest=digest,
    )
    past.note_circumstances(database, noted)


def answer_of(decision: Decision, zone: tzinfo) -> dict[str, Any]:
    """A decision in the shape of every interface (contract section 4)."""
    following = decision.next_possible_disconnect
    amount = decision.amount_to_reconnect_cents
    return {
        "action": decision.action.value,
        "blocks": [{"code": b.code, "text": b.text, "source": b.source} for b in decision.blocks],
        "next_possible_disconnect": None if following is None else following.astimezone(zone).isoformat(),
        "amount_to_reconnect": None if amount is None else format_cents(amount),
    }


def _record(
    database: sqlite3.Connection,
    account: Account,
    decision: Decision,
    in_force: many.InForce | None,
    digest: str,
    around: Circumstances,
) -> int:
    codes = _codes(decision)
    if in_force is not None and (in_force.action, in_force.codes) == (decision.action.value, codes):
        return in_force.decision_id
    return records.add_decision(
        database,
        account_id=account.account_id,
        at=around.now,
        action=decision.action.value,
        codes=codes,
        answer=answer_of(decision, around.zone),
        rules_digest=digest,
    )


def _cancel_what_is_no_longer_wanted(
    database: sqlite3.Connection, account: Account, decision: Decision, now: datetime
) -> None:
    order = fleet.last_order(database, account.meter_id)
    if order is None or order.state != OrderState.WANTED or order.action == decision.action.value:
        return
    if not follows_the_rules(order.action, order.cause):
        return  # a person's word, or taking back what came late
    if order.account_id != account.account_id:
        return  # the meter serves another account by now
    reason = ", ".join(block.code for block in decision.blocks) or decision.action.value
    journal(database, order, OrderState.CANCELLED, f"decided again: {reason}", now)


def _needs_order(
    database: sqlite3.Connection, account: Account, facts: Facts, decision: Decision, now: datetime, *, again: bool
) -> bool:
    if decision.action is Action.NONE:
        return False
    last = fleet.last_order(database, account.meter_id)
    if last is not None and last.state in (OrderState.WANTED, OrderState.SENT):
        return False
    if decision.action is Action.DISCONNECT:
        return again or not (
            last is not None
            and last.action == Action.DISCONNECT
            and last.state in (OrderState.FAILED, OrderState.EXPIRED)
            and now - last.state_at < DISCONNECT_AGAIN_AFTER
        )
    if facts.relay is Relay.DISCONNECTED:
        return True
    # An unknown relay is worth a reconnect only if it may be open by a command of ours.
    change = fleet.relay_change(database, account.meter_id)
    return change is not None and change.cause in OURS


def journal(
    database: sqlite3.Connection, order: fleet.SwitchOrder, state: OrderState, detail: str, now: datetime
) -> None:
    """Journal an order's next step and tell the head end."""
    fleet.add_order_event(database, order.order_id, now, state, detail)
    _tell_step(database, order, state, detail, now)


def _tell_step(
    database: sqlite3.Connection, order: fleet.SwitchOrder, state: OrderState, detail: str, now: datetime
) -> None:
    step = {"meter_id": order.meter_id, "account_id": order.account_id, "action": order.action, "state": state.value}
    step |= {"detail": detail, "cause": order.cause}
    if order.cause in (Cause.MANUAL, Cause.SAFETY):
        step |= {"reason": order.reason, "by": order.by}
    records.add_event(database, "command", now, step)
