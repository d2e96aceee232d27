"""OpenMP's threads beside other processes. To be set before torch is imported, or never.

At the end of each parallel part of torch's work a thread spins until the others are done. Where
another process holds one of the cores, all that work waits for it, spinning: two trainings beside
each other take ten times as long as one after the other. A thread that soon goes to sleep costs
nothing when the cores are free. docs/troubleshooting.md has figures.
"""

from __future__ import annotations

from collections.abc import MutableMapping

#: How long a thread spins: for GNU's library in rounds, for Intel's and LLVM's in milliseconds.
SPIN = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}


def wait_politely(environment: MutableMapping[str, str]) -> None:
    """Let the threads sleep early, unless the environment says anything about how they wait."""
    if not any(name in environment for name in ("OMP_WAIT_POLICY", *SPIN)):
        environment.update(SPIN)
