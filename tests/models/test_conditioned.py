"""A model with its condition and guidance: rows of one pass carry LoRAs of their own."""

import pytest
import torch

from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel

SIGMA = torch.tensor(0.6)


@pytest.fixture
def loras(tiny_model):
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name in ("one", "two"):
        layers = {}
        for target in tiny_model.lora_targets("attention"):
            module = tiny_model.transformer.get_submodule(target)
            down = torch.randn(2, module.in_features, generator=generator)
            up = torch.randn(module.out_features, 2, generator=generator)
            layers[target] = LoraLayer(down * 0.1, up * 0.1)
        found[name] = layers
    return found


@torch.no_grad()
def test_each_row_is_the_pass_with_its_own_scales(tiny_model, loras):
    x = torch.randn(3, *tiny_model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    model = ConditionedModel(tiny_model, tiny_model.condition(""), 3.5)
    bare = model.velocity(x, SIGMA)
    assert torch.equal(bare, tiny_model.velocity(x, SIGMA, tiny_model.condition(""), 3.5))
    one, two = torch.tensor([1.0, 0.0, -0.5]), torch.tensor([0.0, 0.0, 2.0])
    with attached(tiny_model.transformer, loras):
        rows = model.velocity(x, SIGMA, {"one": one, "two": two})
        for k in range(3):
            scales = {"one": float(one[k]), "two": float(two[k])}
            alone = model.velocity(x[k : k + 1], SIGMA, scales)
            assert torch.allclose(rows[k : k + 1], alone, atol=1e-5)
        # A scale that is not given stays what it was.
        assert torch.allclose(model.velocity(x[2:], SIGMA), rows[2:], atol=1e-5)
        zero = model.velocity(x, SIGMA, {"one": 0.0, "two": torch.zeros(3)})
    assert torch.equal(zero, bare)
    assert not torch.allclose(rows[2], bare[2], atol=1e-3)
    assert torch.allclose(rows[1], bare[1], atol=1e-6)


def test_guidance_and_condition_are_the_model_s_own(tiny_model):
    x = torch.randn(1, *tiny_model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    condition = tiny_model.condition("a person")
    with torch.no_grad():
        found = ConditionedModel(tiny_model, condition, 2.0).velocity(x, SIGMA)
        assert torch.equal(found, tiny_model.velocity(x, SIGMA, condition, 2.0))
