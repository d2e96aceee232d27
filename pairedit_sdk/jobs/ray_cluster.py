"""A Ray to work on: started or found, and the workers that there is room for."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pairedit_sdk.errors import UsageError, counted

LOCAL = "local"


@dataclass(frozen=True)
class RayWorkers:
    """The workers to ask a Ray for.

    Attributes:
        count: how many; ``None`` is as many as there is room for.
        address: of a running Ray ("auto", "host:port", "ray://host:port"), or "local" to start one
            on this machine, which ends with the work.
        cpus: that each of them takes, in Ray's counting.
        gpus: the same for GPUs, and a fraction shares one; ``None`` is one where the cluster has
            any, unless the device is the CPU.
    """

    count: int | None = None
    address: str = LOCAL
    cpus: float = 1.0
    gpus: float | None = None


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, started or found; what was started here is stopped."""
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "Ray is not installed", next_step="Install it with `pip install 'pairedit-sdk[ray]'`"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    if address == LOCAL:
        # A Ray that nobody sees was started for this alone: it has nothing to report to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's processes listen on every address of the machine, and run what they are told to.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:300]
        raise UsageError(
            f"No Ray could be reached at {address} ({said})",
            next_step="Check --address, or leave it out to start one on this machine",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def room_for(
    ray: Any, workers: RayWorkers, device: str | None, wanted: int
) -> tuple[int, dict[str, float]]:
    """How many workers to start, and what Ray is to set aside for each."""
    there = ray.cluster_resources()
    gpus = workers.gpus
    if gpus is None:
        gpus = 1.0 if there.get("GPU", 0) >= 1 and device != "cpu" else 0.0
    needs = {"CPU": workers.cpus, "GPU": gpus}
    fits = min((int(there.get(k, 0) // need) for k, need in needs.items() if need), default=wanted)
    # A cluster that scales itself grows when it is asked for more; this machine does not.
    if workers.address == LOCAL and max(workers.count or 1, 1) > fits:
        raise UsageError(
            f"There is no room on this machine for {counted(workers.count or 1, 'worker')} "
            f"(CPUs for each: {workers.cpus:g}, GPUs for each: {gpus:g})",
            expected=f"at most {fits}",
            next_step="Ask for fewer, or for less for each",
        )
    count = min(workers.count or max(fits, 1), wanted)
    return count, {"num_cpus": workers.cpus, "num_gpus": gpus}


def require_kind(device: str | None) -> None:
    """Refuse a device with a number, as Ray gives each worker its own.

    Raises:
        UsageError: naming it.
    """
    if device is not None and ":" in device:
        raise UsageError(
            f"{device} cannot be chosen with Ray, which gives each worker its GPUs",
            expected="cpu or cuda",
        )
