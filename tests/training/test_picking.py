"""Every checkpoint is the edit that a training of so many steps would have given."""

import json
from dataclasses import replace

import pytest
import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.training.checkpoints import Checkpoints
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.picking import candidates, strip
from pairedit_sdk.training.trainer import train

CONFIG = TrainConfig(
    steps=4, rank=4, checkpoint_every=2, sigma_count=8, edit_steps=4, calibrate=True, gain=1.2
)


@pytest.fixture
def pairs(face_pairs):
    return face_pairs({"glasses": "round"}, 2, size=64)


def test_candidates_are_what_a_shorter_training_gives(tiny_model, pairs, tmp_path):
    whole = train(tiny_model, pairs, CONFIG, name="e", run_dir=tmp_path)
    short = train(tiny_model, pairs, replace(CONFIG, steps=2), name="e")
    found = candidates(tiny_model, tmp_path, "e")
    assert [one.step for one in found] == [2, 4]
    for one, other in zip(found, (short, whole), strict=True):
        assert one.fidelity is not None
        assert one.fidelity <= 1
        assert one.edit.info.steps == other.info.steps
        assert one.edit.info.unit_scale == pytest.approx(other.info.unit_scale)
        for name, layer in other.layers.items():
            assert torch.equal(one.edit.layers[name].down, layer.down)
            assert torch.allclose(one.edit.layers[name].up, layer.up, rtol=1e-5)
    picture = strip(tiny_model, tmp_path, found)
    assert picture.width > 4 * 64
    assert picture.height > 2 * 64


def test_the_last_ones_and_the_best_are_kept(tiny_model, pairs, tmp_path, monkeypatch):
    measured = iter([0.1, 0.5, 0.2, 0.3, 0.4, 0.45])
    monkeypatch.setattr(
        "pairedit_sdk.training.trainer.fidelity", lambda branches, latents: next(measured)
    )
    config = replace(CONFIG, steps=6, checkpoint_every=1, calibrate=False)
    train(tiny_model, pairs, config, name="e", run_dir=tmp_path)
    saved = Checkpoints(tmp_path / "checkpoints").saved()
    assert [(c.step, c.fidelity) for c in saved] == [(2, 0.5), (5, 0.4), (6, 0.45)]


def test_a_run_that_is_not_there_is_named(tiny_model, tmp_path):
    with pytest.raises(UsageError, match=r"no run with checkpoints.*checkpoint_every=50"):
        candidates(tiny_model, tmp_path, "e")


def test_nothing_is_measured_where_there_is_nothing_to_choose_from(tiny_model, pairs, tmp_path):
    config = replace(CONFIG, checkpoint_every=0)
    train(tiny_model, pairs, config, name="e", run_dir=tmp_path)
    (saved,) = (tmp_path / "checkpoints").iterdir()
    (one,) = Checkpoints(tmp_path / "checkpoints").saved()
    assert (saved.name, one.fidelity) == ("step-000004.safetensors", None)
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["keep"] == 2
