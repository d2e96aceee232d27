"""Timing on any device: what takes turns is compared, and a GPU's queue is waited for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

#: Work that is timed: a context that prepares it and yields one unit of it.
Work = Callable[[], AbstractContextManager[Callable[[], object]]]

REPETITIONS = 3
#: Seconds that one repetition should take at least, and the most units in it. On a CPU nothing is
#: queued that would have to be waited for.
ENOUGH, MOST_UNITS = {"cuda": 0.4, "cpu": 0.1}, 10
#: Rows and columns of the largest product that is timed, and bytes that are copied.
PRODUCT = {"cuda": 8192, "cpu": 1024}
COPIED = {"cuda": 2**31, "cpu": 2**27}


@dataclass(frozen=True)
class Timing:
    """Of one unit of work.

    Attributes:
        seconds: median over the repetitions.
        least: the shortest repetition's.
        most: the longest's.
        peak: bytes of GPU memory, all of the process's at the worst moment; ``None`` elsewhere.
    """

    seconds: float
    least: float
    most: float
    peak: int | None


def alternated(
    works: Mapping[str, Work], device: torch.device, repetitions: int = REPETITIONS
) -> dict[str, Timing]:
    """Time each work in turn, A B A B …, so that a machine that slows down slows all of them.

    In every repetition one unit goes first that is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    peaks: dict[str, int | None] = dict.fromkeys(works)
    for _ in range(repetitions):
        for name, prepare in works.items():
            with prepare() as unit:
                first = _timed(unit, device)
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                enough = ENOUGH.get(device.type, ENOUGH["cuda"])
                count = min(MOST_UNITS, max(1, round(enough / max(first, 1e-9))))
                seconds[name].append(_timed(_several(unit, count), device) / count)
            peaks[name] = _peak(device)
    return {
        name: Timing(statistics.median(each), min(each), max(each), peaks[name])
        for name, each in seconds.items()
    }


def once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of something that is done once."""
    return _timed(work, device)


def product_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second that a large matrix product reaches."""
    size = PRODUCT.get(device.type, PRODUCT["cpu"])
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _best(lambda: left @ right, device)


def copy_ceiling(device: torch.device) -> float:
    """Bytes a second that are read and written when a large tensor is copied on the device."""
    count = COPIED.get(device.type, COPIED["cpu"])
    source = torch.zeros(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / _best(lambda: target.copy_(source), device)


def _several(unit: Callable[[], object], count: int) -> Callable[[], object]:
    return lambda: [unit() for _ in range(count)]


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Median seconds, of some more tries than elsewhere: everything is measured by it."""
    for _ in range(3):
        _timed(work, device)
    return statistics.median(_timed(work, device) for _ in range(10))


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    begun = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _peak(device: torch.device) -> int | None:
    """Tensors at the worst moment, and what CUDA itself holds besides."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    around = max(0, total - free - torch.cuda.memory_reserved(device))
    return int(torch.cuda.max_memory_allocated(device) + around)
