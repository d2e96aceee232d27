"""Edits on the model that they were learned on, and on its siblings."""

from __future__ import annotations

import logging

import pytest
import torch

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits import learned_on
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.families import are_siblings
from pairedit_sdk.models.families.flux1 import Flux1
from pairedit_sdk.models.loading import load_model

SMALL = {"steps": 2, "n_max": 2, "n_avg": 1, "threshold": 0.0}


@pytest.fixture(autouse=True)
def _unsaid(monkeypatch):
    """Nothing has been said of any edit yet."""
    monkeypatch.setattr(learned_on, "_noted", set())


@pytest.fixture
def siblings(monkeypatch):
    monkeypatch.setattr(Flux1, "siblings", (frozenset({"flux-1-mini", "flux-1-mini-base"}),))


def _layers(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name in model.lora_targets("attention"):
        module = model.transformer.get_submodule(name)
        down = torch.randn(2, module.in_features, generator=generator)
        layers[name] = LoraLayer(
            down * 0.2, torch.randn(module.out_features, 2, generator=generator)
        )
    return layers


def _of_base(model, name="far", seed=0, **info):
    """An edit of the model that the tiny one is said to be distilled from."""
    known = {"base": "base", "architecture": "flux-1-mini-base", "base_fingerprint": "0123"}
    return Edit(_layers(model, seed), EditInfo(name, **{**known, **info}))


def _own(model, name="own", seed=1):
    return _of_base(
        model, name, seed, base=model.name, architecture=model.architecture,
        base_fingerprint=model.fingerprint,
    )  # fmt: skip


@pytest.mark.usefixtures("siblings")
def test_siblings_are_those_that_a_family_declares():
    assert are_siblings("flux-1-mini", "flux-1-mini-base")
    assert are_siblings("flux-1-mini-base", "flux-1-mini")
    assert not are_siblings("flux-1-mini", "flux-1-dev")


def test_nobody_has_siblings_that_are_not_declared():
    assert not are_siblings("flux-1-dev", "flux-1-schnell")
    assert not are_siblings("flux-1-mini", "flux-1-mini-kontext")
    assert not are_siblings("flux-1-dev", "flux-1-dev")


@pytest.mark.usefixtures("siblings")
def test_an_edit_acts_on_a_sibling_as_one_of_its_own_and_says_so_once(tiny_model, caplog):
    far, own = _of_base(tiny_model), _own(tiny_model, seed=0)
    x = torch.randn(1, *tiny_model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    with caplog.at_level(logging.WARNING, logger="pairedit_sdk"):
        for _ in range(2):
            found = edit_latents(tiny_model, x, far @ 0.5, **SMALL)
    assert torch.equal(found, edit_latents(tiny_model, x, own @ 0.5, **SMALL))
    assert [record.message for record in caplog.records] == [
        f"Edit far was learned on base, and is used on its sibling {tiny_model.name}. The scale "
        "that suits it may be another one there."
    ]
    size = {"steps": 2, "width": 64, "height": 64}
    drawn = [generate(tiny_model, "a person", edit, **size).tobytes() for edit in (far, own)]
    assert drawn[0] == drawn[1]


def test_without_a_declaration_it_is_refused(tiny_model):
    with pytest.raises(EditError, match=r"learned on another model.*base \(0123\)"):
        _of_base(tiny_model).require_base(tiny_model)


@pytest.mark.usefixtures("siblings")
def test_what_is_no_sibling_is_refused(tiny_model):
    for architecture in ("flux-1-dev", ""):
        edit = _of_base(tiny_model, architecture=architecture)
        with pytest.raises(EditError, match="learned on another model"):
            edit.require_base(tiny_model)
    with pytest.raises(EditError, match="learned on another model"):
        _of_base(tiny_model).require_base(tiny_model, siblings=False)
    _own(tiny_model).require_base(tiny_model, siblings=False)


@pytest.mark.usefixtures("siblings")
def test_every_layer_must_fit(tiny_model, caplog):
    layers = _layers(tiny_model)
    name, layer = next(iter(layers.items()))
    info = _of_base(tiny_model).info
    wide = {**layers, name: LoraLayer(layer.down, torch.cat([layer.up, layer.up]))}
    with pytest.raises(EditError, match=rf"Layer {name} of the edit has another shape"):
        Edit(wide, info).require_base(tiny_model)
    more = {**layers, "transformer_blocks.99.attn.to_q": layer}
    with pytest.raises(EditError, match=r"no match for 1 of .* transformer_blocks\.99"):
        Edit(more, info).require_base(tiny_model)
    assert caplog.records == []


def test_siblings_are_merged_as_the_first_ones(tiny_model, siblings, monkeypatch):
    far, own = _of_base(tiny_model), _own(tiny_model)
    x = torch.randn(1, *tiny_model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    both = (far @ 0.5 + own @ 0.5).merged("both")
    assert (both.info.base, both.info.base_fingerprint) == ("base", "0123")
    assert both.info.architecture == "flux-1-mini-base"
    found = edit_latents(tiny_model, x, both, **SMALL)
    same = edit_latents(tiny_model, x, far @ 0.5 + own @ 0.5, mode="merged", **SMALL)
    assert torch.allclose(found, same, atol=1e-5)
    assert (own + far).merged("both").info.base == tiny_model.name
    monkeypatch.setattr(Flux1, "siblings", ())
    with pytest.raises(EditError, match="mixes edits of different models"):
        (far + own).merged("both")


@pytest.mark.parametrize(
    ("base", "distilled"), [("klein", "klein-distilled"), ("z-image", "z-image-turbo")]
)
def test_edits_of_a_base_model_work_on_what_was_distilled_from_it(
    base, distilled, tiny_family, caplog
):
    models = [load_model(str(tiny_family(name)), precision="fp32") for name in (base, distilled)]
    known = {"base": "its-base", "architecture": models[0].architecture, "base_fingerprint": "0123"}
    edit = Edit(_layers(models[0]), EditInfo("e", **known, guidance=0.0))
    x = torch.randn(1, *models[1].latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    with caplog.at_level(logging.WARNING, logger="pairedit_sdk"):
        found = edit_latents(models[1], x, edit, **SMALL)
    assert not torch.allclose(found, x, atol=1e-3)
    assert [models[k].is_distilled for k in (0, 1)] == [False, True]
    assert f"its-base, and is used on its sibling {models[1].name}" in caplog.text


@pytest.mark.parametrize(
    ("infos", "told", "model"),
    [
        ([], False, ("mini", "auto")),
        ([], True, ("mini-kontext", "auto")),
        ([EditInfo("a"), EditInfo("b", base="far/away", precision="nf4")], True,
         ("far/away", "nf4")),
        ([EditInfo("a", editor=EditorSettings(reference=True), precision="bf16")], False,
         ("mini-kontext", "auto")),
    ],
)  # fmt: skip
def test_the_model_of_edits_where_none_is_named(infos, told, model):
    assert learned_on.own_model(infos, told=told) == model
