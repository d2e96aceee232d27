"""What a stage draws for its steps, drawn in advance by other processes while a GPU trains.

Captions and their tokens are made by Python, and for the rows of one step that takes about as long
as a GPU takes to train on them. A thread would not help much: it would share one interpreter with
the thread that starts the GPU's kernels.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from pairedit_sdk.io.cores import usable_cores

T = TypeVar("T")

#: One needs 26 ms for the 256 captions of a step of the flow model, which should take less; four
#: leave room for slower cores.
MOST_WORKERS = 4


def workers_for(device: str) -> int:
    """How many processes draw in advance; none on a CPU, which the training keeps busy itself."""
    if torch.device(device).type != "cuda" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    return max(1, min(MOST_WORKERS, usable_cores() - 1))


class Ahead(Generic[T]):
    """``draw`` for the steps from ``first`` on, one after the other, each value as ``draw`` has it.

    The processes are forked, so ``draw`` and what it holds are there at once and are not copied.
    They must not touch the GPU, and what they return should be small and hold no tensors, which
    would each need a file of their own to get here.

    Args:
        draw: step to value; a function of the step alone.
        first: the first step.
        workers: processes; with none ``draw`` is called when its value is asked for.
    """

    def __init__(self, draw: Callable[[int], T], first: int, workers: int) -> None:
        self._draw, self._next = draw, first
        self._coming: Iterator[T] | None = None
        if workers:
            loader = DataLoader(
                _Steps(draw),
                batch_size=None,
                sampler=itertools.count(first),
                num_workers=workers,
                collate_fn=_as_it_is,
                worker_init_fn=_begin,
                multiprocessing_context="fork",
            )
            self._coming = iter(loader)

    def __call__(self, step: int) -> T:
        """The value of ``step``."""
        if self._coming is None:
            return self._draw(step)
        if step != self._next:
            raise ValueError(f"step: expected {self._next}, the next one; got {step}")
        self._next += 1
        return next(self._coming)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._coming = None  # ends the processes


class _Steps(Dataset[T]):
    def __init__(self, draw: Callable[[int], T]) -> None:
        self.draw = draw

    def __getitem__(self, step: int) -> T:
        return self.draw(step)


def _as_it_is(value: T) -> T:
    return value


def _begin(worker: int) -> None:
    # The tokenizers' threads did not come along with the fork.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
