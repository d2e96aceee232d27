"""The picture of a training: its losses, learning rate and fidelity, from metrics.jsonl."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import InputError, TrainingError, UsageError, counted, nearest
from pairedit_sdk.images.curves import LOW, Curve, Panel, chart, window_of

if TYPE_CHECKING:
    from PIL import Image

METRICS = "metrics.jsonl"
#: By column: the value at each step. Steps ascend; a value that is not finite is left out.
Metrics = dict[str, list[tuple[int, float]]]

_NAMES = {"lr": "learning rate", "loss": "loss"}
#: What is said of the settings below the title.
_SETTINGS = ("objective", "lr", "batch", "rank", "count", "seed")
#: Of no interest beside the others.
_HIDDEN = ("step", "seconds")


def find_metrics(run: str | Path, library: str | Path) -> Path:
    """The metrics of a run.

    Args:
        run: a name in the library, of an edit's run or of a learned basis's; or a run's folder; or
            the file itself.
        library: the folder of edits.

    Raises:
        UsageError: there is no such run; the message names the nearest there is.
        InputError: the run has no metrics.
    """
    folder = EditLibrary(library).folder
    folders = [folder / "runs", folder / "learned" / "runs"]
    said = str(run)
    named = [folder / said for folder in folders if "/" not in said and "\\" not in said]
    for found in (*named, Path(run)):
        if found.is_file():
            return found
        if found.is_dir():
            if not (found / METRICS).is_file():
                raise InputError(
                    f"The run in {found} has no {METRICS}",
                    expected="one line for each step",
                    next_step="It is written with the first step of `pairedit train`",
                )
            return found / METRICS
    known = sorted(
        {
            path.name
            for folder in folders
            if folder.is_dir()
            for path in folder.iterdir()
            if path.is_dir()
        }
    )
    raise UsageError(
        f"There is no run {said!r} in {folders[0]}",
        expected=f"the name of a run, its folder, or its {METRICS}",
        next_step=nearest(Path(said).name, known),
    )


def read_metrics(path: Path) -> Metrics:
    """The columns of numbers in a file with a JSON object on each line.

    The last line of a training that was killed may be cut short, and is then left out; a step that
    is there twice counts as it was the last time.

    Raises:
        InputError: there is no such file, no step in it, or a line that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}", next_step="Check the path") from error
    rows: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[int(row["step"])] = row
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise InputError(
                f"Line {number} of {path} cannot be read",
                expected="a JSON object with the key step",
                got=repr(line[:60]),
                next_step="Take it out, or give another file",
            ) from error
    columns: Metrics = {}
    for step, row in sorted(rows.items()):
        for key, value in row.items():
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            if key not in _HIDDEN and plain and math.isfinite(value):
                columns.setdefault(key, []).append((step, float(value)))
    if not columns:
        unusable = f"{counted(len(rows), 'line')} without a finite number"
        raise InputError(
            f"{path} holds no metrics",
            expected="a line for each step",
            got=unusable if rows else "an empty file",
            next_step="They are written with each step of a training",
        )
    return columns


def plot_run(path: Path) -> Image.Image:
    """The picture of the run whose metrics are in ``path``.

    Losses are shown as light points with their running mean, all on one axis; each other column
    has a panel of its own.

    Raises:
        InputError: as :func:`read_metrics`.
    """
    columns = read_metrics(path)
    folder = path.parent
    if "fidelity" not in columns and (found := _of_checkpoints(folder / "checkpoints")):
        columns["fidelity"] = found
    steps = {step for points in columns.values() for step, _ in points}
    # An objective without a content branch writes 0 for its loss.
    losses = {
        key: points
        for key, points in columns.items()
        if key.endswith("loss") and any(value for _, value in points)
    }
    panels = []
    if losses:
        window = window_of(max(len(points) for points in losses.values()))
        mean = f", and the mean of {window} steps" if window > 1 else ""
        curves = [_curve(key, points, "noisy") for key, points in losses.items()]
        panels.append(Panel(f"Loss of each step{mean}", curves))
    for key, points in columns.items():
        if key.endswith("loss"):
            continue
        marks = key == "fidelity"
        curve = _curve(key, points, "marks" if marks else "line")
        heading = (
            "Fidelity on the training pairs: 1 is all of their change"
            if marks
            else (curve.label.capitalize())
        )
        panels.append(Panel(heading, [curve], LOW, (0.0, 1.0) if marks else ()))
    if not panels:
        raise InputError(
            f"{path} holds no metrics", expected="a line for each step", got="losses of 0 alone"
        )
    config = _config(folder / "config.json")
    name = config.get("name") or folder.resolve().name
    settings = config.get("settings")
    known = settings if isinstance(settings, dict) else {}
    said = [f"{key} {known[key]}" for key in _SETTINGS if known.get(key) is not None]
    last, wanted = max(steps), known.get("steps")
    done = f"{last} of {counted(wanted, 'step')}" if isinstance(wanted, int) else f"step {last}"
    return chart(panels, f"Training of {name}", ",  ".join([done, *said]))


def _curve(key: str, points: list[tuple[int, float]], kind: str) -> Curve:
    label = _NAMES.get(key, key.replace("_", " "))
    return Curve(label, [step for step, _ in points], [value for _, value in points], kind)


def _of_checkpoints(folder: Path) -> list[tuple[int, float]]:
    """The fidelity of the checkpoints that are still there, in runs whose metrics lack it."""
    if not any(folder.glob("step-*.safetensors")):
        return []
    from pairedit_sdk.training.checkpoints import Checkpoints

    with suppress(TrainingError):  # a damaged checkpoint is no matter of the curves
        saved = Checkpoints(folder).saved()
        return [(one.step, one.fidelity) for one in saved if one.fidelity is not None]
    return []


def _config(path: Path) -> dict[str, Any]:
    """The run's settings, for the title alone: without them there is a plainer one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
