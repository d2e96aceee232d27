"""The scale found is the one at which the edit does what the pairs show."""

import pytest
import torch

from pairedit_sdk.editing import composition
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.pairs.latents import PairLatents, encode_pairs
from pairedit_sdk.training import calibration
from pairedit_sdk.training.calibration import SCALES, unit_scale
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train


@pytest.fixture(scope="module")
def trained(tiny_folder, face_pairs):
    from pairedit_sdk.models.loading import load_base

    base = load_base(str(tiny_folder), device="cpu")
    pairs = face_pairs({"hat": "beanie"}, 2, size=64)
    config = TrainConfig(steps=8, rank=4, sigma_count=8, lr=2e-2)
    return base, train(base, pairs, config, name="hat"), encode_pairs(base, pairs, 64)


@pytest.mark.parametrize("tokens", [8192, 32])  # all scales in one pass, and one by one
def test_the_scale_that_made_the_target_is_found(trained, monkeypatch, tokens):
    base, edit, latents = trained
    monkeypatch.setattr(composition, "TOKENS", tokens)
    wanted = SCALES[4]
    # The pairs as this very edit would have made them. Of the noise nothing is shared.
    made = [PairLatents(p.name, p.x_a, edit_latents(base, p.x_a, edit @ wanted)) for p in latents]
    found = unit_scale(base, edit.layers, made, base.condition(""), edit.info.guidance)
    assert found == pytest.approx(wanted, rel=0.1)
    assert list(lora_layers(base.transformer)) == []


def test_the_parabola_s_minimum_lies_between_the_scales():
    log_scales = torch.linspace(-2, 0, 5, dtype=torch.float64)
    error = (log_scales + 0.9).square()
    assert calibration._minimum(log_scales, error) == pytest.approx(torch.tensor(-0.9).exp().item())
    assert calibration._minimum(log_scales, log_scales) == pytest.approx(torch.tensor(-2.0).exp())
    assert calibration._minimum(log_scales, -log_scales) == 1
