from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import pairedit_sdk
from pairedit_sdk.cli import app
from pairedit_sdk.errors import EditError, TrainingError
from pairedit_sdk.training.interrupts import Terminated

Pairedit = Callable[..., Result]
HEAVY = {"torch", "diffusers", "peft", "transformers", "PIL", "numpy", "yaml", "accelerate"}
ROOT = Path(pairedit_sdk.__file__).parents[1]


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "try:\n    from pairedit_sdk.cli import main; main()\n"
        "finally:\n"
        "    there = {name for name, module in sys.modules.items() if module}\n"  # None: hidden
        f"    print(sorted({HEAVY} & there), file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):
        # The processor's time, so that a busy machine does not fail the test.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.stderr.strip() == "[]"
        assert "Usage: pairedit" in done.stdout
    assert min(seconds) < 0.5


@pytest.mark.parametrize(
    "command", ["demo", "check", "train", "train-many", "edit", "generate", "sweep"]
)
def test_help_of_every_command_tells_of_json_and_quiet(pairedit: Pairedit, command: str) -> None:
    result = pairedit(command, "--help")
    assert result.exit_code == 0
    assert {"--json", "--quiet"} <= set(re.findall(r"--\w+", result.stdout))


def _groups(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    if inner := getattr(command, "commands", {}):
        yield words
    for name, one in inner.items():
        yield from _groups(one, *words, name)


def test_help_shows_every_summary_in_full() -> None:
    groups = list(_groups(get_command(app)))
    assert groups == [(), ("edits",), ("basis",), ("lorweb",), ("bench",)]
    for words in groups:
        shown = CliRunner().invoke(app, [*words, "--help"], terminal_width=80).stdout
        commands = shown.split("\nCommands:\n")[1].split("\n\n")[0].splitlines()
        assert len(commands) > 4
        for line in commands:
            assert re.fullmatch(r"  [a-z-]+ +[A-Z].*[^.]\.?", line), line


@pytest.mark.parametrize("module", ["pairedit_sdk", "pairedit_sdk.cli"])
def test_both_modules_run(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, f"pairedit {pairedit_sdk.__version__}\n")


@pytest.mark.parametrize("words", [(), ("edits",)])
def test_a_group_alone_shows_its_help(pairedit: Pairedit, words: tuple[str, ...]) -> None:
    result = pairedit(*words)
    assert result.exit_code == 0
    assert result.stdout == pairedit(*words, "--help").stdout


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pairedit_sdk.edits.library.EditLibrary.paths", fail)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (TrainingError("The loss is no number", next_step="Lower lr"), 1,
         "Error: The loss is no number. Lower lr.\n"),
        (KeyboardInterrupt(), 130, "Error: Stopped by Ctrl-C.\n"),
        (Terminated(), 143, "Error: Stopped by SIGTERM.\n"),
        (OSError(28, "No space left on device", "edits/x"), 1,
         "Error: The system refused: No space left on device (edits/x).\n"),
        (MemoryError(), 1,
         "Error: Out of memory. Close other programs that use the memory.\n"),
        (ZeroDivisionError("division\n by zero"), 1,
         "Error: This is a bug in pairedit, not in what you did: ZeroDivisionError: division by "
         "zero. Run the same command with --debug to see where, and report it with that output.\n"),
    ],
)  # fmt: skip
def test_every_error_is_one_paragraph(
    pairedit: Pairedit,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    text: str,
) -> None:
    _fail_with(monkeypatch, error)
    result = pairedit("edits", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", text)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ImportError("cannot load module more than once per process"), 143,
         "Error: Stopped by SIGTERM.\n"),
        (EditError("hat is damaged"), 2, "Error: hat is damaged.\n"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_signal_within_an_import_is_no_bug(
    pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, text: str
) -> None:
    """Where the input that is watched has ended; errors of the user's stay what they are."""
    ended = threading.Event()
    ended.set()
    monkeypatch.setattr("pairedit_sdk.training.interrupts._ended", ended)
    _fail_with(monkeypatch, error)
    result = pairedit("edits", "list")
    assert (result.exit_code, result.stderr) == (status, text)


def _parts(kind: str, message: str, status: int, **others: Any) -> dict[str, Any]:
    nothing = {"expected": None, "got": None, "next_step": None, "details": []}
    return {**nothing, "type": kind, "message": message, "exit_status": status, **others}


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (EditError("hat is damaged", expected="safetensors", got="text", next_step="Copy it again"),
         _parts("EditError", "hat is damaged", 2, expected="safetensors", got="text",
                next_step="Copy it again")),
        (TrainingError("Two problems", details=["one", "two"]),
         _parts("TrainingError", "Two problems", 1, details=["one", "two"])),
        (KeyboardInterrupt(), _parts("StoppedError", "Stopped by Ctrl-C", 130)),
        (MemoryError(), _parts("MemoryError", "Out of memory", 1,
                               next_step="Close other programs that use the memory")),
        (ZeroDivisionError("oh"),
         _parts("ZeroDivisionError",
                "This is a bug in pairedit, not in what you did: ZeroDivisionError: oh", 1,
                next_step="Run the same command with --debug to see where, and report it with that "
                "output")),
    ],
)  # fmt: skip
def test_json_is_one_object_for_an_error_too(
    pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch, error: BaseException, parts: dict[str, Any]
) -> None:
    _fail_with(monkeypatch, error)
    words = pairedit("edits", "list")
    for said in (pairedit("edits", "list", "--json"), pairedit("edits", "list", "--json", "-q")):
        assert json.loads(said.stdout) == {"error": parts}
        assert (said.exit_code, said.stderr) == (words.exit_code, words.stderr)


@pytest.mark.parametrize(
    ("words", "message", "path"),
    [
        (("edits", "list", "--json", "--bogus"), "No such option: --bogus", "edits list "),
        (("train", "--json"), "Missing argument 'PAIRS'", "train "),
        (("xyzzy", "--json"), "No such command 'xyzzy'", ""),
    ],
)
def test_json_is_one_object_for_a_wrong_line_too(
    pairedit: Pairedit, words: tuple[str, ...], message: str, path: str
) -> None:
    result = pairedit(*words)
    step = f"See pairedit {path}--help"
    assert json.loads(result.stdout) == {"error": _parts("UsageError", message, 2, next_step=step)}
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}. {step}.\n")


def test_json_after_two_dashes_is_an_argument(pairedit: Pairedit) -> None:
    result = pairedit("edits", "show", "--", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json" in result.stderr


def test_a_closed_pipe_is_no_message(pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    result = pairedit("edits", "list")
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize("words", [("--debug", "edits", "list"), ("edits", "list", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(
    pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    _fail_with(monkeypatch, ZeroDivisionError("oh"))
    result = pairedit(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError: oh" in result.stderr
