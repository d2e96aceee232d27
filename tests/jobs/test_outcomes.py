"""The log has a line for what was made or failed, whole ones even after a crash."""

from __future__ import annotations

import json
from pathlib import Path

from pairedit_sdk.jobs.outcomes import EditOutcome, log_path, write_down


def test_what_was_made_or_failed_has_a_line_and_what_was_skipped_has_none(tmp_path: Path) -> None:
    library = tmp_path / "edits"
    for outcome in (
        EditOutcome("a", "made", library / "a.safetensors", 1.23456, resumed_at=2),
        EditOutcome("b", "skipped", library / "b.safetensors", 0.1),
        EditOutcome("c", "failed", seconds=0.5, reason="Bad pairs."),
    ):
        write_down(outcome, library)
    made, failed = map(json.loads, log_path(library).read_text(encoding="utf-8").splitlines())
    assert {made.pop("at")[:2], failed.pop("at")[:2]} == {"20"}
    assert made == {
        "name": "a", "state": "made", "path": str(library / "a.safetensors"), "seconds": 1.235,
        "resumed_at": 2,
    }  # fmt: skip
    assert failed == {
        "name": "c",
        "state": "failed",
        "seconds": 0.5,
        "resumed_at": 0,
        "reason": "Bad pairs.",
    }
