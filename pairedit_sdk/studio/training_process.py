"""One training as a process of its own, and what is kept of it in ``.studio/trainings``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairedit_sdk.errors import PairEditError, WriteError
from pairedit_sdk.io.files import write_json
from pairedit_sdk.studio.training_request import TrainingRequest
from pairedit_sdk.training.interrupts import STOP_WITH_INPUT

#: Exit statuses of a training that Ctrl-C or SIGTERM has ended.
STOPPED = (130, 143)


@dataclass(frozen=True)
class TrainingRecord:
    """What is known of a training that was started from the studio.

    Attributes:
        request: settled.
        steps: wanted.
        started: in seconds since 1970.
        resumed: whether it went on from an earlier run's checkpoint.
        found: when the run's ``config.json`` had been written that was there before, in ns.
        pid: of the process; for people alone, as the system gives ids away again.
    """

    request: TrainingRequest
    steps: int
    started: float
    resumed: bool = False
    found: int | None = None
    pid: int | None = None

    def write(self, path: Path) -> None:
        """Write it down.

        Raises:
            WriteError: the system did not let it.
        """
        write_json(path, {**vars(self), "request": self.request.as_dict()})

    @classmethod
    def read(cls, path: Path) -> TrainingRecord | None:
        """The record in a file; None where there is none, or it is damaged."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                TrainingRequest.from_dict(values["request"]),
                int(values["steps"]),
                float(values["started"]),
                bool(values["resumed"]),
                None if values["found"] is None else int(values["found"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None


@dataclass(frozen=True)
class Outcome:
    """How a training's command ended, by the JSON object that it printed.

    Attributes:
        state: "done", "stopped" or "failed".
        message: the error's sentence as the command line prints it; "" but for "failed".
    """

    state: str
    message: str = ""

    @classmethod
    def read(cls, path: Path) -> Outcome | None:
        """The outcome in a file; None where the command has not ended, or was killed."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            error = values.get("error")
            if error is None:
                return cls("done")
            if error["exit_status"] in STOPPED:
                return cls("stopped")
            return cls("failed", str(_as_error(error)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def _as_error(values: Mapping[str, Any]) -> PairEditError:
    said = {key: values.get(key) or "" for key in ("expected", "got", "next_step")}
    details = [str(line) for line in values.get("details") or ()]
    return PairEditError(str(values["message"]), **said, details=details)


class TrainingProcess:
    """``pairedit`` with some words, in a process of its own.

    The process is given the end of a pipe as standard input, and ends as by SIGTERM when the other
    end is closed: by :meth:`stop`, or by the system when this program ends in any way. So it cannot
    be told twice, which would stop it in the middle of a step; and a Ctrl-C in the terminal of this
    program does not reach it besides, as it has a session of its own.

    Args:
        name: of what is trained, for an error.
        words: after ``pairedit``; ``--json`` is added.
        out: a file for the JSON object, which is not there yet.
        log: a file for all else that is printed. It is added to.
    """

    def __init__(self, name: str, words: Sequence[str], out: Path, log: Path) -> None:
        self._name, self._out, self._log = name, out, log
        self._lock = threading.Lock()
        own: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        with out.open("xb") as printed, log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pairedit_sdk", *words, "--json"],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=said,
                env={**os.environ, STOP_WITH_INPUT: "1"},
                **own,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it has. Then ``out`` holds an outcome, also of a process that was killed."""
        status = self._process.poll()
        if status is None:
            return False
        self._close()
        with self._lock, suppress(WriteError):  # two threads may ask
            if Outcome.read(self._out) is None:
                write_json(self._out, {"error": self._fields(status)})
        return True

    def stop(self, wait: float) -> bool:
        """Ask it to stop after the step under way and its checkpoint.

        Args:
            wait: for its end, at most so many seconds. It ends all the same if that takes longer.

        Returns:
            Whether it has ended.
        """
        self._close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(wait)
        return self.has_ended()

    def _close(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _fields(self, status: int) -> dict[str, Any]:
        """The error of a process that has said nothing itself."""
        how, next_step = f"ended with exit status {status}", "Look at what it has printed"
        if status < 0:
            with suppress(ValueError):
                how = f"was ended by {signal.Signals(-status).name}"
            next_step = (
                "Memory may have run out: then train with less, for example recipe lowmem or a "
                "smaller resolution. Otherwise resume it. What it has printed is"
            )
        return {
            "message": f"The process that trains {self._name} {how}",
            "next_step": f"{next_step} in {self._log}",
            "exit_status": status,
        }
