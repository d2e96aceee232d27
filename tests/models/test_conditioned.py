"""A model with its condition and guidance: rows of one pass carry LoRAs of their own."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.tokens import pack

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


@pytest.fixture
def passes(monkeypatch):
    """The conditions of all passes, in order."""
    seen = []
    velocity = PipelineModel.velocity

    def noted(self, x, sigma, condition, guidance):
        seen.append((condition, guidance))
        return velocity(self, x, sigma, condition, guidance)

    monkeypatch.setattr(PipelineModel, "velocity", noted)
    return seen


def _state(model, rows=2):
    shape = model.latent_shape(64, 96)
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_without_classifier_free_guidance_there_is_one_pass(tiny_model, passes):
    x, told, untold = _state(tiny_model), *map(tiny_model.condition, ("a person", ""))
    plain = ConditionedModel(tiny_model, told, 3.5).velocity(x, SIGMA)
    found = ConditionedModel(tiny_model, told, 3.5, untold, 1.0).velocity(x, SIGMA)
    assert len(passes) == 2
    assert torch.equal(found, plain)


@torch.no_grad()
def test_classifier_free_guidance_is_two_passes(tiny_model, loras, passes):
    x, told, untold = _state(tiny_model), *map(tiny_model.condition, ("a person", ""))
    model = ConditionedModel(tiny_model, told, 3.5, untold, 4.0)
    scales = {"one": torch.tensor([1.0, -0.5]), "two": 0.5}
    with attached(tiny_model.transformer, loras):
        found = model.velocity(x, SIGMA, scales)
        assert [(c.prompt_embeds is told.prompt_embeds, g) for c, g in passes] == [
            (True, 3.5), (False, 3.5),
        ]  # fmt: skip
        # Both passes carry the LoRAs, as in stock diffusers.
        v, u = (tiny_model.velocity(x, SIGMA, one, 3.5) for one in (told, untold))
    assert torch.allclose(found, u + 4 * (v - u), atol=1e-5)
    assert not torch.allclose(found, v, atol=1e-3)


@torch.no_grad()
def test_references_are_shared_by_both_passes(tiny_kontext_folder, passes):
    model = PipelineModel.load(str(tiny_kontext_folder), device="cpu")
    x = _state(model)
    told = replace(model.condition("add a hat"), references=(x[:1] + 1,))
    guided = ConditionedModel(model, told, 2.5, model.condition(""), 3.0)
    guided.velocity(x, SIGMA)
    guided.velocity(x, SIGMA, reference=x)
    seen = [one.references for one, _ in passes]
    assert torch.equal(seen[0][0], x[:1] + 1)
    assert seen[0] == seen[1]
    assert seen[2][0] is seen[3][0] is x


@torch.no_grad()
def test_a_family_that_renormalises_keeps_the_norm_of_each_token(tiny_model, monkeypatch):
    x, told, untold = _state(tiny_model), *map(tiny_model.condition, ("a person", ""))
    v = tiny_model.velocity(x, SIGMA, told, 3.5)
    plain = ConditionedModel(tiny_model, told, 3.5, untold, 4.0).velocity(x, SIGMA)
    monkeypatch.setattr(tiny_model, "renormalises", True)
    found = ConditionedModel(tiny_model, told, 3.5, untold, 4.0).velocity(x, SIGMA)
    norms = [pack(one).norm(dim=-1, keepdim=True) for one in (v, plain, found)]
    assert torch.allclose(norms[2], norms[0], atol=1e-5)
    assert not torch.allclose(norms[1], norms[0], atol=1e-2)
    assert torch.allclose(pack(found), pack(plain) * norms[0] / norms[1], atol=1e-5)


def test_classifier_free_guidance_needs_a_negative_prompt(tiny_model):
    with pytest.raises(ValueError, match="needs a negative prompt"):
        ConditionedModel(tiny_model, tiny_model.condition(""), 3.5, cfg=2.0)
