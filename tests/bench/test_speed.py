"""The naive yardstick does the same work, and the summary compares medians."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pairedit_sdk.bench import naive, speed
from pairedit_sdk.bench.speed import summary
from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.errors import PairEditError
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.training.config import load_recipe
from pairedit_sdk.training.trainer import train


@pytest.fixture(scope="module")
def pairs(face_pairs):
    return face_pairs({"glasses": "round"}, 1)


def _always_the_same_noise(base, monkeypatch):
    shape = (1, *base.latent_shape(128, 128))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise.clone())


def test_the_naive_way_learns_what_ours_learns(tiny_model, pairs, monkeypatch):
    """With one pair, one σ and the same noise, three steps are the same steps."""
    config = replace(load_recipe("published"), steps=3, rank=4, checkpoint_every=0)
    _always_the_same_noise(tiny_model, monkeypatch)
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.zeros(1, dtype=torch.long))
    ours = train(tiny_model, pairs, config, name="e").layers
    theirs = naive.naive_train(tiny_model, pairs, config)
    assert ours.keys() == theirs.keys()
    for name, layer in ours.items():
        assert torch.allclose(layer.down, theirs[name].down, atol=1e-4)
        assert torch.allclose(layer.up, theirs[name].up, atol=1e-4)
        assert layer.up.abs().max() > 1e-4
    assert not list(lora_layers(tiny_model.transformer))


def test_the_naive_editor_is_ours_one_row_at_a_time(tiny_model, pairs, monkeypatch):
    config = replace(load_recipe("mini"), steps=2, rank=4, lr=2e-2, edit_even=False)
    edit = train(tiny_model, pairs, config, name="e")
    image = pairs[0].before
    noise = torch.randn(
        tiny_model.latent_shape(128, 128), generator=torch.Generator().manual_seed(7)
    )
    monkeypatch.setattr(torch, "randn", lambda *_, **__: noise[None].clone())
    one = naive.naive_edit(tiny_model, image, edit.layers, 0.8, edit.info.guidance)
    two = edit_image(tiny_model, image, edit @ 0.8, steps=28, n_avg=1, threshold=0, detail="off")
    difference = np.abs(np.asarray(one, np.int16) - np.asarray(two, np.int16))
    assert difference.max() <= 1
    assert np.abs(np.asarray(one, np.int16) - np.asarray(image, np.int16)).max() > 1


def test_editing_is_measured_in_both_ways():
    for way in ("naive", "ours"):
        row = speed._measured("edit", way, small=True)
        assert row["seconds"] > 0
        assert row["peak_mib"] > 100


def test_the_summary_takes_medians_and_their_ratio():
    rows = []
    for seconds in (1.0, 9.0, 2.0):
        for task in ("step", "learn", "edit"):
            rows.append({"task": task, "way": "naive", "seconds": 4 * seconds,
                         "cpu_seconds": 8.0, "peak_mib": 100.0})  # fmt: skip
            rows.append({"task": task, "way": "ours", "seconds": seconds, "cpu_seconds": 2.0,
                         "peak_mib": 50.0})  # fmt: skip
    rows.append({"task": "reach", "way": "ours", "seconds": 1.0})
    result = summary(rows)
    assert result["step_seconds"] == {"naive": 8.0, "ours": 2.0, "ratio": 0.25}
    assert result["learn_cpu_seconds"]["ratio"] == 0.25
    assert result["edit_peak_mib"]["ratio"] == 0.5
    assert result["reach_seconds"]["ratio"] == 1 / 8


def test_a_failed_measurement_says_why(monkeypatch):
    monkeypatch.setattr(speed.sys, "executable", "false")
    with pytest.raises(PairEditError, match=r"Measuring step \(ours\) failed with status 1"):
        speed._measured("step", "ours", True)
