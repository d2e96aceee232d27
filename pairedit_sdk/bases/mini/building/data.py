"""Drawn faces as training data: face ``i`` of a split is always the same face."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pairedit_sdk.bases.mini.faces import Face, sample_face

CHUNK = 2000


def face_at(index: int, split: str = "train") -> Face:
    """Face number ``index`` of a split ("train", "test", …); splits never share a face's draw."""
    return sample_face(random.Random(f"{split}-{index}"))


def pictures_of(faces: Sequence[Face], size: int = 128) -> NDArray[np.uint8]:
    """Pictures of these faces, uint8 [N, size, size, 3]."""
    return np.stack([np.asarray(face.draw(size)) for face in faces])


def _draw_chunk(job: tuple[int, int, Path]) -> None:
    start, size, target = job
    pictures = pictures_of([face_at(i) for i in range(start, start + CHUNK)], size)
    part = target.with_suffix(f".part{os.getpid()}.npy")
    np.save(part, pictures)
    part.rename(target)


def picture_pool(folder: Path, count: int, size: int = 128, workers: int = 2) -> NDArray[np.uint8]:
    """Pictures of the first ``count`` training faces, uint8 [count, size, size, 3].

    They are drawn in parallel and kept in ``folder``, so a second call is quick and a larger
    ``count`` draws only what is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, CHUNK)
    paths = [folder / f"{start:07d}-{size}.npy" for start in starts]
    jobs = [(s, size, p) for s, p in zip(starts, paths, strict=True) if not p.exists()]
    if jobs:
        with get_context("spawn").Pool(min(workers, len(jobs))) as pool:
            for _ in pool.imap_unordered(_draw_chunk, jobs):
                pass
    return np.concatenate([np.load(p) for p in paths])[:count]
