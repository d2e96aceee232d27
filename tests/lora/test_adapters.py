"""Attaching is reversible, per row, and exact."""

import pytest
import torch
from torch import nn

from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    attached,
    detach_all,
    lora_layers,
    set_scales,
    share_frozen,
)
from pairedit_sdk.lora.layers import LoraLayer


def _layers(base, rank=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name in base.lora_targets("attention"):
        module = base.transformer.get_submodule(name)
        layers[name] = LoraLayer(
            torch.randn(rank, module.in_features, generator=generator) * 0.1,
            torch.randn(module.out_features, rank, generator=generator) * 0.1,
        )
    return layers


def _velocity(base, rows=2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((1, 16, 16, 16), generator=generator).expand(rows, -1, -1, -1)
    with torch.no_grad():
        return base.velocity(x, torch.tensor(0.5), base.condition(""), 3.5)


def test_attach_and_detach_leave_the_very_same_modules_and_weights(tiny_model):
    modules = dict(tiny_model.transformer.named_modules())
    weights = {n: p.clone() for n, p in tiny_model.transformer.named_parameters()}
    before = _velocity(tiny_model)
    with attached(tiny_model.transformer, {"edit": _layers(tiny_model)}):
        assert not torch.allclose(_velocity(tiny_model), before, atol=1e-4)
    assert dict(tiny_model.transformer.named_modules()) == modules
    assert dict(tiny_model.transformer.named_parameters()).keys() == weights.keys()
    for name, parameter in tiny_model.transformer.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert not parameter.requires_grad
    assert torch.equal(_velocity(tiny_model), before)


def test_detaching_happens_after_an_error_too(tiny_model):
    with pytest.raises(RuntimeError), attached(tiny_model.transformer, {"e": _layers(tiny_model)}):
        raise RuntimeError
    assert list(lora_layers(tiny_model.transformer)) == []


def test_an_attached_lora_is_the_update_up_times_down(tiny_model):
    layers = _layers(tiny_model)
    name = next(iter(layers))
    plain = tiny_model.transformer.get_submodule(name)
    x = torch.randn(3, 5, plain.in_features)
    expected = x @ (plain.weight + layers[name].up @ layers[name].down).T + plain.bias
    with attached(tiny_model.transformer, {"edit": layers}), torch.no_grad():
        assert torch.allclose(tiny_model.transformer.get_submodule(name)(x), expected, atol=1e-5)


def test_scales_can_differ_by_row(tiny_model):
    plain = _velocity(tiny_model)
    with attached(tiny_model.transformer, {"edit": _layers(tiny_model)}):
        full = _velocity(tiny_model)
        set_scales(tiny_model.transformer, {"edit": torch.tensor([1.0, 0.0])})
        mixed = _velocity(tiny_model)
    assert torch.allclose(mixed[0], full[0], atol=1e-5)
    assert torch.allclose(mixed[1], plain[1], atol=1e-6)


def test_a_frozen_twin_follows_its_lora_and_takes_no_gradient(tiny_model):
    transformer = tiny_model.transformer
    targets = tiny_model.lora_targets("attention")
    generator = torch.Generator().manual_seed(0)
    parameters = add_trainable(transformer, "content", targets, 4, generator)
    share_frozen(transformer, "content", "twin")
    activate(transformer, ["content", "twin"])
    try:
        with torch.no_grad():
            for parameter in parameters.values():
                parameter += 0.1
        for _, layer in lora_layers(transformer, "twin"):
            for kind in ("lora_A", "lora_B"):
                own, twin = getattr(layer, kind)["content"], getattr(layer, kind)["twin"]
                assert twin.data_ptr() == own.data_ptr()
                assert not twin.requires_grad
        set_scales(transformer, {"content": 1.0, "twin": 0.0})
        one = _velocity(tiny_model)
        set_scales(transformer, {"content": 0.0, "twin": 1.0})
        assert torch.allclose(_velocity(tiny_model), one, atol=1e-6)
    finally:
        detach_all(transformer)


def test_a_new_lora_starts_without_effect_and_from_its_seed(tiny_model):
    before = _velocity(tiny_model)
    starts = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(7)
        targets = tiny_model.lora_targets("attention")
        made = add_trainable(tiny_model.transformer, "semantic", targets, 4, generator)
        activate(tiny_model.transformer, ["semantic"])
        assert torch.equal(_velocity(tiny_model), before)
        starts.append({n: p.detach().clone() for n, p in made.items()})
        detach_all(tiny_model.transformer)
    assert all(torch.equal(starts[0][n], starts[1][n]) for n in starts[0])


def test_layers_of_another_model_are_refused_with_their_number(tiny_model):
    foreign = {"blocks.0.attn.qkv": LoraLayer(torch.ones(1, 8), torch.ones(8, 1))}
    with (
        pytest.raises(EditError, match=r"no match for 1 of 1 layer of the edit.*blocks\.0\.attn"),
        attached(tiny_model.transformer, {"edit": foreign}),
    ):
        pass
    assert list(lora_layers(tiny_model.transformer)) == []


def test_a_layer_of_another_shape_is_refused(tiny_model):
    name = tiny_model.lora_targets("attention")[0]
    wrong = {name: LoraLayer(torch.ones(1, 9), torch.ones(64, 1))}
    with (
        pytest.raises(EditError, match=r"64 × 64.*64 × 9"),
        attached(tiny_model.transformer, {"edit": wrong}),
    ):
        pass


def test_a_rank_above_the_layers_width_is_refused(tiny_model):
    targets = tiny_model.lora_targets("attention")
    with pytest.raises(UsageError, match=r"rank is 65.*at most 64"):
        add_trainable(tiny_model.transformer, "semantic", targets, 65, torch.Generator())


def test_two_edits_cannot_be_attached_over_each_other(tiny_model):
    layers = _layers(tiny_model)
    with (
        attached(tiny_model.transformer, {"edit": layers}),
        pytest.raises(UsageError, match="already carries"),
        attached(tiny_model.transformer, {"other": layers}),
    ):
        pass


def test_targets_are_the_attention_linears_of_both_kinds_of_block(tiny_model):
    names = tiny_model.lora_targets("attention")
    double = {n for n in names if n.startswith("transformer_blocks.0.attn.")}
    single = {n for n in names if n.startswith("single_transformer_blocks.0.attn.")}
    assert len(double) == 8
    assert len(single) == 3
    assert double | single == set(names)
    assert set(names) < set(tiny_model.lora_targets("all"))
    assert all(isinstance(tiny_model.transformer.get_submodule(n), nn.Linear) for n in names)


def test_rows_of_one_batch_differ_on_layers_that_see_one_vector_per_picture(tiny_model):
    """Modulation layers, which LoRAs from elsewhere may adapt, have no token axis."""
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for name, module in tiny_model.transformer.named_modules():
        if isinstance(module, nn.Linear) and ("norm" in name or "time_text_embed" in name):
            layers[name] = LoraLayer(
                torch.randn(2, module.in_features, generator=generator) * 0.1,
                torch.randn(module.out_features, 2, generator=generator) * 0.1,
            )
    assert any("norm1_context" in name for name in layers)
    plain = _velocity(tiny_model, 1)
    with attached(tiny_model.transformer, {"e": layers}):
        edited = _velocity(tiny_model, 1)
        set_scales(tiny_model.transformer, {"e": torch.tensor([1.0, 0.0, 1.0])})
        rows = _velocity(tiny_model, 3)
    assert not torch.allclose(edited, plain, atol=1e-3)
    for row, alone in zip(rows, (edited, plain, edited), strict=True):
        assert torch.allclose(row, alone[0], atol=1e-4)


@pytest.mark.parametrize("targets", [[], ["transformer_blocks.0.attn.to_q"] * 2])
def test_targets_that_are_no_layers_of_their_own_are_refused(tiny_model, targets):
    with pytest.raises(
        EditError, match=r"LoRA matched \d of \d layers?\. .*lora\.targets=attention"
    ):
        add_trainable(tiny_model.transformer, "one", targets, 2, torch.Generator())
    detach_all(tiny_model.transformer)
