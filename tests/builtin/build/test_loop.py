"""The build's training loop: budget, average, resume."""

import numpy as np
import pytest
import torch
from torch import nn

from pairedit_sdk.builtin.build import loop
from pairedit_sdk.builtin.build.loop import Rates, Stage, on_device
from pairedit_sdk.builtin.build.optim import hold_as_matrices, release_matrices


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by a second with every look."""
    now = {"t": 0.0}

    def tick():
        now["t"] += 1.0
        return now["t"]

    monkeypatch.setattr(loop.time, "monotonic", tick)


def _stage(folder, minutes, matrix_lr=0.0, parent=""):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    stage = Stage(
        "part", module, folder, minutes=minutes, rates=Rates(1e-2, matrix_lr), parent=parent
    )

    def loss(step):
        x = torch.randn(16, 4)
        return {"loss": (module(x) - x.sum(1, keepdim=True)).square().mean()}

    return stage, loss


@pytest.mark.parametrize("matrix_lr", [0.0, 1e-2])
def test_a_stage_ends_with_its_budget_and_goes_on_with_a_larger_one(clock, tmp_path, matrix_lr):
    first, loss = _stage(tmp_path, 0.5, matrix_lr)
    first.run(loss)
    assert first.elapsed == 30
    again, loss = _stage(tmp_path, 0.5, matrix_lr)
    assert (again.step, again.elapsed) == (first.step, first.elapsed)
    for name, parameter in first.parameters.items():
        assert torch.equal(again.parameters[name], parameter)
        assert torch.equal(again.average[name], first.average[name])
    again.run(loss)
    assert again.step == first.step
    longer, loss = _stage(tmp_path, 1.0, matrix_lr)
    longer.run(loss)
    assert longer.elapsed == 60


def test_a_stage_is_begun_anew_when_its_parent_has_learned_on(clock, tmp_path):
    first, loss = _stage(tmp_path, 0.5, parent="flow 10")
    first.run(loss)
    same, _ = _stage(tmp_path, 0.5, parent="flow 10")
    assert same.step == first.step
    other, loss = _stage(tmp_path, 0.5, parent="flow 20")
    fresh, _ = _stage(tmp_path / "elsewhere", 0.5)
    assert (other.step, other.elapsed) == (0, 0)
    for name, parameter in fresh.parameters.items():
        assert torch.equal(other.parameters[name], parameter)


def test_a_stage_without_a_budget_leaves_no_checkpoint(clock, tmp_path):
    stage, loss = _stage(tmp_path, 0.0)
    stage.run(loss)
    assert list(tmp_path.iterdir()) == []


def test_a_stage_says_how_it_ended_even_if_it_was_short(clock, tmp_path, capsys):
    stage, loss = _stage(tmp_path, 0.1)
    stage.run(loss)
    assert capsys.readouterr().out.startswith("part 0.1 min step 6 (1.00/s) loss ")


def test_what_is_on_the_cpu_stays_where_it_is():
    values = np.arange(3)
    tensor = on_device(values, "cpu")
    values[0] = 7
    assert tensor.tolist() == [7, 1, 2]
    assert on_device(tensor, "cpu") is tensor
    assert on_device(values, "meta").device.type == "meta"


def test_a_pause_does_not_count_as_training(monkeypatch, tmp_path):
    times = iter([0.0, 1.0, 5000.0, 5001.0] + [6000.0 + 10 * k for k in range(20)])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(times))
    stage, loss = _stage(tmp_path, 0.5)
    stage.run(loss)
    assert stage.step == 5  # 1 + 10 + 1 + 10 + 10 seconds


def test_training_lowers_the_loss_and_the_average_follows(clock, tmp_path):
    stage, loss = _stage(tmp_path, 3.0)
    torch.manual_seed(1)
    before = float(loss(0)["loss"].detach())
    stage.run(loss)
    stage.use_average()
    torch.manual_seed(1)
    assert float(loss(0)["loss"].detach()) < before / 4


def test_convolutions_held_as_matrices_compute_the_same_and_come_back():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 3, 3))
    x = torch.randn(1, 4, 9, 9)
    before, names = module(x), set(module.state_dict())
    hold_as_matrices(module)
    assert [p.ndim for n, p in module.named_parameters() if "weight" in n] == [2, 4]
    assert torch.equal(module(x), before)
    release_matrices(module)
    assert set(module.state_dict()) == names
    assert torch.equal(module(x), before)
