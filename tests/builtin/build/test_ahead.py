"""What is drawn in advance is what would have been drawn in its turn.

Run as a script, it is the process that forks: pytest's own, whose torch has threads, never does.
"""

import multiprocessing
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pairedit_sdk.builtin.build import ahead, parts
from pairedit_sdk.builtin.build.ahead import Ahead, workers_for
from pairedit_sdk.builtin.build.assemble import text_tower
from pairedit_sdk.builtin.build.flow_data import LONG_TEXT_EVERY, FlowData
from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.io.cores import usable_cores

ROOT = Path(__file__).parents[3]
FORKS = "fork" in multiprocessing.get_all_start_methods()


@pytest.mark.skipif(not FORKS, reason="nothing is forked here")
def test_other_processes_draw():
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [check.__name__ for check in CHECKS]


def test_a_cpu_draws_when_it_is_asked_to():
    asked = []
    with Ahead(asked.append, 0, workers_for("cpu")) as drawn:
        assert asked == []
        drawn(3)
    assert asked == [3]


@pytest.mark.skipif(not FORKS, reason="nothing is forked here")
@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (3, 2), (64, ahead.MOST_WORKERS)])
def test_a_gpu_is_drawn_for_by_the_cores_that_are_left(monkeypatch, cores, workers):
    monkeypatch.setattr(ahead, "usable_cores", lambda: cores)
    assert workers_for("cuda") == workers


# From here on: the script.


def the_values_of_all_steps_come_in_their_order():
    def draw(step):
        return step, random.Random(f"step-{step}"), np.full(3, step)

    before = set(multiprocessing.active_children())
    workers = min(2, usable_cores())
    with Ahead(draw, 5, workers) as drawn:
        assert len(set(multiprocessing.active_children()) - before) == workers
        for step in range(5, 12):
            number, rng, row = drawn(step)
            assert number == step
            assert rng.random() == random.Random(f"step-{step}").random()
            assert row.tolist() == [step] * 3
        with pytest.raises(ValueError, match="expected 12, the next one; got 5"):
            drawn(5)
    assert set(multiprocessing.active_children()) <= before


def the_words_of_the_flow_model_are_the_same():
    faces = [face_at(i) for i in range(8)]
    data = FlowData(torch.zeros(8, 16, 4, 4), faces, text_tower(parts.clip()), 4, "cpu")
    first = LONG_TEXT_EVERY - 2  # the second has a long text and fewer rows
    with Ahead(data.words, first, 1) as drawn:
        for step in range(first, first + 3):
            here, there = data.words(step), drawn(step)
            for name in ("chosen", "told", "ids", "clip_ids"):
                assert np.array_equal(getattr(here, name), getattr(there, name))


def an_error_of_drawing_arrives():
    def draw(step):
        raise LookupError(f"nothing at {step}")

    with Ahead(draw, 0, 1) as drawn, pytest.raises(LookupError, match="nothing at 0"):
        drawn(0)


CHECKS = (
    the_values_of_all_steps_come_in_their_order,
    the_words_of_the_flow_model_are_the_same,
    an_error_of_drawing_arrives,
)

if __name__ == "__main__":
    assert torch.get_num_threads() == 1  # or a forked child could wait for threads it has not got
    for check in CHECKS:
        check()
        print(check.__name__)
