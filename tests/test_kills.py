"""A training that is killed at any moment and resumed ends as if nothing had happened, bit for bit.

One child process loads everything once and forks each training, which costs a fraction of starting
Python anew. A training is killed after a random time, at a random one of its file operations, just
before or just after it, or with a file half written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it forks a process with torch")

#: Of the operating system's calls, those between which a file is in another state.
OPERATIONS = ("replace", "fsync", "unlink", "mkdir")
#: Ways in which a training is killed; each chain of them is one training.
FEW = [["time"], ["operation"], ["torn"]]
MANY = [["time"]] * 4 + [["operation"]] * 6 + [["torn"]] * 3 + [
    ["operation", "time"], ["torn", "torn"], ["operation", "torn", "operation"],
]  # fmt: skip


def test_a_killed_run_goes_on_bit_for_bit(tiny_folder: Path, tmp_path: Path) -> None:
    killed(tiny_folder, tmp_path, FEW, seed=1)


@pytest.mark.slow
def test_twenty_kills(tiny_folder: Path, tmp_path: Path) -> None:
    assert sum(map(len, MANY)) == 20
    killed(tiny_folder, tmp_path, MANY, seed=2)


def killed(base: Path, folder: Path, chains: list[list[str]], seed: int) -> None:
    words = [sys.executable, __file__, str(base), str(folder), json.dumps(chains), str(seed)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(json.loads(done.stdout.splitlines()[-1])) == sum(map(len, chains))
    wanted = outcome(folder / "whole")
    assert [line["step"] for line in wanted["metrics"]] == list(range(1, 10))
    for number, _ in enumerate(chains):
        found = outcome(folder / str(number))
        assert found["metrics"] == wanted["metrics"], number
        assert found["files"].keys() == wanted["files"].keys(), number
        same = [name for name, data in found["files"].items() if data == wanted["files"][name]]
        assert same == list(wanted["files"]), number


def outcome(run: Path) -> dict[str, Any]:
    """What a run has come to: its losses, and all its other files as bytes."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    files = {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != "metrics.jsonl"
    }
    return {"metrics": metrics, "files": files}


# From here on: the child.


def main(base_folder: str, folder: Path, chains: list[list[str]], seed: int) -> None:
    import torch
    from PIL import Image, ImageDraw

    from pairedit_sdk.models.loading import load_base
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.checkpoints import clear
    from pairedit_sdk.training.config import TrainConfig
    from pairedit_sdk.training.trainer import train

    assert torch.get_num_threads() == 1  # or a forked child could wait for threads it has not got
    base = load_base(base_folder, device="cpu")
    before = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    after = before.copy()
    ImageDraw.Draw(after).rectangle((16, 16, 40, 30), "orange")
    pairs = PairSet.from_images([(before, after)])
    config = TrainConfig(
        steps=9, rank=2, checkpoint_every=2, sigma_count=8, edit_steps=2, preview_every=4,
        resolution=64,
    )  # fmt: skip

    def run(name: str) -> None:
        train(base, pairs, config, name="e", run_dir=folder / name, resume=True)

    counter = folder / "operations"
    begun = time.monotonic()
    assert forked(partial(run, "whole"), counted_in=counter) == 0
    seconds, operations = time.monotonic() - begun, int(counter.read_text())
    rng = random.Random(seed)
    kills = []
    for number, chain in enumerate(chains):
        work = partial(run, str(number))
        for way in chain:
            status, point = 0, 0.0
            for share in (1.0, 0.5, 0.25, 0.0):  # what is left after a kill is shorter
                if way == "time":
                    point = rng.uniform(0.05, 0.95) * seconds * share
                    status = forked(work, after=point)
                else:
                    point = rng.randrange(1, 2 + int(operations * share * 0.9))
                    torn = way == "torn"
                    status = forked(work, at=int(point), torn=torn, rng=rng)
                if status == signal.SIGKILL:
                    break
                clear(folder / str(number))  # it was over before it was to be killed
            assert status == signal.SIGKILL, (way, point, status)
            kills.append([way, point])
        assert forked(work) == 0
    print(json.dumps(kills))


def forked(
    work: Callable[[], object], *, after: float | None = None, at: int | None = None,
    torn: bool = False, rng: random.Random | None = None, counted_in: Path | None = None,
) -> int:  # fmt: skip
    """Do the work in a child; its exit status, or the signal that ended it.

    Args:
        work: what to do.
        after: kill it after so many seconds.
        at: kill it at this one of its file operations, or of its tensor files if ``torn``.
        torn: leave that tensor file half written.
        rng: for where exactly.
        counted_in: write down there how many file operations there were.
    """
    before = bool(rng and rng.random() < 0.5)
    cut = rng.random() if rng else 0.0
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count = watched(at if not torn else None, before)
            if torn:
                tear(1 + (at or 1) % 8, cut)
            work()
            if counted_in is not None:
                counted_in.write_text(str(count[0]))
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def watched(at: int | None, before: bool) -> list[int]:
    """Count this process's file operations, and end it at one of them."""
    count = [0]

    def patched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **settings: Any) -> Any:
            count[0] += 1
            if count[0] == at and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*words, **settings)
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in OPERATIONS:
        setattr(os, name, patched(getattr(os, name)))
    return count


def tear(at: int, cut: float) -> None:
    """End this process when it has written a share of its ``at``-th tensor file."""
    import safetensors.torch

    original, count = safetensors.torch.save_file, [0]

    def save_file(tensors: Any, path: Any, **settings: Any) -> None:
        original(tensors, path, **settings)
        count[0] += 1
        if count[0] == at:
            os.truncate(path, int(os.path.getsize(path) * cut))
            os.kill(os.getpid(), signal.SIGKILL)

    safetensors.torch.save_file = save_file


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
