"""The loop around every training: lock, processes, tracker, steps, signals and the run's folder.

What is trained is a :class:`pairedit_sdk.training.task.Task`.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.errors import TrainingError
from pairedit_sdk.lora.adapters import detach_all
from pairedit_sdk.training.divergence import probe, require_learned
from pairedit_sdk.training.interrupts import stopped_between_steps
from pairedit_sdk.training.optimizers import adamw
from pairedit_sdk.training.processes import (
    accelerating,
    gradient_scale,
    share_of,
    sum_gradients,
    summed,
)
from pairedit_sdk.training.run_folder import RunFolder
from pairedit_sdk.training.run_lock import clear, run_lock
from pairedit_sdk.training.trackers import tracking

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.training.settings import TrainingSettings
    from pairedit_sdk.training.task import Task


class TrainingLoop:
    """A training under way; made by :func:`training_loop`.

    Args:
        settings: of the training.
        accelerator: of its processes.
        folder: of the run, locked and open; ``None`` keeps nothing.
    """

    def __init__(
        self, settings: TrainingSettings, accelerator: Accelerator, folder: RunFolder | None
    ) -> None:
        self.settings, self.accelerator, self.folder = settings, accelerator, folder

    def run(self, task: Task, on_step: Callable[[Any], None] | None = None) -> None:
        """Take all steps, or those after the newest checkpoint.

        Args:
            task: with these settings.
            on_step: called with ``task.info`` after every step.

        Raises:
            OtherRunError: the checkpoint is of other data, or beyond the steps wanted.
            RunFileError: a checkpoint is damaged, or something could not be written.
            TrainingError: a loss is not finite, or not below the task's limit; or, where there are
                checkpoints, the training ends far above its start.
            KeyboardInterrupt: Ctrl-C or SIGTERM, after the step under way and its checkpoint.
        """
        settings, folder = self.settings, self.folder
        optimizer = make_optimizer(task)
        start = probe(task, self.accelerator)  # before an earlier run's parameters are restored
        first = 0 if folder is None else folder.restore(task, optimizer)
        checkpoints = None if folder is None else folder.checkpoints.folder
        task.base.set_gradient_checkpointing(settings.gradient_checkpointing)
        with tracking(self.accelerator, settings.track, settings.as_dict()):
            with stopped_between_steps() as stopped:
                for step in range(first, settings.steps):
                    info = optimizer_step(task, optimizer, self.accelerator, step, checkpoints)
                    if folder is not None:
                        folder.after_step(info, task, optimizer)
                    if on_step is not None:
                        on_step(info)
                    if any(summed(self.accelerator, stopped.is_set())):
                        if folder is not None:
                            folder.checkpoint(info.step, task, optimizer)
                        raise stopped.as_interrupt()
            # Outside of that block, where a signal would be noted and never looked at again.
            end = probe(task, self.accelerator)
        require_learned(start, end, settings.lr, checkpoints)


@contextmanager
def training_loop(
    model: FlowModel,
    settings: TrainingSettings,
    *,
    name: str,
    run_dir: str | Path | None,
    resume: bool = False,
    force: bool = False,
) -> Iterator[TrainingLoop]:
    """Within the block the run's folder is locked and open; afterwards the model is as it was.

    Args:
        model: the frozen model.
        settings: of the training.
        name: of what is trained.
        run_dir: folder of the run; ``None`` keeps nothing.
        resume: go on from the newest checkpoint there.
        force: clear the folder first; not together with ``resume``.

    Raises:
        UsageError: the folder is in use, or holds a run and neither ``resume`` nor ``force`` is
            set; or a batch has fewer rows than there are processes.
        OtherRunError: the run there has other settings.
        DamagedRunError: they cannot be read.
    """
    path = None if run_dir is None else Path(run_dir)
    try:
        with accelerating(model.device, settings.track, path) as accelerator:
            share_of(accelerator, settings.batch)  # refuses before a folder is made
            main = accelerator.is_main_process
            with run_lock(path if main else None):
                if path is not None and force and not resume and main:
                    clear(path)
                accelerator.wait_for_everyone()  # the main process may have cleared the folder
                folder = None if path is None else RunFolder(path, settings, name, writes=main)
                if folder is not None:
                    folder.open(resume)
                yield TrainingLoop(settings, accelerator, folder)
    finally:
        model.set_gradient_checkpointing(False)
        detach_all(model.transformer)


def make_optimizer(task: Task) -> torch.optim.Optimizer:
    """The optimiser that the settings name, of the task's parameters."""
    settings = task.settings
    return adamw(
        settings.optimizer,
        task.parameters.values(),
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )


def optimizer_step(
    task: Task,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    step: int,
    checkpoints: Path | None = None,
) -> Any:
    """One step of the optimiser, over ``accumulate`` draws.

    Args:
        task: what is trained.
        optimizer: of its parameters.
        accelerator: of :func:`pairedit_sdk.training.processes.accelerating`.
        step: its number, from 0, which decides what is drawn.
        checkpoints: where earlier ones are, for the error.

    Returns:
        ``task.info`` of the step; losses are means over latent elements.

    Raises:
        TrainingError: the loss is not finite, or not below the task's limit.
    """
    begun, settings = time.monotonic(), task.settings
    lr = learning_rate(settings, step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    losses = _backward(task, accelerator, step)
    total = sum(losses.values())
    if not total < task.limit:  # NaN is not
        raise TrainingError(
            f"The loss of step {step + 1} is "
            + (f"{total:.0f}" if math.isfinite(total) else "not a finite number"),
            expected="about 1; the training has diverged",
            next_step=f"Try a smaller lr (it is {settings.lr:g})"
            + (f"; earlier checkpoints are in {checkpoints}" if checkpoints else ""),
        )
    if task.gradient_norm is not None:
        torch.nn.utils.clip_grad_norm_(task.parameters.values(), task.gradient_norm)
    optimizer.step()
    if settings.track:
        accelerator.log({**losses, "lr": lr}, step=step + 1)
    seconds = time.monotonic() - begun
    return task.info(step=step + 1, steps=settings.steps, **losses, lr=lr, seconds=seconds)


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The learning rate of a step, counted from 0: constant, or a half cosine to zero."""
    if settings.lr_schedule == "cosine":
        return settings.lr * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.lr


def _backward(task: Task, accelerator: Accelerator, step: int) -> dict[str, float]:
    """Give the parameters a step's gradients, of all processes; the losses by name."""
    accumulate = task.settings.accumulate
    rows = share_of(accelerator, task.settings.batch)
    scale = gradient_scale(task.base.dtype, task.elements)
    losses: dict[str, float] = {}
    with torch.enable_grad():
        for part in range(accumulate):
            for terms in task.losses(step * accumulate + part, rows):
                total = reduce(operator.add, terms.values())
                accelerator.backward(total * scale / accumulate)
                for name, term in terms.items():
                    losses[name] = losses.get(name, 0.0) + float(term.detach()) / accumulate
    sums = summed(accelerator, *losses.values())
    sum_gradients(accelerator, task.parameters.values(), scale)
    return dict(zip(losses, sums, strict=True))
