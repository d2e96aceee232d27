"""How many cores there are for this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on, which in a container can be fewer than there are."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1
