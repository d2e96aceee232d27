"""A command in a process of its own, and how its end is told."""

import json
import os
import signal
import sys
import time

import pytest

from pairedit_sdk.studio.training_process import Outcome, TrainingProcess, TrainingRecord

ERROR = {
    "type": "InputError", "message": "Pairs folder 'x' does not exist", "expected": "a folder",
    "got": None, "next_step": "Check the path", "details": [], "exit_status": 2,
}  # fmt: skip


def _read(tmp_path, value):
    path = tmp_path / "x.out"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return Outcome.read(path)


def test_outcomes(tmp_path):
    assert _read(tmp_path, {"name": "x", "steps": 4}) == Outcome("done")
    said = "Pairs folder 'x' does not exist. Expected a folder. Check the path."
    assert _read(tmp_path, {"error": ERROR}) == Outcome("failed", said)
    details = {**ERROR, "details": ["one", "two"]}
    assert _read(tmp_path, {"error": details}).message.splitlines() == [
        "Pairs folder 'x' does not exist:", "  one", "  two. Expected a folder. Check the path.",
    ]  # fmt: skip
    for status in (130, 143):
        assert _read(tmp_path, {"error": {**ERROR, "exit_status": status}}) == Outcome("stopped")


@pytest.mark.parametrize("value", ["", "{", "[]", "null", '{"error": 1}', '{"error": {}}'])
def test_no_outcome(tmp_path, value):
    assert _read(tmp_path, value) is None
    assert Outcome.read(tmp_path / "none") is None


@pytest.mark.parametrize("value", ["", "[]", "{}", '{"request": {}}', '{"request": {"name": 1}}'])
def test_a_damaged_record_is_none(tmp_path, value):
    (tmp_path / "x.json").write_text(value)
    assert TrainingRecord.read(tmp_path / "x.json") is None


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Start a script in the place of the package, which is slow to load."""
    made = []

    def start(code):
        (tmp_path / "pairedit_sdk.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        made.append(TrainingProcess("x", ["train"], tmp_path / "x.out", tmp_path / "x.log"))
        return made[-1]

    yield start
    for process in made:
        if not process.has_ended():
            os.kill(process.pid, signal.SIGKILL)
            process.stop(60)


def _ended(process):
    until = time.monotonic() + 60
    while not process.has_ended() and time.monotonic() < until:
        time.sleep(0.01)
    return process.has_ended()


def test_what_is_printed_is_kept_apart(started, tmp_path):
    code = "import sys, json; sys.stderr.write('aside'); print(json.dumps({'words': sys.argv[1:]}))"
    assert _ended(started(code))
    assert json.loads((tmp_path / "x.out").read_text()) == {"words": ["train", "--json"]}
    assert (tmp_path / "x.log").read_text() == "aside"


def test_stopping_ends_its_input(started, tmp_path):
    process = started("import sys; sys.stdin.read(); print('{}')")
    assert not process.has_ended()
    assert process.stop(60)
    assert Outcome.read(tmp_path / "x.out") == Outcome("done")


def test_stopping_does_not_wait_for_ever(started):
    process = started("import time; time.sleep(60)")
    begun = time.monotonic()
    assert not process.stop(0.1)
    assert time.monotonic() - begun < 10


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_a_process_that_is_killed_has_failed(started, tmp_path):
    process = started("import time; time.sleep(60)")
    os.kill(process.pid, signal.SIGKILL)
    assert _ended(process)
    outcome = Outcome.read(tmp_path / "x.out")
    assert outcome.state == "failed"
    assert outcome.message.startswith("The process that trains x was ended by SIGKILL. Memory may")
    assert outcome.message.endswith(f"in {tmp_path / 'x.log'}.")


def test_a_process_that_says_nothing_has_failed(started, tmp_path):
    assert _ended(started("raise SystemExit(3)"))
    assert Outcome.read(tmp_path / "x.out").message == (
        "The process that trains x ended with exit status 3. Look at what it has printed in "
        f"{tmp_path / 'x.log'}."
    )


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="there are no sessions")
def test_ctrl_c_in_the_terminal_does_not_reach_it(started):
    process = started("import sys; sys.stdin.read()")
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
