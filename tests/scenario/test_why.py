"""``why --at`` against a week that happened: at every step of every command, and at every recorded decision."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.catalog import Catalog, load_catalog
from edge.core.money import format_cents
from edge.explain import why_then
from edge.facts import Rulebook
from edge.settings import Settings, load_settings
from edge.store import books
from edge.store.base import instant_of, open_for_reading
from meter_sim.meter import Cause
from meter_sim.world import Plan, World, simulate
from protocols.link import RelayState

MOMENT = timedelta(microseconds=1)
START = date(2026, 9, 14)


@dataclass
class Week:
    """What happened, what the daemon left, and who asks about it."""

    world: World
    settings: Settings
    catalog: Catalog
    database: sqlite3.Connection

    def why(self, account_id: str, at: datetime) -> dict[str, Any]:
        return why_then(self.database, account_id, self.settings, self.catalog, at)

    def steps(self) -> list[tuple[str, str, str, datetime]]:
        """Each step of each order, the last one of an instant: account, action, state, instant."""
        rows = self.database.execute(
            "SELECT o.account_id, o.action, e.state, e.at FROM switch_event e JOIN switch_order o USING (order_id)"
            " ORDER BY e.event_id"
        )
        last = {(account_id, at): (account_id, action, state, instant_of(at)) for account_id, action, state, at in rows}
        return list(last.values())


@pytest.fixture(scope="module", params=["none", "harsh-days_clock-days_step"])
def week(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    directory: Path = tmp_path_factory.mktemp("week")
    world = simulate(Plan(12, 7, START, 3, faults=request.param), directory)
    settings = load_settings(directory / "edge.toml", directory)
    database = open_for_reading(settings.database)
    yield Week(world, settings, load_catalog(settings), database)
    database.close()


def codes(answer: dict[str, Any]) -> list[str]:
    return [block["code"] for block in answer["blocks"]]


def test_every_recorded_decision_is_found_again_in_the_facts(week: Week) -> None:
    rows = week.database.execute(
        "SELECT account_id, at, action, codes FROM decision d WHERE at > (SELECT min(at) FROM decision)"
        " AND decision_id = (SELECT max(decision_id) FROM decision l WHERE l.account_id = d.account_id AND l.at = d.at)"
    ).fetchall()
    assert len(rows) > 50
    for account_id, at, action, recorded in rows:
        answer = week.why(account_id, instant_of(at))
        assert answer["action"] == action
        assert codes(answer) == recorded.split(), (account_id, at)
        assert answer["recorded"]["codes"] == recorded.split()
        assert instant_of(answer["decided_at"]) == instant_of(at).replace(microsecond=0)


def test_at_each_step_of_a_command(week: Week) -> None:
    steps = week.steps()
    assert {(action, state) for _, action, state, _ in steps} >= {
        ("disconnect", "confirmed"),
        ("reconnect", "confirmed"),
    }
    for account_id, action, state, at in steps:
        answer = week.why(account_id, at)
        told = answer["last_command"][-1]
        assert (told["action"], told["state"]) == (action, state), (account_id, at)
        if state == "wanted" or (state == "sent" and action == "disconnect"):
            assert answer["action"] == action
            assert (answer["blocks"] == []) == (action == "disconnect")
        if state == "confirmed":
            assert answer["action"] == "none"
            assert answer["relay"] == ("disconnected" if action == "disconnect" else "connected")
            assert ("already_disconnected" in codes(answer)) == (action == "disconnect")
            before = week.why(account_id, at - MOMENT)
            assert before["action"] == action
            assert before["last_command"][-1]["state"] == "sent"


def test_the_relay_and_the_balance_are_those_of_the_instant(week: Week) -> None:
    for name, meter in week.world.meters.items():
        for step in meter.transitions:
            if step.cause is not Cause.COMMAND or step.relay is not RelayState.DISCONNECTED:
                continue
            answer = week.why(week.world.account_of(name), step.at - MOMENT)
            assert (answer["action"], answer["relay"]) == ("disconnect", "connected")
            assert answer["balance"].startswith("-")
            assert answer["known"]["zero_notice_delivered_at"] is not None
    account_ids = {week.world.account_of(name) for name in week.world.meters}
    for account_id in sorted(account_ids):
        for line in books.statement(week.database, account_id)[1:]:
            answer = week.why(account_id, line.posted_at)
            balance = books.balance_at(week.database, account_id, line.posted_at)
            assert answer["balance"] == answer["known"]["balance"] == format_cents(balance)


def test_what_time_alone_moves_is_told_as_of_the_instant(week: Week) -> None:
    sunday_noon = datetime.combine(START + timedelta(days=6), datetime.min.time(), week.settings.zone)
    sunday_noon += timedelta(hours=12)
    for name in week.world.meters:
        answer = week.why(week.world.account_of(name), sunday_noon)
        assert "weekend" in codes(answer)
        assert instant_of(answer["decided_at"]) <= sunday_noon


def test_rules_that_changed_since_are_not_those_of_then(week: Week) -> None:
    program, holiday = week.catalog.rulebook.programs["default"]
    tighter = replace(program, windows=(None,) * 7)
    later = Rulebook({"default": (tighter, holiday)}, "another digest")
    now = replace(week, catalog=replace(week.catalog, rulebook=later))
    account_id, _, _, at = next(step for step in week.steps() if step[1:3] == ("disconnect", "sent"))
    assert now.why(account_id, at)["blocks"] == week.why(account_id, at)["blocks"] == []
    assert now.why(account_id, at - timedelta(hours=12)) == week.why(account_id, at - timedelta(hours=12))


def test_when_the_reads_of_then_are_pruned(week: Week, tmp_path: Path) -> None:
    account_id, _, _, at = next(step for step in week.steps() if step[1:3] == ("disconnect", "sent"))
    copy = sqlite3.connect(tmp_path / "edge.db")
    week.database.backup(copy)
    copy.execute("DELETE FROM reading")
    answer = why_then(copy, account_id, week.settings, week.catalog, at)
    copy.close()
    assert (answer["action"], answer["blocks"]) == ("disconnect", [])
    assert answer["known"]["last_actual_read_at"] is None


def test_before_the_first_decision_and_after_the_last_sign_of_the_daemon(week: Week) -> None:
    account_id = week.world.account_of(next(iter(week.world.meters)))
    with pytest.raises(LookupError, match="nothing was decided about"):
        week.why(account_id, datetime.combine(START, datetime.min.time(), week.settings.zone) - MOMENT)
    answer = week.why(account_id, week.world.end + timedelta(days=1))
    assert answer["daemon_running"] is False
    assert {"clock_untrusted", "payments_stale"} <= set(codes(answer))
