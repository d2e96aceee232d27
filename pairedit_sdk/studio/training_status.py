"""How a training is doing, by its files: the run's folder, and what the studio has written down."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from pairedit_sdk.edits.library import EditLibrary, check_name
from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.studio.run_state import RunState, changed, read_run
from pairedit_sdk.studio.training_process import Outcome, TrainingRecord
from pairedit_sdk.training.run_lock import is_locked


@dataclass(frozen=True)
class TrainingStatus:
    """How a training is doing.

    Attributes:
        name: of the edit.
        state: "starting" (loading the model, or finding words), "running", "stopped", "failed" or
            "done".
        step: finished steps.
        steps: wanted; 0 where that is not known.
        losses: (step, loss) in order, at most 300; each is a mean of neighbouring steps.
        seconds_per_step: the median of recent ones, or None.
        seconds_left: until the last step, while it is running, or None.
        previews: pictures in the order of their steps: the pairs, and what the edit makes of them.
        message: for "failed" the error as the command line says it, else "".
        resumable: whether :meth:`Trainings.resume` would go on with it.
        command: the command line that does the same, with ``--resume`` where it would go on; ""
            for a training that was not started from the studio.
        started: in seconds since 1970.
    """

    name: str
    state: str
    step: int = 0
    steps: int = 0
    losses: tuple[tuple[int, float], ...] = ()
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    previews: tuple[Path, ...] = ()
    message: str = ""
    resumable: bool = False
    command: str = ""
    started: float = 0.0


class TrainingFiles:
    """The files of a library's trainings. Nothing is written.

    Args:
        library: of edits, on this machine.
    """

    def __init__(self, library: EditLibrary) -> None:
        self._library = library
        self._kept = library.folder / ".studio" / "trainings"

    def names(self) -> list[str]:
        """What may be trainings, sorted: folders of runs, and trainings that never had one."""
        runs = self._library.folder / "runs"
        there = {path.name for path in runs.iterdir() if path.is_dir()} if runs.is_dir() else set()
        there |= {path.stem for path in self._kept.glob("*.json")}
        return sorted(name for name in there if not name.startswith("."))

    def path(self, name: str, suffix: str = ".json") -> Path:
        """The file of a training in ``.studio``: its record, its ``.out`` or its ``.log``."""
        return self._kept / f"{check_name(name)}{suffix}"

    def record(self, name: str) -> TrainingRecord | None:
        """What was written down when the training was started from the studio."""
        return TrainingRecord.read(self.path(name))

    def config(self, name: str) -> Path:
        """The settings in the folder of the run. They are written when the steps begin."""
        return self._library.run_folder(name) / "config.json"

    def status(self, name: str, *, ours: bool) -> TrainingStatus:
        """How a training is doing.

        Args:
            name: of it.
            ours: whether its process is one of this program that has not ended.

        Raises:
            UsageError: there is none of that name.
        """
        folder = self._library.run_folder(name)
        # Asked first: of a training that is over by now, all that is read below is final.
        going = ours or is_locked(folder)
        record, run = self.record(name), read_run(folder)
        if record is None and run is None:
            raise UsageError(
                f"There is no training {name!r} in the library {self._library}",
                next_step=nearest(name, self.names()),
            )
        fresh = record is not None and not self._has_begun(record)
        if run is None or (record is not None and fresh and not record.resumed):
            run = RunState()  # what is there is of the run that is to be replaced
        if going:
            state, message = "starting" if ours and fresh else "running", ""
        else:
            state, message = self._ended(name, record, run, fresh=fresh)
        resumable = record is not None and state in ("stopped", "failed")
        steps = record.steps if record is not None and (fresh or not run.steps) else run.steps
        left = None
        if state == "running" and run.seconds_per_step is not None:
            left = max(0, steps - run.step) * run.seconds_per_step
        return TrainingStatus(
            name,
            state,
            run.step,
            steps,
            run.losses,
            run.seconds_per_step,
            left,
            run.previews,
            message,
            resumable,
            "" if record is None else self._command(record, resumable),
            max(run.begun, 0.0 if record is None else record.started),
        )

    def goes_on(self, record: TrainingRecord) -> bool:
        """Whether there is a folder that the training can be resumed in, of its own run."""
        config = self.config(record.request.name)
        # One that was stopped before it could replace an earlier run has yet to do that.
        replaces = record.request.force and not record.resumed and record.found is not None
        return config.parent.is_dir() and not (replaces and changed(config) == record.found)

    def _has_begun(self, record: TrainingRecord) -> bool:
        return changed(self.config(record.request.name)) not in (None, record.found)

    def _command(self, record: TrainingRecord, resumable: bool) -> str:
        resume = self.goes_on(record) if resumable else record.resumed
        return shlex.join(["pairedit", *record.request.command(self._library, resume=resume)])

    def _ended(
        self, name: str, record: TrainingRecord | None, run: RunState, *, fresh: bool
    ) -> tuple[str, str]:
        """The state of a training that is not under way, and the message that belongs to it."""
        folder = self._library.run_folder(name)
        if record is not None:
            out = self.path(name, ".out")
            outcome = Outcome.read(out)
            # A training in a shell since then has written to the folder after the outcome.
            written = [changed(folder / file) or 0 for file in ("config.json", "metrics.jsonl")]
            if outcome is not None and (changed(out) or 0) >= max(written):
                return outcome.state, outcome.message
        # The edit in the library is written last; of a run of a shell it may have been removed.
        made = folder / "edit.safetensors" if record is None else self._library.file(name)
        done = not fresh and 0 < run.steps <= run.step and made.is_file()
        return ("done" if done else "stopped"), ""
