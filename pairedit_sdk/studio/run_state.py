"""What the folder of a run tells: how far it is, its losses, its pictures."""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pairedit_sdk.training.checkpoints import Checkpoints, step_of

#: Points of a curve of losses, at most.
POINTS = 300
#: Steps whose median tells how long one takes.
RECENT = 20
_PREVIEW = re.compile(r"step-\d+\.png")


@dataclass(frozen=True)
class RunState:
    """How far a run is, by its files.

    Attributes:
        begun: when a training last began or went on here, in seconds since 1970; 0 where none did.
        step: finished steps.
        steps: wanted; 0 where it is not known.
        losses: (step, sum of the losses), at most :data:`POINTS`; each is the mean of the steps
            since the point before.
        seconds_per_step: the median of the last :data:`RECENT`, or None.
        previews: pictures in the order of their steps.
    """

    begun: float = 0.0
    step: int = 0
    steps: int = 0
    losses: tuple[tuple[int, float], ...] = ()
    seconds_per_step: float | None = None
    previews: tuple[Path, ...] = ()


def read_run(folder: Path) -> RunState | None:
    """The state of the run in ``folder``; None where no training has begun.

    Files that are damaged, or that a killed run has cut short, count as far as they can be read.
    """
    config = folder / "config.json"
    rows = _metrics(folder / "metrics.jsonl")
    newest = Checkpoints(folder / "checkpoints").newest()
    if not rows and newest is None and not config.is_file():
        return None
    recent = [row.seconds for row in rows[-RECENT:] if row.seconds is not None]
    known = (row for row in rows if row.loss is not None)
    return RunState(
        begun=(changed(config) or 0) / 1e9,
        step=rows[-1].step if rows else 0 if newest is None else step_of(newest),
        steps=_steps(config),
        losses=thinned([(row.step, row.loss or 0.0) for row in known]),
        seconds_per_step=statistics.median(recent) if recent else None,
        previews=tuple(
            sorted(
                (p for p in folder.glob("previews/*.png") if _PREVIEW.fullmatch(p.name)),
                key=step_of,
            )
        ),
    )


def thinned(points: list[tuple[int, float]], most: int = POINTS) -> tuple[tuple[int, float], ...]:
    """At most ``most`` points, each the mean of as many neighbours, at the last one's step.

    Losses jump from step to step with the noise level drawn, so single ones would mislead.
    """
    size = max(1, math.ceil(len(points) / most))
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple((part[-1][0], statistics.fmean(loss for _, loss in part)) for part in parts)


def changed(path: Path) -> int | None:
    """When a file was last written, in ns since 1970; None where it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


@dataclass(frozen=True)
class _Row:
    step: int
    loss: float | None
    seconds: float | None


def _metrics(path: Path) -> tuple[_Row, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return _rows(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=64)  # a page that is open asks every second, and most runs are over
def _rows(path: Path, written: int, size: int) -> tuple[_Row, ...]:
    """The lines of a metrics file, each step as it was the last time."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    rows = {row.step: row for row in map(_row, lines) if row is not None}
    return tuple(rows[step] for step in sorted(rows))


def _row(line: str) -> _Row | None:
    try:
        values = json.loads(line)
        step = int(values["step"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    losses = [_number(value) for key, value in values.items() if str(key).endswith("loss")]
    known = [loss for loss in losses if loss is not None]
    return _Row(step, sum(known) if known else None, _number(values.get("seconds")))


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def _steps(config: Path) -> int:
    try:
        return int(json.loads(config.read_text(encoding="utf-8"))["settings"]["steps"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return 0
