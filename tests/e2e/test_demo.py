"""The demonstration, as a stranger starts it: its summary, its plain lines, and that nothing of it stays behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

METER_SIM = str(Path(sys.executable).parent / "meter-sim")
ENDS_WITHIN_S = 60  # contract section 2


class Demo:
    """A demonstration under way."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [METER_SIM, "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, standard output, standard error."""
        try:
            out, err = self.process.communicate(timeout=ENDS_WITHIN_S)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, Demo, Path]:
    """Two demonstrations at the same time, one for a program and one for a file; and where they keep their state."""
    state = tmp_path_factory.mktemp("state")
    environment = {"TMPDIR": str(state)}
    return Demo("--fast", "--json", environment=environment), Demo("--fast", environment=environment), state


def test_the_summary_holds_in_every_check(together: tuple[Demo, Demo, Path]) -> None:
    code, out, err = together[0].end()
    assert code == 0, out + err
    answer = json.loads(out)
    assert answer["disconnects"] == 4
    assert answer["reconnects"] == 5
    assert answer["wrongful_disconnects"] == 0
    assert 0 < answer["reconnect_seconds"]["p50"] <= answer["reconnect_seconds"]["p95"]
    assert answer["reconnect_seconds"]["p95"] <= answer["reconnect_seconds"]["max"] <= 2
    assert answer["ledger_imbalance"] == "0.00"
    assert [check for check in answer["checks"] if not check["ok"]] == []
    assert all(check["name"] and check["detail"] for check in answer["checks"])


def test_without_a_terminal_it_tells_plain_lines_and_ends_with_the_checks(together: tuple[Demo, Demo, Path]) -> None:
    code, out, err = together[1].end()
    assert (code, err) == (0, ""), out + err
    assert "\x1b" not in out
    story, checks = out.split("\n\n", 1)
    assert len(story.splitlines()) > 40
    assert [
        line for line in story.splitlines() if not re.match(r" {0,1}[A-Z][a-z]{2} \d{1,2} Oct \d\d:\d\d  \S", line)
    ] == []
    assert "Elena Ruiz is disconnected" in story
    assert "weekend" in story
    assert "✗" not in checks
    assert checks.rstrip().endswith("Every check holds.")
    assert list(together[2].iterdir()) == []


def test_an_interrupt_ends_it_in_one_sentence(tmp_path: Path) -> None:
    running = Demo("--fast", environment={"TMPDIR": str(tmp_path)})
    assert running.process.stdout is not None
    while "Dale Harjo pays" not in running.process.stdout.readline():
        assert running.process.poll() is None
    running.process.send_signal(signal.SIGINT)
    code, _, err = running.end()
    assert (code, err) == (1, "meter-sim: the demonstration was stopped before its end; nothing was judged\n")
    assert list(tmp_path.iterdir()) == []


def test_without_the_broker_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "iotcore.py").write_text("raise ImportError('not there')\n")
    code, out, err = Demo("--fast", environment={"PYTHONPATH": str(tmp_path)}).end()
    assert (code, out) == (1, "")
    assert re.fullmatch(r"meter-sim: [^\n]*iotcore[^\n]*install[^\n]*\n", err)
