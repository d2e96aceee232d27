"""``pairedit bench speed``: our way against the naive one, alternated, as ratios of medians.

Every measurement runs in a process of its own, so that one's peak memory, caches and thread pools
are not another's. Seconds leave out what every process needs to start: imports and the model.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pairedit_sdk.errors import PairEditError, UsageError

EDIT = "glasses"
#: The saved edit whose use is timed.
SHIPPED = "hat"
PICTURES = 4
#: Shares of the default recipe's steps that are tried for the published recipe's accuracy.
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
FACES = 16


def run(
    *, small: bool = False, on_part: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """Measure everything.

    Args:
        small: one alternation in the place of three, and a tenth of the naive recipe's steps,
            scaled up.
        on_part: called after every measurement with what was measured.

    Returns:
        ``rows``: every measurement; ``summary``: by quantity the medians of both ways and their
        ratio, ours / naive.
    """
    if sys.platform == "win32":
        raise UsageError("Peak memory cannot be measured on Windows", next_step="Use WSL")
    rows = []
    for _ in range(1 if small else 3):
        for task in ("step", "learn", "edit"):
            for way in ("naive", "ours"):
                rows.append({"task": task, "way": way, **_measured(task, way, small)})
                on_part(f"{task}, {way}")
    rows.append({"task": "reach", "way": "ours", **_measured("reach", "ours", small)})
    on_part("time to the published accuracy")
    return {"summary": summary(rows), "rows": rows}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By quantity: the median of each way, and ours / naive."""

    def median(task: str, way: str, figure: str) -> float:
        found: float = statistics.median(
            row[figure] for row in rows if (row["task"], row["way"]) == (task, way)
        )
        return found

    result = {}
    for task, figures in {
        "step": ("seconds",),
        "learn": ("seconds", "cpu_seconds", "peak_mib"),
        "edit": ("seconds", "peak_mib"),
    }.items():
        for figure in figures:
            naive, ours = (median(task, way, figure) for way in ("naive", "ours"))
            result[f"{task}_{figure}"] = {"naive": naive, "ours": ours, "ratio": ours / naive}
    naive = result["learn_seconds"]["naive"]
    ours = median("reach", "ours", "seconds")
    result["reach_seconds"] = {"naive": naive, "ours": ours, "ratio": ours / naive}
    return result


def _measured(task: str, way: str, small: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", __name__, task, way, *(["small"] if small else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PairEditError(
            f"Measuring {task} ({way}) failed with status {done.returncode}",
            got=done.stderr.strip()[-500:] or "no message; the system may have stopped it",
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _work(task: str, way: str, small: bool) -> dict[str, Any]:
    """One measurement, in its own process."""
    from pairedit_sdk.bench.edit_types import held_out_faces, training_faces
    from pairedit_sdk.bench.naive import naive_edit, naive_train
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.io.resources import examples_dir
    from pairedit_sdk.models.loading import load_model
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.config import load_recipe
    from pairedit_sdk.training.trainer import train

    model = load_model("mini")
    pairs = PairSet.from_images([(a.draw(), b.draw()) for a, b in training_faces(EDIT)])
    published = load_recipe("published").with_values(checkpoint_every=0)
    default = load_recipe("mini").with_values(checkpoint_every=0)
    if task == "reach":
        return _reach(model, pairs, published, default)

    def learn(steps: int) -> Any:
        if way == "naive":
            return naive_train(model, pairs, replace(published, steps=steps))
        own = default if task == "learn" else published
        return train(model, pairs, replace(own, steps=steps), name=EDIT)

    if task == "step":
        learn(3)
        count = 30
        seconds, cpu = _timed(lambda: learn(count))
        return {"seconds": seconds / count, "cpu_seconds": cpu / count, "peak_mib": _peak()}
    if task == "learn":
        learn(3)
        scaled_up = 10 if small and way == "naive" else 1
        steps = published.steps // scaled_up if way == "naive" else default.steps
        seconds, cpu = _timed(lambda: learn(steps))
        return {
            "seconds": seconds * scaled_up,
            "cpu_seconds": cpu * scaled_up,
            "peak_mib": _peak(),
            "scaled_up": scaled_up,
        }
    # Nothing is trained here: its peak of memory would hide that of editing.
    edit = Edit.load(examples_dir() / "edits" / f"{SHIPPED}.safetensors")
    images = [before.draw() for before, _ in held_out_faces(EDIT, PICTURES + 1)]
    if way == "ours":
        from pairedit_sdk.editing.edit_image import edit_image

        def change(image: Any) -> Any:
            return edit_image(model, image, edit)
    else:

        def change(image: Any) -> Any:
            return naive_edit(model, image, edit.layers, 1.0, edit.info.guidance)

    change(images[0])
    seconds, cpu = _timed(lambda: [change(image) for image in images[1:]])
    return {"seconds": seconds / PICTURES, "cpu_seconds": cpu / PICTURES, "peak_mib": _peak()}


def _reach(base: Any, pairs: Any, published: Any, default: Any) -> dict[str, Any]:
    """Seconds of the shortest default training that is as accurate as the published recipe."""
    from pairedit_sdk.bench.edit_types import held_out_faces
    from pairedit_sdk.bench.edits import SCALES
    from pairedit_sdk.bench.fidelity import measure, truth_of
    from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
    from pairedit_sdk.editing.edit_latents import sweep_latents
    from pairedit_sdk.training.trainer import train

    faces = held_out_faces(EDIT, FACES)
    truth = truth_of(base, faces, [EDIT], load_attribute_classifier())

    def accuracy(config: Any, scales: Sequence[float]) -> tuple[float, float]:
        started = time.perf_counter()
        edit = train(base, pairs, config, name=EDIT)
        seconds = time.perf_counter() - started
        rows = measure(base, lambda x, s: sweep_latents(base, x, edit, s), truth, scales)
        return max(row.accuracy for row in rows), seconds

    wanted, published_seconds = accuracy(published, SCALES)
    tried = {}
    for share in SHARES:
        config = replace(default, steps=max(1, round(default.steps * share)))
        reached, seconds = accuracy(config, [1.0])
        tried[config.steps] = {"accuracy": reached, "seconds": seconds}
        if reached >= wanted:
            break
    else:
        seconds = float("inf")
    return {
        "seconds": seconds,
        "published_accuracy": wanted,
        "published_seconds": published_seconds,
        "tried": tried,
    }


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _peak() -> float:
    """The process's peak memory in MiB."""
    import resource  # is not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    print(json.dumps(_work(sys.argv[1], sys.argv[2], "small" in sys.argv[3:])))
