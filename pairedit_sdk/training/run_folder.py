"""A training run's folder: settings, metrics, checkpoints, previews."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Set
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import DamagedRunError, OtherRunError, RunFileError, UsageError, WriteError
from pairedit_sdk.io.files import atomic_write, remove_parts, write_json, writing
from pairedit_sdk.io.settings import flat_values
from pairedit_sdk.training.checkpoints import TO_RESUME, Checkpoints, step_of

if TYPE_CHECKING:
    import torch

    from pairedit_sdk.training.settings import TrainingSettings
    from pairedit_sdk.training.task import Task

#: Settings that may differ when a run is resumed: they do not change what a step does, or only its
#: rounding. The steps are free too, unless the learning rate's schedule depends on them.
FREE_ON_RESUME = {
    "checkpoint_every",
    "keep",
    "preview_every",
    "track",
    "base",
    "gradient_checkpointing",
    "offload",
}


class RunFolder:
    """The folder of one run, whatever it trains.

    ``config.json``, ``metrics.jsonl`` (one line per step, with the fidelity where it is measured),
    ``checkpoints/step-000100.safetensors``, ``previews/step-000100.png``, and what the task keeps.

    Args:
        path: of the folder.
        settings: of the training.
        name: of what is trained.
        writes: whether this process is the one that writes it.
    """

    def __init__(self, path: Path, settings: TrainingSettings, name: str, *, writes: bool) -> None:
        self.path, self.settings, self.name, self.writes = path, settings, name, writes
        self.checkpoints = Checkpoints(path / "checkpoints", settings.keep)
        self.metrics = path / "metrics.jsonl"

    def open(self, resume: bool) -> None:
        """Check that a run can begin here, or go on. Nothing is written yet.

        Raises:
            UsageError: a run is there and ``resume`` is not set.
            OtherRunError: its settings differ.
            DamagedRunError: they cannot be read.
        """
        there = self.checkpoints.newest()
        if there is None:
            return
        if not resume:
            raise UsageError(
                f"{self.path} already holds a run, at step {step_of(there)}",
                next_step="Resume it (--resume), start over (--force), or choose another name",
            )
        if not self._config.is_file():
            return
        free = FREE_ON_RESUME | ({"steps"} if self.settings.lr_schedule == "constant" else set())
        changed = changes(read_settings(self._config), self.settings, free)
        if changed:
            raise OtherRunError(
                f"The run in {self.path} had other settings: " + "; ".join(changed),
                next_step="Resume with the same settings, start over with --force, or choose "
                "another name",
            )

    def restore(self, task: Task, optimizer: torch.optim.Optimizer) -> int:
        """Put the newest checkpoint's state back, and write the settings down.

        Returns:
            The number of finished steps.

        Raises:
            OtherRunError: the checkpoint is of other data, another model or another version, or has
                more steps than are wanted.
            DamagedRunError: it is damaged.
            WriteError: the folder cannot be written to.
        """
        model = task.base
        self.checkpoints.data = f"{model.fingerprint}/{model.precision}/{task.digest()}"
        done = self.checkpoints.restore(task.parameters, optimizer, self.settings.steps)
        if not self.writes:
            return done
        with writing(self.path):
            # A killed run may have left these. Nobody else writes here: this process has the lock.
            remove_parts(self.path)
            self.checkpoints.prune()
        write_json(self._config, {"name": self.name, "settings": self.settings.as_dict()})
        task.keep_data(self.path)
        self._cut_metrics(done)
        return done

    def after_step(self, info: Any, task: Task, optimizer: torch.optim.Optimizer) -> None:
        """Record the step, and write a preview and a checkpoint when they are due.

        Args:
            info: the task's dataclass of what is known after the step.
            task: what is trained.
            optimizer: of its parameters.

        Raises:
            RunFileError: something could not be written.
        """
        if not self.writes:
            return
        try:
            self._record(info, task, optimizer)
        except WriteError as error:
            raise RunFileError(
                f"Step {info.step} could not be recorded in {self.path} ({error.reason})",
                next_step=f"{TO_RESUME}; earlier checkpoints are intact",
            ) from error

    def _record(self, info: Any, task: Task, optimizer: torch.optim.Optimizer) -> None:
        line = asdict(info) | {"seconds": round(info.seconds, 4)}
        del line["steps"]
        every = self.settings.checkpoint_every
        due = info.step == info.steps or bool(every and info.step % every == 0)
        # With a single checkpoint there is nothing to choose from.
        fidelity = task.fidelity() if due and every and every < info.steps else None
        if fidelity is not None:
            line["fidelity"] = fidelity  # most checkpoints are deleted later, theirs with them
        with writing(self.metrics), self.metrics.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
            if due:  # a checkpoint must not outlive the lines that lead to it
                handle.flush()
                os.fsync(handle.fileno())
        # Before the checkpoint, or a run that is killed between them would never draw it.
        if self.settings.preview_every and info.step % self.settings.preview_every == 0:
            picture = task.preview()
            target = self.path / "previews" / f"step-{info.step:06d}.png"
            atomic_write(target, lambda part: picture.save(part, format="PNG"))
        if due:
            self.checkpoint(info.step, task, optimizer, fidelity)

    def checkpoint(
        self, step: int, task: Task, optimizer: torch.optim.Optimizer, fidelity: float | None = None
    ) -> None:
        """Write everything that a resumed run needs.

        Raises:
            RunFileError: it could not be written.
        """
        if self.writes:
            self.checkpoints.save(step, task.parameters, optimizer, fidelity)

    @property
    def _config(self) -> Path:
        return self.path / "config.json"

    def _cut_metrics(self, step: int) -> None:
        """Drop the lines of steps after the checkpoint; they will be done again."""
        if not self.metrics.is_file():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        kept = "".join(f"{line}\n" for line in lines if _line_step(line) <= step)
        atomic_write(self.metrics, lambda part: _write(part, kept))


def changes(before: Mapping[str, Any], settings: TrainingSettings, free: Set[str]) -> list[str]:
    """How settings differ from earlier ones, a phrase for each.

    A setting that there was not yet when ``before`` was written had its default.

    Args:
        before: as :func:`read_settings` reads them.
        settings: as they are now.
        free: settings that may differ.
    """
    then = flat_values(type(settings)()) | dict(before)
    return [
        f"{key} was {then.get(key)!r}, now {value!r}"
        for key, value in flat_values(settings).items()
        if key not in free and then.get(key) != value
    ]


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a run's ``config.json`` holds.

    Raises:
        DamagedRunError: it is damaged.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
        return dict(settings)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedRunError(
            f"{path} is damaged", next_step="Start over with --force, or under another name"
        ) from error


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _line_step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the last line of a killed run may be cut short
