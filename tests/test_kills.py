"""A training that is killed at any point and resumed ends as if nothing had happened, bit for bit.

Run as a script, it is the process that loads everything once and forks each training (see
``killing.py``): pytest's own, whose torch has threads, never forks. The points are those between
changes of the run's files, files cut short, and each pass of the transformer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")

ROOT = Path(__file__).parents[1]
#: The steps of the training.
STEPS = 9
#: Kinds of which the quick test takes the point in the middle.
FEW = ["open", "rename", "torn", "pass"]
#: Trainings that are killed more than once: the kind and number of the points, one after the other.
TWICE = [
    [["rename", 8], ["pass", 3]], [["torn", 5], ["torn", 2]], [["pass", 20], ["pass", 5]],
    [["open", 9], ["torn", 3], ["rename", 2]], [["remove", 3], ["remove", 1]],
]  # fmt: skip


def test_a_killed_run_goes_on_bit_for_bit(tiny_folder: Path, tmp_path: Path) -> None:
    killed(tiny_folder, tmp_path, "few")


@pytest.mark.slow
def test_a_kill_at_every_point(tiny_folder: Path, tmp_path: Path) -> None:
    killed(tiny_folder, tmp_path, "every")


def killed(base: Path, folder: Path, which: str) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(base), str(folder), which], capture_output=True, text=True,
        check=False, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    chains = json.loads(done.stdout.splitlines()[-1])
    kinds = {kind for chain in chains for kind, _ in chain}
    assert {"open", "rename", "torn", "pass"} <= kinds
    wanted = outcome(folder / "whole")
    assert [line["step"] for line in wanted["metrics"]] == list(range(1, STEPS + 1))
    for number, chain in enumerate(chains):
        found = outcome(folder / str(number))
        assert found["metrics"] == wanted["metrics"], chain
        assert found["files"].keys() == wanted["files"].keys(), chain
        same = [name for name, data in found["files"].items() if data == wanted["files"][name]]
        assert same == list(wanted["files"]), chain


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


# From here on: the script.


def main(base_folder: str, folder: Path, which: str) -> None:
    import torch
    from killing import Point, Points, every, forked
    from PIL import Image, ImageDraw

    from pairedit_sdk.models.loading import load_base
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.config import TrainConfig
    from pairedit_sdk.training.trainer import train

    assert torch.get_num_threads() == 1  # or a forked child could wait for threads it has not got
    base = load_base(base_folder, device="cpu")
    before = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    after = before.copy()
    ImageDraw.Draw(after).rectangle((16, 16, 40, 30), "orange")
    pairs = PairSet.from_images([(before, after)])
    config = TrainConfig(
        steps=STEPS, rank=2, checkpoint_every=2, sigma_count=8, edit_steps=2, preview_every=4,
        resolution=64,
    )  # fmt: skip

    def run(name: str, points: Points) -> None:
        # Its own cache, so that every training has the same points, those of the cache among them.
        os.environ["PAIREDIT_CACHE"] = str(folder / f"{name}-cache")
        base.transformer.register_forward_pre_hook(lambda *_: points.reach("pass"))
        train(base, pairs, config, name="e", run_dir=folder / name, resume=True)

    noted = folder / "noted"
    assert forked(partial(run, "whole"), folder, noted_in=noted) == 0
    chains: list[list[Point]] = [[point] for point in every(noted)]
    if which == "few":
        of_kind = [[one for one in chains if one[0][0] == kind] for kind in FEW]
        chains = [ones[len(ones) // 2] for ones in of_kind]
    else:
        chains += [[(kind, number) for kind, number in chain] for chain in TWICE]
    for number, chain in enumerate(chains):
        work = partial(run, str(number))
        for point in chain:
            assert forked(work, folder, point) == signal.SIGKILL, (chain, point)
        assert forked(work, folder) == 0, chain
    print(json.dumps(chains))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
