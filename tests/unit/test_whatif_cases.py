"""``whatif decide``: the acceptance cases, cases of every program, and what is no case at all."""

import json
from typing import Any

import pytest

from edge.whatif import CaseError, answer, answer_lines, merged
from tests.cases import BASE, answered, case, codes, lines_of

CASES = [*lines_of("decide.jsonl"), *lines_of("programs.jsonl")]


@pytest.mark.parametrize("given", CASES, ids=[given["name"] for given in CASES])
def test_an_acceptance_case(given: dict[str, Any]) -> None:
    found, expected = answered(given["patch"]), given["expect"]
    assert found["action"] == expected["action"]
    assert set(expected["blocks"]) <= codes(found)
    assert (found["action"] == "disconnect") == (found["blocks"] == [])
    for key in ("next_possible_disconnect", "amount_to_reconnect"):
        assert key not in expected or found[key] == expected[key]


def test_every_program_that_ships_has_a_case() -> None:
    assert {given["patch"].get("program", "default") for given in CASES} == {
        *("default", "oge-pay-as-you-go", "pso-prepay", "oec-prepaid", "lake-region", "strict", "missouri"),
    }


def test_the_shape_of_an_answer() -> None:
    found = answered({"account": {"holds": [{"kind": "dispute", "from": "2026-10-14T00:00:00Z", "until": None}]}})
    assert list(found) == ["action", "blocks", "next_possible_disconnect", "amount_to_reconnect"]
    (block,) = found["blocks"]
    assert list(block) == ["code", "text", "source"]
    assert block["text"] == "a hold (dispute) is in force, with no end set"
    grace = answered({"account": {"zero_notice_delivered_at": "2026-10-14T02:30:00Z"}})
    assert grace["blocks"][0]["text"] == "the customer has until 2026-10-14 21:30:00-05:00"
    assert grace["next_possible_disconnect"] == "2026-10-15T08:00:00-05:00"


def test_times_come_in_the_offset_of_the_territory() -> None:
    assert answered({"now": "2026-10-14T14:00:00Z"})["next_possible_disconnect"] == "2026-10-14T09:00:00-05:00"
    eastern = answered({"now": "2026-10-14T14:00:00Z", "timezone": "America/New_York"})
    assert eastern["next_possible_disconnect"] == "2026-10-14T10:00:00-04:00"
    assert answered({"timezone": None, "program": None, "set": None})["action"] == "disconnect"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "a case is a JSON object"),
        (None, "a case is a JSON object"),
        ({"Now": "2026-10-14T09:00:00-05:00"}, "Now is not a known key"),
        ({"account": {"balanc": "1.00"}}, "account.balanc is not a known key"),
        ({"account": {"holds": [{"kind": "dispute", "til": None}]}}, "account.holds.til is not a known key"),
        ({"meter": {"id": "m1"}}, "meter.id is not a known key"),
        ({"weather": {"wind": 3}}, "weather.wind is not a known key"),
        ({"weather": {"observed": {"humidity": 3}}}, "weather.observed.humidity is not a known key"),
        ({"moratoriums": [{"name": "x"}]}, "moratoriums.name is not a known key"),
        ({"gateway": {"id": "gw1"}}, "gateway.id is not a known key"),
        ({"program": "nobody"}, "there is no program 'nobody'"),
        ({"program": ""}, "there is no program ''"),
        ({"program": 5}, "program - must be a program's name"),
        ({"set": []}, "set - must be an object of dotted keys"),
        ({"set": {"disconnect.tripp": "zero"}}, "set: disconnect.tripp - is not a known key"),
        ({"set": {"disconnect.trip": "never"}}, "set: disconnect.trip - "),
        ({"timezone": "America/Chigaco"}, "timezone - 'America/Chigaco' is not a known time zone"),
        ({"timezone": "America"}, "timezone - 'America' is not a known time zone"),
        ({"timezone": ""}, "timezone - '' is not a known time zone"),
        ({"timezone": "../etc/passwd"}, "is not a known time zone"),
        ({"timezone": 6}, "timezone - 6 is not a known time zone"),
    ],
)
def test_what_is_no_case_is_refused_by_its_key(given: Any, told: str) -> None:
    with pytest.raises(CaseError) as refused:
        answer(given)
    assert told in str(refused.value)


NONSENSE: list[Any] = [
    *(None, True, False, 0, -1, 3.7, 10**400, float("nan"), float("inf"), "", "nonsense", "\ud800", "-3.20", "9" * 30),
    *([], {}, [[]], [{}], [None], "2026-10-14T09:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"),
    *("2026-10-14T09:00:00+24:00", "2026-13-14T09:00:00Z", "2026-W42-3T09:00:00Z", "2026-10-14"),
]
FACTS = [
    *(("account", key) for key in BASE["account"]),
    *(("meter", key) for key in BASE["meter"]),
    *(("weather", key) for key in BASE["weather"]),
    *(("weather", "observed", key) for key in BASE["weather"]["observed"]),
    *(("gateway", key) for key in BASE["gateway"]),
    *(("now",), ("moratoriums",), ("account",), ("meter",), ("weather",), ("gateway",)),
]
MAY_BE_UNKNOWN = {"arrears", "payments_since_disconnect", "returned_payment_notice_at"}


@pytest.mark.parametrize("path", FACTS, ids=".".join)
def test_a_fact_without_sense_is_unknown_and_never_an_error(path: tuple[str, ...]) -> None:
    """Nor does it ever cut anybody who would not be cut without it."""
    for value in NONSENSE:
        given: Any = json.loads(json.dumps(BASE))
        table = given
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value
        found = answer(given)
        json.dumps(found)
        if value != table_of(BASE, path) and path[-1] not in MAY_BE_UNKNOWN and not makes_sense(path, value):
            assert found["action"] != "disconnect", (path, value)
        given["meter"] = {"relay": "disconnected"}
        if path[0] != "account" and path[0] != "meter":
            given["account"]["balance"] = "0.01"
            assert answer(given)["action"] == "reconnect"


def table_of(given: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        given = given[key]
    return given


def makes_sense(path: tuple[str, ...], value: Any) -> bool:
    """Of what stands in the list, what is a value of that fact for which a disconnect may go on."""
    senses: dict[str, tuple[Any, ...]] = {
        "confirm_seconds": (0, 3.7),
        "heat_index_f": (0, -1, 3.7),
        "temperature_f": NONSENSE if path[1:2] == ("observed",) else (),  # type: ignore[dict-item]
        "protected": ([],),
        "holds": ([],),
        "alerts": ([],),
        "moratoriums": ([],),
        "disconnects_left": (10**400,),
    }
    return any(value is sense or (type(value) is type(sense) and value == sense) for sense in senses.get(path[-1], ()))


@pytest.mark.parametrize("now", ["2026-10-14T14:00:00Z", "2026-10-14t09:00:00.000000000-05:00", "2026-10-14 14:00:00z"])
def test_a_time_may_be_spelt_as_rfc_3339_allows(now: str) -> None:
    assert answered({"now": now})["action"] == "disconnect"


def test_overrides_from_outside_win_over_the_cases_own() -> None:
    given = case({"account": {"balance": "0.00"}, "set": {"disconnect.trip": "negative"}})
    assert answer(given)["action"] == "none"
    assert answer(given, {"disconnect.trip": "zero"})["action"] == "disconnect"
    lines = [json.dumps(given), json.dumps({**given, "set": 5})]
    answers = [(json.loads(text), good) for text, good in answer_lines(lines, {"disconnect.trip": "zero"})]
    assert answers[0][0]["action"] == "disconnect"
    assert answers[1] == ({"error": "line 2: set - must be an object of dotted keys"}, False)


def test_a_bad_line_gets_its_error_in_its_place() -> None:
    lines = [
        json.dumps(BASE),
        "{",
        "",
        json.dumps(case({"meter": {"relay": "unknown"}})),
        '{"acount": 1}',
        "[" * 5000,
        "7",
    ]
    answers = [(json.loads(text), good) for text, good in answer_lines(lines)]
    assert [good for _, good in answers] == [True, False, True, False, False, False]
    assert answers[0][0] == answered()
    assert answers[1][0]["error"].startswith("line 2: is not one JSON document: ")
    assert answers[2][0]["blocks"][0]["code"] == "relay_unknown"
    assert answers[3][0] == {"error": "line 5: acount is not a known key"}
    assert answers[4][0]["error"].startswith("line 6: is not one JSON document: ")
    assert answers[5][0] == {"error": "line 7: a case is a JSON object"}


def test_a_case_is_not_changed_by_its_answer() -> None:
    given = case({"set": {"disconnect.trip": "zero"}})
    before = json.dumps(given)
    assert answer(given) == answer(given)
    assert json.dumps(given) == before


def test_a_merge_patch_is_that_of_rfc_7386() -> None:
    assert merged({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": None, "c": [2]}, "e": {"f": None}}) == {
        "a": {"c": [2]},
        "d": 2,
        "e": {},
    }
    assert merged({"a": 1}, [1]) == [1]
    assert merged(["a"], {"b": 1}) == {"b": 1}
