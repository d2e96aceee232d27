"""Pictures of the tasks of the drawn world, drawn in parallel and kept on disk."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairedit_sdk.builtin.faces.numbered import pictures_of
from pairedit_sdk.builtin.faces.world import task_pairs

CHUNK = 25  # tasks


def _draw_chunk(job: tuple[str, int, int, int, int, Path]) -> None:
    split, start, count, pairs, size, target = job
    drawn = [
        pictures_of([face for pair in task_pairs(task, pairs, split) for face in pair], size)
        for task in range(start, start + count)
    ]
    part = target.with_suffix(f".part{os.getpid()}.npy")
    np.save(part, np.stack(drawn).reshape(count, pairs, 2, size, size, 3))
    part.rename(target)


def world_pictures(
    folder: Path,
    tasks: int,
    pairs: int,
    size: int = 128,
    workers: int = 2,
    split: str = "train",
    ready: bool = False,
) -> NDArray[np.uint8]:
    """Pictures of the first tasks, uint8 [tasks, pairs, 2, size, size, 3], before and after.

    They are kept in ``folder``, so a second call is quick and more tasks draw only what is missing.
    They are drawn in order, and each part is there as a whole or not at all: while one process
    draws, others can take what is ready.

    Args:
        folder: for this world alone.
        tasks: how many; :func:`~pairedit_sdk.builtin.faces.world.task_at` tells what each is.
        pairs: how many people each is shown on.
        size: in pixels.
        workers: processes.
        split: of the tasks and their people.
        ready: draw nothing; return the tasks up to the first one that is missing, perhaps none.
    """
    starts = range(0, tasks, CHUNK)
    paths = [folder / f"{split}-{start:07d}-{CHUNK}-{pairs}-{size}.npy" for start in starts]
    if ready:
        missing = (k for k, path in enumerate(paths) if not path.exists())
        paths = paths[: next(missing, len(paths))]
    else:
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            (split, start, CHUNK, pairs, size, path)
            for start, path in zip(starts, paths, strict=True)
            if not path.exists()
        ]
        if jobs:
            with get_context("spawn").Pool(min(workers, len(jobs))) as pool:
                for _ in pool.imap_unordered(_draw_chunk, jobs):
                    pass
    found = min(tasks, len(paths) * CHUNK)
    pictures = np.empty((found, pairs, 2, size, size, 3), dtype=np.uint8)
    for k, path in enumerate(paths):  # one at a time: all of them are gigabytes
        part = pictures[k * CHUNK : (k + 1) * CHUNK]
        part[:] = np.load(path, mmap_mode="r")[: len(part)]
    return pictures
