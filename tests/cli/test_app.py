from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import pairedit_sdk
from pairedit_sdk.errors import TrainingError
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
