"""A training that ends far above its start is no success, whatever its last steps' losses say."""

import logging
import math
import signal
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from pairedit_sdk.errors import TrainingError
from pairedit_sdk.training.divergence import probe, require_learned
from pairedit_sdk.training.loop import training_loop
from pairedit_sdk.training.processes import accelerating
from pairedit_sdk.training.settings import TrainingSettings
from pairedit_sdk.training.task import Task

SETTINGS = TrainingSettings(steps=20, batch=3, lr=0.05, checkpoint_every=10)


@dataclass(frozen=True)
class Info:
    step: int
    steps: int
    loss: float
    lr: float
    seconds: float


class One(Task):
    """A number that should become 0.3; each draw weighs its loss by a noise level of its own."""

    info = Info

    def __init__(self, settings):
        self.settings, self.elements = settings, 1
        self.base = SimpleNamespace(
            device=torch.device("cpu"), dtype=torch.float32, transformer=torch.nn.Identity(),
            fingerprint="f", precision="fp32", set_gradient_checkpointing=lambda on: None,
        )  # fmt: skip
        self.parameters = {"x": torch.nn.Parameter(torch.zeros(1))}
        self.drawn = []

    def losses(self, draw, rows):
        self.drawn.append(draw)
        for row in rows:
            level = 10.0 ** ((draw * 3 + row) % 5 - 2)
            error = (self.parameters["x"] - 0.3).square().mean()
            yield {"loss": level * error / self.settings.batch}

    def digest(self):
        return "these"

    def preview(self):
        raise NotImplementedError


def run(settings, folder=None, **how):
    task = One(settings)
    with training_loop(task.base, settings, name="one", run_dir=folder, **how) as loop:
        loop.run(task)
    return task


def test_the_first_draws_are_measured_and_nothing_is_changed():
    task = One(SETTINGS)
    with accelerating(torch.device("cpu"), None, None) as accelerator:
        found = probe(task, accelerator)
    assert task.drawn == [0, 1, 2]  # three draws of three rows are at least eight
    levels = [10.0 ** (k % 5 - 2) for k in range(9)]
    assert found == pytest.approx(0.09 * sum(levels) / 9)
    assert task.parameters["x"].grad is None
    assert task.parameters["x"].item() == 0


@pytest.mark.parametrize(("end", "fine"), [(0.1, True), (2.0, True), (2.1, False)])
def test_twice_the_start_is_too_far(tmp_path, end, fine):
    if fine:
        require_learned(1.0, end, 0.1, tmp_path)
        return
    with pytest.raises(TrainingError, match=r"ends at a loss of 2\.1, 2 times what it began with"):
        require_learned(1.0, end, 0.1, tmp_path)


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_no_number_is_too_far_as_well(tmp_path, end):
    with pytest.raises(TrainingError, match=r"diverged: it ends at a loss of (nan|inf), what it"):
        require_learned(1.0, end, 0.1, tmp_path)


def test_a_training_that_learns_is_left_alone(tmp_path):
    task = run(SETTINGS, tmp_path)
    assert task.parameters["x"].item() == pytest.approx(0.3, abs=0.1)


def test_one_that_diverged_is_an_error_and_its_run_is_kept(tmp_path):
    wild = SETTINGS.with_values(lr=1.0, steps=1)
    for resume in (False, True):  # there is nothing left to do, and it is no better
        with pytest.raises(TrainingError) as caught:
            run(wild, tmp_path, resume=resume)
        said = str(caught.value)
        assert "The training has diverged: it ends at a loss of" in said
        assert f"with checkpoints in {tmp_path / 'checkpoints'}. Train again with" in said
        assert "a smaller lr (it is 1)" in said
    assert [p.stem for p in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_without_a_run_folder_it_is_a_warning_and_nothing_is_lost(caplog):
    with caplog.at_level(logging.WARNING, "pairedit_sdk"):
        task = run(SETTINGS.with_values(lr=1.0, steps=1))
    assert task.parameters["x"].item() == pytest.approx(1)
    (record,) = caplog.records
    assert "has diverged" in record.message
    assert "Train again with a smaller lr (it is 1)." in record.message


def test_ctrl_c_in_the_last_measurement_is_not_lost(tmp_path):
    """After the last step nothing looks at what was noted between steps any more."""

    class Stopped(One):
        def losses(self, draw, rows):
            if len(self.drawn) == 3 + 2:  # the first measurement takes three draws, each step one
                signal.raise_signal(signal.SIGINT)
            return super().losses(draw, rows)

    settings = TrainingSettings(steps=2, batch=3, lr=0.05)
    task = Stopped(settings)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        with training_loop(task.base, settings, name="one", run_dir=tmp_path) as loop:
            with pytest.raises(KeyboardInterrupt):
                loop.run(task)
            assert loop.folder.checkpoints.newest() is not None
    finally:
        signal.signal(signal.SIGINT, before)
