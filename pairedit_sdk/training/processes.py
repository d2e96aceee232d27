"""A training on one or several processes, by accelerate: each takes its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


def is_first() -> bool:
    """Whether this process is the one that speaks and writes, of those that were launched."""
    return os.environ.get("RANK", "0") == "0"


def require_one(what: str) -> None:
    """Refuse to be one of several processes that were launched.

    Raises:
        UsageError: this is one of them.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise UsageError(
            f"{what} runs in one process",
            got=f"{count} of them",
            next_step="Start it without a launcher; --engine ray uses several GPUs",
        )


@contextmanager
def accelerating(
    device: torch.device, tracker: str | None = None, folder: Path | None = None
) -> Iterator[Accelerator]:
    """An Accelerator for a training on ``device``, with nothing of it left behind.

    accelerate remembers its first device and precision for the whole process. A program that has
    its own Accelerator keeps it as it is; otherwise the next training may be on another device.

    Args:
        device: the model's.
        tracker: one of accelerate's, "tensorboard" for example.
        folder: where it writes.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    hosted = bool(AcceleratorState._shared_state)
    where = None if folder is None else str(folder)
    if hosted:
        accelerator = Accelerator(log_with=tracker, project_dir=where)
    else:
        # No autocast: the model computes in its own dtype, and the LoRA layers cast for themselves.
        accelerator = Accelerator(
            log_with=tracker, project_dir=where, mixed_precision="no", cpu=device.type == "cpu"
        )
    try:
        yield accelerator
    finally:
        if not hosted:
            AcceleratorState._reset_state(reset_partial_state=True)


def share_of(accelerator: Accelerator, batch: int) -> range:
    """Which rows of a batch this process takes.

    Raises:
        UsageError: there are fewer rows than processes.
    """
    if batch < accelerator.num_processes:
        raise UsageError(
            f"A batch of {batch} cannot be shared by {accelerator.num_processes} processes",
            expected="one for each, or more",
            next_step="Raise batch",
        )
    return range(accelerator.process_index, batch, accelerator.num_processes)


def summed(accelerator: Accelerator, *values: float) -> list[float]:
    """The sums of numbers over all processes."""
    if accelerator.num_processes == 1:
        return list(values)
    import torch

    given = torch.tensor([float(value) for value in values], device=accelerator.device)
    return [float(value) for value in accelerator.reduce(given, "sum")]


def gradient_scale(dtype: torch.dtype, elements: int) -> float:
    """What a loss is multiplied by before it is differentiated, and the gradients divided by after.

    A mean over the elements of latents gives each of them a gradient too small for fp16; their sum
    does not. A power of two, so that nothing is rounded on the way. 1 for all other precisions.

    Args:
        dtype: in which gradients pass through the transformer.
        elements: that the loss is the mean of.
    """
    return 2.0 ** (elements.bit_length() - 1) if str(dtype) == "torch.float16" else 1.0


def sum_gradients(
    accelerator: Accelerator, parameters: Iterable[torch.nn.Parameter], scale: float = 1.0
) -> None:
    """Give every process the sum of all processes' gradients, divided by :func:`gradient_scale`."""
    for parameter in parameters:
        if accelerator.num_processes > 1:
            own = parameter.grad if parameter.grad is not None else parameter.detach() * 0
            parameter.grad = accelerator.reduce(own, "sum")
        if parameter.grad is not None and scale != 1:
            parameter.grad /= scale
