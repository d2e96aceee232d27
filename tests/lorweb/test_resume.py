"""A basis's training that is killed at any point and resumed ends bit for bit as one that is not.

Run as a script, it is the process that loads the built-in model once and forks each training (see
``killing.py``). The points are drawn with a seed from all that an undisturbed run passes: changes
of the run's files, files cut short, and each pass of the transformer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")

ROOT = Path(__file__).parents[2]
STEPS = 5
#: Points that are drawn, and the kinds that one of them is to be of.
POINTS, KINDS = 5, ("pass", "torn", "rename")


def test_a_killed_training_of_a_basis_goes_on_bit_for_bit(tmp_path: Path) -> None:
    killed(tmp_path, 1)


@pytest.mark.slow
def test_kills_at_five_points(tmp_path: Path) -> None:
    chains = killed(tmp_path, POINTS)
    assert {kind for chain in chains for kind, _ in chain} >= set(KINDS)


def killed(folder: Path, count: int) -> list[list[tuple[str, int]]]:
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(count)], capture_output=True, text=True,
        check=False, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    chains: list[list[tuple[str, int]]] = json.loads(done.stdout.splitlines()[-1])
    wanted = outcome(folder / "whole")
    assert [line["step"] for line in wanted["metrics"]] == list(range(1, STEPS + 1))
    assert len(chains) == count
    for number, chain in enumerate(chains):
        found = outcome(folder / str(number))
        assert found["metrics"] == wanted["metrics"], chain
        assert found["files"].keys() == wanted["files"].keys(), chain
        same = [name for name, data in found["files"].items() if data == wanted["files"][name]]
        assert same == list(wanted["files"]), chain
    return chains


def outcome(run: Path) -> dict[str, Any]:
    """What a run has come to: its losses, and all its other files, the basis too, as bytes."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    files = {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != "metrics.jsonl"
    }
    return {"metrics": metrics, "files": files}


# From here on: the script.


def main(folder: Path, count: int) -> None:
    import torch
    from killing import Point, Points, every, forked

    from pairedit_sdk.builtin.faces.analogies import SEEN, drawn_analogy
    from pairedit_sdk.lorweb.analogies import Analogy
    from pairedit_sdk.lorweb.settings import BasisSettings
    from pairedit_sdk.lorweb.trainer import train_basis
    from pairedit_sdk.models.loading import load_base

    assert torch.get_num_threads() == 1  # or a forked child could wait for threads it has not got
    base = load_base("mini-kontext", device="cpu")
    faces = [drawn_analogy(change, index) for change in SEEN[:6] for index in range(2)]
    analogies = [
        Analogy(*(face.draw(64) for face in (one.a, one.a_prime, one.b, one.b_prime)), one.caption)
        for one in faces
    ]
    settings = BasisSettings(
        steps=STEPS, batch=2, count=3, rank=2, key_width=8, targets="attention", layout="sequence",
        unit_embeddings=True, start="difference", checkpoint_every=2,
        resolution=64, delta_tokens=2, delta_width=16, delta_layers=1,
    )  # fmt: skip

    def run(name: str, points: Points) -> None:
        base.transformer.register_forward_pre_hook(lambda *_: points.reach("pass"))
        there = any((folder / name).glob("checkpoints/step-*"))
        made = train_basis(
            base, analogies, settings, name="b", run_dir=folder / name, resume=there,
            force=not there,
        )  # fmt: skip
        made.save(folder / name / "b.safetensors")

    noted = folder / "noted"
    assert forked(partial(run, "whole"), folder, noted_in=noted) == 0
    rng = random.Random(0)
    passed = list(every(noted))
    drawn_points = [rng.choice([one for one in passed if one[0] == kind]) for kind in KINDS]
    drawn_points += rng.sample([one for one in passed if one not in drawn_points], POINTS)
    chains: list[list[Point]] = [[point] for point in drawn_points[:count]]
    for number, chain in enumerate(chains):
        work = partial(run, str(number))
        for point in chain:
            assert forked(work, folder, point) == signal.SIGKILL, (chain, point)
        assert forked(work, folder) == 0, chain
    print(json.dumps(chains))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    main(Path(sys.argv[1]), int(sys.argv[2]))
