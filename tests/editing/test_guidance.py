"""Guidance that is asked for: classifier-free where words act, and a distilled one where it is
taken."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import FluxTransformer2DModel

from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.editing.generate import GenerateOptions, generate
from pairedit_sdk.editing.guidance import check_cfg
from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model

HAT = "add a hat"
SMALL = {"steps": 4, "n_max": 3, "threshold": 0.0, "n_avg": 2, "seed": 3}
DRAWN = {"steps": 2, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def x(model):
    return torch.randn(1, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def schnell(tiny_folder, tmp_path_factory):
    """A model of the same shape that takes no guidance."""
    folder = tmp_path_factory.mktemp("schnell") / "tiny"
    shutil.copytree(tiny_folder, folder)
    own = FluxTransformer2DModel.load_config(folder / "transformer")
    torch.manual_seed(1)
    transformer = FluxTransformer2DModel.from_config({**own, "guidance_embeds": False})
    shutil.rmtree(folder / "transformer")
    transformer.save_pretrained(folder / "transformer")
    return load_model(str(folder), device="cpu")


@pytest.fixture
def passes(model, monkeypatch):
    """Counts the passes through the model."""
    done = []
    velocity = type(model).velocity
    monkeypatch.setattr(
        type(model), "velocity", lambda self, *given: done.append(1) or velocity(self, *given)
    )
    return done


def _edit(model, *, words=(), guidance=2.5, sees=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for layer in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(layer).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.2
        layers[layer] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.2)
    known = {"base": model.name, "base_fingerprint": model.fingerprint}
    editor = EditorSettings(steps=4, n_avg=1, reference=sees)
    info = EditInfo(f"e{seed}", **known, guidance=guidance, editor=editor, words=list(words))
    return Edit(layers, info)


def _plainly(model, x, phrase, cfg, *, steps, n_max, n_avg, threshold, seed):
    """FlowEdit whose told side is guided against the empty prompt, written out."""
    assert threshold == 0
    told = replace(model.condition(phrase), references=(x,))
    untold = replace(model.condition(""), references=(x,))
    sigmas = model.sigmas(steps, 64, 64)
    z = x.clone()
    for i in range(steps - n_max, steps):
        change = torch.zeros_like(x)
        for k in range(n_avg):
            generator = torch.Generator().manual_seed((seed * 1000 + i) * 100 + k)
            noised = (1 - sigmas[i]) * x + sigmas[i] * torch.randn(x.shape, generator=generator)
            v, u = (model.velocity(noised + z - x, sigmas[i], one, 2.5) for one in (told, untold))
            plain = model.velocity(noised, sigmas[i], untold, 2.5)
            change += (u + cfg * (v - u) - plain) / n_avg
        z = z + (sigmas[i + 1] - sigmas[i]) * change
    return z


def test_the_told_side_of_an_instruction_is_guided(model, x):
    with torch.no_grad():
        expected = _plainly(model, x, HAT, 3.0, **SMALL)
    found = edit_latents(model, x, Instruction(HAT), cfg=3.0, **SMALL)
    assert torch.allclose(found, expected, atol=1e-4)
    plain = edit_latents(model, x, Instruction(HAT), **SMALL)
    assert not torch.allclose(found, plain, atol=1e-2)


def test_at_1_it_is_off_and_costs_nothing(model, x, passes):
    plain = edit_latents(model, x, Instruction(HAT), **SMALL)
    assert len(passes) == 2 * 3
    assert torch.equal(edit_latents(model, x, Instruction(HAT), cfg=1, **SMALL), plain)
    assert len(passes) == 4 * 3
    edit_latents(model, x, Instruction(HAT), cfg=2, **SMALL)
    assert len(passes) == 7 * 3


@pytest.mark.parametrize("mode", ["guided", "merged", "sequential"])
def test_loras_beside_words_are_not_guided(model, x, mode):
    both = _edit(model) @ 0.5 + Instruction(HAT) @ 0.7
    options = {**SMALL, "mode": mode}
    found = edit_latents(model, x, both, cfg=3.0, **options)
    lora = edit_latents(model, x, _edit(model) @ 0.5, **options)
    if mode == "sequential":
        expected = edit_latents(model, lora, Instruction(HAT) @ 0.7, cfg=3.0, **options)
    else:
        told = edit_latents(model, x, Instruction(HAT) @ 0.7, cfg=3.0, **options)
        expected = lora + told - x
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_change_stays_linear_in_the_scale(model, x):
    one, half = sweep_latents(model, x, Instruction(HAT), [1, 0.5], cfg=3.0, **SMALL)
    assert torch.allclose(half - x, (one - x) / 2, atol=1e-6)


@pytest.mark.parametrize("given", [{}, {"words": False}, {"method": "from-noise"}])
def test_without_words_it_is_refused_and_nothing_runs(model, x, passes, given):
    edit = _edit(model, words=[EditWords(HAT)] if given else [EditWords(HAT, 0.0)])
    with pytest.raises(
        UsageError, match=r"cfg 2 would change nothing.*(without words|uses no inst)"
    ):
        edit_latents(model, x, edit, cfg=2, **given)
    with pytest.raises(UsageError, match="cfg 2 would change nothing"):
        edit_images(model, [], edit, cfg=2, **given)
    assert passes == []
    if not given:
        # A slider that is at 0 is no mistake.
        silent = edit @ 0 + Instruction(HAT) @ 0
        assert torch.equal(edit_latents(model, x, silent, cfg=2), x)


@pytest.mark.parametrize("wrong", [0.5, 0, -1, float("nan"), float("inf"), "4", None])
@pytest.mark.parametrize("kind", [EditOptions, GenerateOptions])
def test_a_scale_is_a_number_of_at_least_1(kind, wrong):
    with pytest.raises(UsageError, match=r"cfg is .*a number of at least 1"):
        kind(cfg=wrong)


def test_a_picture_says_its_scale(model, face_pairs):
    face = face_pairs({"hat": "beanie"}, 1)[0].before.resize((64, 64))
    for cfg, known in ((2, {"cfg": 2.0}), (1, {})):
        (edited,) = edit_images(model, [face], Instruction(HAT), cfg=cfg, **SMALL)
        made = edited.photo.made
        assert {key: made[key] for key in ("cfg",) if key in made} == known


def test_a_drawn_picture_is_guided_with_its_edits(model):
    edit = _edit(model, sees=False)
    pictures = [
        generate(model, "an old person", edit, cfg=cfg, negative_prompt=negative, **DRAWN)
        for cfg, negative in ((1, ""), (4, ""), (4, "a person with a hat"))
    ]
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_what_would_change_nothing_is_refused_in_generate(model, passes):
    with pytest.raises(UsageError, match="A negative prompt acts with classifier-free guidance"):
        generate(model, "a person", negative_prompt="a hat", **DRAWN)
    for prompt in ("", "a hat"):
        with pytest.raises(UsageError, match="cfg 4 would change nothing: the prompt and the"):
            generate(model, prompt, cfg=4, negative_prompt=prompt, **DRAWN)
    assert passes == []


def test_a_distilled_guidance_is_refused_by_a_model_that_takes_none(schnell, model, face_pairs):
    assert (schnell.takes_guidance, schnell.default_guidance) == (False, 0.0)
    x = torch.zeros(1, *schnell.latent_shape(64, 64))
    edit = _edit(schnell, sees=False)
    said = "takes no distilled guidance.*Got guidance 3.5.*Leave it out"
    for call in (
        lambda: generate(schnell, "a person", guidance=3.5, **DRAWN),
        lambda: edit_latents(schnell, x, edit, guidance=3.5),
        lambda: edit_images(schnell, [], edit, guidance=3.5),
    ):
        with pytest.raises(UsageError, match=said):
            call()
    plain = generate(schnell, "a person", **DRAWN)
    assert generate(schnell, "a person", guidance=0, **DRAWN).tobytes() == plain.tobytes()


def test_the_way_out_of_it_depends_on_the_model(schnell, monkeypatch):
    with pytest.raises(UsageError) as distilled:
        generate(schnell, "a person", guidance=3.5, **DRAWN)
    assert "--cfg" not in str(distilled.value)
    monkeypatch.setattr(schnell, "is_distilled", False)
    with pytest.raises(UsageError, match=r"classifier-free guidance \(cfg=…, --cfg\)"):
        generate(schnell, "a person", guidance=3.5, **DRAWN)


def test_what_edits_say_is_nothing_to_a_model_that_takes_none(schnell):
    x = torch.randn(1, *schnell.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))
    one, two = (_edit(schnell, guidance=g, sees=False, seed=k) for k, g in enumerate((3.5, 4.0)))
    found = edit_latents(schnell, x, one + two, **SMALL)
    same = edit_latents(schnell, x, one + two.with_info(guidance=3.5), **SMALL)
    assert torch.equal(found, same)
    resolved = EditOptions().resolved(one + two)
    assert resolved.guidance_of(one + two, schnell) == 0


def test_classifier_free_guidance_on_a_distilled_model_is_warned_of_once(
    schnell, tiny_model, caplog
):
    assert (schnell.is_distilled, tiny_model.is_distilled) == (True, False)
    with caplog.at_level(logging.WARNING, logger="pairedit_sdk"):
        generate(tiny_model, "a person", cfg=2, **DRAWN)
        assert caplog.records == []
        for _ in range(2):
            generate(schnell, "a person", cfg=2, **DRAWN)
    (record,) = caplog.records
    assert "distilled to do without classifier-free guidance, and cfg 2 is not" in record.message


@pytest.mark.parametrize("method", ["from-noise", "rf-inversion"])
def test_a_method_without_words_is_named_as_the_reason(method):
    plain = Edit({"layer": LoraLayer(torch.ones(1, 4), torch.ones(4, 1))}, EditInfo("plain")) @ 1
    for stack in (Instruction(HAT) @ 1, plain):
        with pytest.raises(UsageError, match=f"the method {method} uses no instructions"):
            check_cfg(stack, EditOptions(cfg=2.0, method=method))
    with pytest.raises(UsageError, match="these edits act without words"):
        check_cfg(plain, EditOptions(cfg=2.0))
    check_cfg(Instruction(HAT) @ 1, EditOptions(cfg=2.0))
