"""Whether a training has diverged: it ends with a loss far above that of doing nothing.

The loss of a step says little, as noise levels differ by far more than a training gains. So a few
draws are measured twice, with the parameters as they were before the first step and at the end.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.errors import TrainingError
from pairedit_sdk.training.processes import share_of, summed

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pairedit_sdk.training.task import Task

#: At least so many rows are measured, in whole draws: a hundredth of a usual training's work.
ROWS = 8
#: An end of this many times the start. Trainings that learn something end below their start.
FAR = 2.0

_log = logging.getLogger("pairedit_sdk")


@torch.no_grad()
def probe(task: Task, accelerator: Accelerator) -> float:
    """The mean loss of the first draws with the parameters as they are; nothing is changed.

    Args:
        task: what is trained.
        accelerator: of its processes, each of which takes its share.
    """
    batch = task.settings.batch
    draws = math.ceil(ROWS / batch)
    rows = share_of(accelerator, batch)
    own = sum(
        float(term.detach())
        for draw in range(draws)
        for terms in task.losses(draw, rows)
        for term in terms.values()
    )
    (whole,) = summed(accelerator, own)
    return whole / draws


def require_learned(start: float, end: float, lr: float, checkpoints: Path | None) -> None:
    """Refuse the end of a training that has diverged.

    Args:
        start: of :func:`probe` before the first step.
        end: the same after the last one.
        lr: its learning rate, for the message.
        checkpoints: where they are kept. Without any, what was trained would be lost by an error,
            and a warning is logged instead.

    Raises:
        TrainingError: the end is far above the start, or not finite.
    """
    if end <= FAR * start:  # NaN is not
        return
    times = f"{end / start:.0f} times " if start > 0 and math.isfinite(end) else ""
    what = f"The training has diverged: it ends at a loss of {end:.3g}, {times}what it began with"
    advice = f"Train again with a smaller lr (it is {lr:g})"
    if checkpoints is None:
        _log.warning("%s (%.3g). %s.", what, start, advice)
        return
    raise TrainingError(
        what,
        expected=f"less than {start:.3g}",
        next_step=f"Only the run was kept, with checkpoints in {checkpoints}. {advice}",
    )
