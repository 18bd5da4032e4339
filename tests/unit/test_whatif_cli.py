"""``ami-edge whatif decide`` as a program: a file, stdin, a case a line, overrides, and what is no case."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.whatif import answer
from tests.cases import BASE, FOLDER, answered, case, lines_of

AMI_EDGE = Path(sys.executable).parent / "ami-edge"


def decide(*arguments: str, given: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(AMI_EDGE), "whatif", "decide", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_a_case_from_a_file_and_from_stdin() -> None:
    from_file = decide("--case", str(FOLDER / "base.json"))
    assert json.loads(from_file.stdout) == answered()
    assert from_file.stderr == ""
    held = case({"gateway": {"shadow_mode": True}})
    assert json.loads(decide("--case", "-", "--json", given=json.dumps(held)).stdout) == answer(held)


def test_a_case_a_line_and_an_answer_a_line() -> None:
    cases = [case(given["patch"]) for given in lines_of("decide.jsonl")]
    lines = [json.dumps(each) for each in cases]
    middle = len(lines) // 2
    lines[middle:middle] = ["{no case", '{"acount": {}}']
    done = decide("--case", "-", "--jsonl", given="\n".join(lines), code=2)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    errors = [found.pop(middle), found.pop(middle)]
    assert [list(error) for error in errors] == [["error"], ["error"]]
    assert errors[0]["error"].startswith(f"line {middle + 1}: is not one JSON document")
    assert errors[1]["error"] == f"line {middle + 2}: acount is not a known key"
    assert found == [answer(each) for each in cases]


def test_good_lines_alone_end_well() -> None:
    assert len(decide("--jsonl", given=json.dumps(BASE) + "\n\n" + json.dumps(BASE) + "\n").stdout.splitlines()) == 2


def test_a_key_of_the_program_is_overridden() -> None:
    owes_nothing = json.dumps(case({"account": {"balance": "0.00"}, "set": {"disconnect.trip": "negative"}}))
    overrides = ("--set", "disconnect.trip=zero", "--set", "disconnect.guard_seconds=60")
    found = json.loads(decide(*overrides, given=owes_nothing).stdout)
    assert (found["action"], found["blocks"]) == ("disconnect", [])
    found = json.loads(decide("--jsonl", *overrides, given=owes_nothing).stdout)
    assert (found["action"], found["blocks"]) == ("disconnect", [])


BAD: list[tuple[tuple[str, ...], Any, str]] = [
    ((), {"acount": {}}, "-: acount is not a known key"),
    ((), {"account": {"balanc": "1.00"}}, "-: account.balanc is not a known key"),
    ((), {"program": "nobody"}, "there is no program 'nobody'"),
    (("--set", "disconnect.tripp=zero"), {}, "disconnect.tripp"),
    (("--set", "disconnect.trip"), {}, "--set - 'disconnect.trip' is not KEY=VALUE"),
    (("--case", "nowhere.json"), {}, "nowhere.json: cannot be read"),
    ((), "[", "-: is not one JSON document"),
]


@pytest.mark.parametrize(("arguments", "given", "told"), BAD, ids=[told for _, _, told in BAD])
def test_what_is_no_case_ends_with_one_sentence(arguments: tuple[str, ...], given: Any, told: str) -> None:
    done = decide(*arguments, given=given if isinstance(given, str) else json.dumps(given), code=2)
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
