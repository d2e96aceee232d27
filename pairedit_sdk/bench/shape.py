"""``pairedit bench speed --shape``: what learning and editing cost on a model of a published size.

One run on one device, with random weights and nothing downloaded. Floating-point operations are
counted on torch's meta device, as ``pairedit estimate`` does; shares are of what a large matrix
product reaches in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from pairedit_sdk.bench.shape_tasks import Bench, Row
from pairedit_sdk.errors import UsageError, is_out_of_memory
from pairedit_sdk.estimates.weights import transformer_bytes
from pairedit_sdk.io.files import write_json
from pairedit_sdk.models.folders import shape_folder
from pairedit_sdk.models.precision import choose_device

#: How many tasks there are; see :func:`tasks`.
TASKS = 13


def run(
    shape: str,
    *,
    resolution: int | None = None,
    device: str | None = None,
    minutes: float | None = None,
    repetitions: int = 3,
    out: Path | None = None,
    on_part: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Measure everything, the most important first.

    Args:
        shape: of :func:`pairedit_sdk.models.folders.shape_folder`.
        resolution: side of the pictures; ``None`` is 512, or 128 for "tiny".
        device: as for :func:`pairedit_sdk.load_model`.
        minutes: time budget. What is not begun within it is a row that says so.
        repetitions: of everything that is timed.
        out: where to write the result after every task, so that what was measured before a machine
            is taken away is not lost.
        on_part: called after every task with its name.

    Returns:
        ``shape``, ``device``, ``card`` and the versions; ``rows``: what was measured, or the
        ``reason`` why not.

    Raises:
        UsageError: there is no such shape or device, or main memory is too small for it.
    """
    folder, where = shape_folder(shape), choose_device(device)
    _require_room(folder, where)
    side = resolution or (128 if folder.name == "tiny" else 512)
    bench = Bench(folder, where, side, repetitions)
    result: dict[str, Any] = {"shape": folder.name, "resolution": side, **about(where), "rows": []}
    begun, longest, lost = time.monotonic(), 0.0, False
    for name, task in tasks(bench):
        started = time.monotonic()
        if lost:
            rows = [{"task": name, "reason": "left out: the device failed before"}]
        elif minutes is not None and started - begun + longest > 60 * minutes:
            rows = [{"task": name, "reason": f"left out: {minutes:g} minutes are not enough"}]
        else:
            rows = _attempted(bench, name, task)
            longest = max(longest, time.monotonic() - started)
            lost = not bench.clean()
        result["rows"] += rows
        result["seconds"] = time.monotonic() - begun
        if out is not None:
            write_json(out, result)
        on_part(name)
    if not lost:
        bench.drop()
    return result


def _require_room(folder: Path, device: torch.device) -> None:
    """Refuse a model that is larger than a CPU's free memory: the system would kill the process.

    Raises:
        UsageError: with both sizes.
    """
    if device.type != "cpu":
        return
    import psutil

    needed, _ = transformer_bytes(str(folder), "bf16", torch.bfloat16)
    free = psutil.virtual_memory().available
    if needed > free:
        raise UsageError(
            f"{folder.name} takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are "
            "free",
            next_step="Use --device cuda on a machine with a GPU, or --shape tiny",
        )


def tasks(bench: Bench) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """The tasks by name, the most important first, and few changes of the model among them."""
    yield "ceilings", bench.ceilings
    yield "step, bf16", lambda: bench.step("bf16")
    yield "picture, 5 steps × 2 noises", lambda: bench.picture("5 steps × 2 noises")
    yield "step, bf16, checkpointing", lambda: bench.step("bf16, checkpointing")
    yield "default step, bf16, checkpointing", bench.default_step
    yield (
        "step, nf4, checkpointing, 8-bit AdamW",
        lambda: bench.step("nf4, checkpointing, 8-bit AdamW"),
    )
    yield "step, int8", lambda: bench.step("int8")
    yield "step, nf4", lambda: bench.step("nf4")
    yield "picture, 28 steps", lambda: bench.picture("28 steps")
    yield "basis", bench.mixed_basis
    yield "autoencoder", bench.autoencoder
    yield "compile: pass of 4 rows", bench.compiled_pass
    yield "compile: step, bf16", bench.compiled_step


def about(device: torch.device) -> dict[str, Any]:
    """What the figures belong to."""
    from importlib.metadata import version

    card = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    names = ("torch", "diffusers", "bitsandbytes")
    return {
        "device": str(device),
        "card": card,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in names},
    }


def _attempted(bench: Bench, name: str, task: Callable[[], list[Row]]) -> list[Row]:
    """The task's rows, or one that says why there are none."""
    try:
        return task()
    except Exception as error:  # of any kind: the others are still to be measured
        said = str(error).strip().splitlines() or ["no message"]
        reason = f"{type(error).__name__}: {said[0]}"
        if is_out_of_memory(error):
            reason = "out of memory"
    return [{"task": name, "reason": reason[:300]}]
