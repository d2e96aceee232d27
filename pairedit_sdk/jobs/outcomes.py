"""What became of each of many edits, and the log of it beside them in the library."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pairedit_sdk.io.files import append_line

LOG = "train-many.jsonl"

State = Literal["made", "skipped", "failed"]


@dataclass(frozen=True)
class EditOutcome:
    """What became of one edit.

    Attributes:
        name: the edit's.
        state: "made", "skipped" (it was finished before) or "failed".
        path: the edit's file; ``None`` where it failed.
        seconds: that it took, from reading its pairs to its file.
        resumed_at: the step at which an interrupted run was taken up, 0 for one from the start.
        reason: why it failed, and what to do.
        traceback: of an error that nobody foresaw; otherwise empty.
    """

    name: str
    state: State
    path: Path | None = None
    seconds: float = 0.0
    resumed_at: int = 0
    reason: str = ""
    traceback: str = ""


def log_path(library: str | Path) -> Path:
    """The log of a library, whether it is there or not."""
    return Path(library) / LOG


def write_down(outcome: EditOutcome, library: str | Path) -> None:
    """Add what was made or failed to the library's log, a line each, in the order of their ends.

    Skipped edits are not in it: they have their line from the time when they were made. The log
    is for people and other programs; going on depends on the files of the edits alone.

    Raises:
        OSError: it cannot be written.
    """
    if outcome.state == "skipped":
        return
    values = {key: value for key, value in asdict(outcome).items() if value not in ("", None)}
    values["at"] = datetime.now(UTC).isoformat(timespec="seconds")
    values["seconds"] = round(outcome.seconds, 3)
    append_line(log_path(library), json.dumps(values, default=str))
