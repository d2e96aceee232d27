"""Pictures of drawn faces as training data, drawn in parallel and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.builtin.faces.numbered import face_at, pictures_of

CHUNK = 250  # small, so that many cores have done at about the same time


def _draw_chunk(job: tuple[Callable[[int], Face], int, int, Path]) -> None:
    faces, start, size, target = job
    pictures = pictures_of([faces(i) for i in range(start, start + CHUNK)], size)
    part = target.with_suffix(f".part{os.getpid()}.npy")
    np.save(part, pictures)
    part.rename(target)


def picture_pool(
    folder: Path,
    count: int,
    size: int = 128,
    workers: int = 2,
    faces: Callable[[int], Face] = face_at,
) -> NDArray[np.uint8]:
    """Pictures of the first ``count`` faces, uint8 [count, size, size, 3].

    They are drawn in parallel and kept in ``folder``, so a second call is quick and a larger
    ``count`` draws only what is missing.

    Args:
        folder: for these faces alone.
        count: how many.
        size: in pixels.
        workers: processes.
        faces: number to face; a function that has a module, for the processes to find it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, CHUNK)
    # The name says how many are in it: older ones had more.
    paths = [folder / f"{start:07d}-{CHUNK}-{size}.npy" for start in starts]
    jobs = [(faces, s, size, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    if jobs:
        with get_context("spawn").Pool(min(workers, len(jobs))) as pool:
            for _ in pool.imap_unordered(_draw_chunk, jobs):
                pass
    return np.concatenate([np.load(p) for p in paths])[:count]
