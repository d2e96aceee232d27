"""How long so much arithmetic takes on this machine, roughly."""

from __future__ import annotations

import time
from statistics import median

import torch

#: The share of a large matrix product's speed that training and editing reach.
SHARE = 0.5
#: Rows and columns of the product, and how often it is timed.
SIZE = {"cpu": 1024, "cuda": 8192}
TIMED = 5


def seconds_for(flops: int, device: torch.device, dtype: torch.dtype) -> float:
    """Seconds of ``flops`` on a device of this machine; twice as fast or slow is possible."""
    return flops / (SHARE * flops_per_second(device, dtype))


def flops_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """What a large matrix product reaches on this machine, now."""
    size = SIZE.get(device.type, SIZE["cpu"])
    left = torch.ones(size, size, device=device, dtype=dtype)
    seconds = []
    for _ in range(TIMED + 1):  # the first warms up
        begun = time.perf_counter()
        product = left @ left
        float(product[0, 0])  # waits for a GPU to be done
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / median(seconds[1:])


def span(seconds: float) -> str:
    """Seconds, for people."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
