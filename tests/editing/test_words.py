"""Editing by words: instructions alone, beside LoRAs, and where they cannot act."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from pairedit_sdk.builtin.faces.example_pairs import example_faces
from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings, EditStack
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.errors import PairEditError, UsageError
from pairedit_sdk.flow.solvers import damped
from pairedit_sdk.images.inputs import as_photo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model

SMALL: dict[str, Any] = {"steps": 4, "n_max": 3, "threshold": 0.0}
GLASSES = "add round glasses"


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def x(model):
    return torch.randn(2, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return example_faces("glasses", 1)[0][0].draw(64)


def _edit(model, seed=0, *, name="e", words: Sequence[EditWords] = (), sees=True) -> Edit:
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for layer in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(layer).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.2
        layers[layer] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.2)
    info = EditInfo(
        name,
        base=model.name,
        base_fingerprint=model.fingerprint,
        guidance=2.0,
        editor=EditorSettings(steps=4, n_avg=2, reference=sees),
        words=list(words),
    )
    return Edit(layers, info)


def _plainly(model, x, phrase, *, steps, n_max, n_avg, threshold, guidance, seed):
    """FlowEdit from the empty prompt to a phrase, written out for one picture [1, C, h, w]."""
    told = replace(model.condition(phrase), references=(x,))
    untold = replace(model.condition(""), references=(x,))
    sigmas = model.sigmas(steps, 64, 64)
    z = x.clone()
    for i in range(steps - n_max, steps):
        change = torch.zeros_like(x)
        for k in range(n_avg):
            generator = torch.Generator().manual_seed((seed * 1000 + i) * 100 + k)
            noised = (1 - sigmas[i]) * x + sigmas[i] * torch.randn(x.shape, generator=generator)
            edited = model.velocity(noised + z - x, sigmas[i], told, guidance)
            change += (edited - model.velocity(noised, sigmas[i], untold, guidance)) / n_avg
        z = z + (sigmas[i + 1] - sigmas[i]) * change
    return x + damped(z - x, threshold)


def test_it_is_flowedit_from_the_empty_prompt_to_the_phrase(model, x):
    settings: dict[str, Any] = {"steps": 5, "n_max": 4, "n_avg": 2, "threshold": 0.15}
    with torch.no_grad():
        expected = _plainly(model, x[:1], GLASSES, guidance=2.5, seed=3, **settings)
    found = edit_latents(model, x[:1], Instruction(GLASSES), seed=3)
    assert not torch.allclose(expected, x[:1], atol=1e-2)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["guided", "merged", "sequential"])
def test_at_zero_nothing_changes(model, x, mode):
    for edits in (Instruction(GLASSES) @ 0, Instruction(GLASSES) @ 1 + Instruction(GLASSES) @ -1):
        if mode != "sequential" or edits.is_zero:
            assert torch.equal(edit_latents(model, x, edits, mode=mode, **SMALL), x)
    assert torch.equal(sweep_latents(model, x, Instruction(GLASSES), [0], mode=mode, **SMALL)[0], x)


def test_the_change_is_linear_in_the_scale(model, x):
    one, half, back = sweep_latents(model, x, Instruction(GLASSES), [1, 0.5, -1], **SMALL)
    assert torch.allclose(half - x, (one - x) / 2, atol=1e-6)
    assert torch.allclose(back - x, x - one, atol=1e-6)
    assert torch.equal(edit_latents(model, x, Instruction(GLASSES) @ 0.5, **SMALL), half)


def test_it_is_run_once_for_a_sweep_and_for_a_phrase(model, x, monkeypatch):
    rows = []
    velocity = type(model).velocity

    def counted(self, states, *rest):
        rows.append(len(states))
        return velocity(self, states, *rest)

    monkeypatch.setattr(type(model), "velocity", counted)
    sweep_latents(model, x, Instruction(GLASSES), [0.5, 1, 1.5], n_avg=1, **SMALL)
    assert rows == [2] * 2 * 3
    rows.clear()
    twice = Instruction(GLASSES) @ 0.25 + Instruction(GLASSES) @ 0.5
    found = edit_latents(model, x, twice, n_avg=1, **SMALL)
    assert rows == [2] * 2 * 3
    once = edit_latents(model, x, Instruction(GLASSES) @ 0.75, n_avg=1, **SMALL)
    assert torch.equal(found, once)


@pytest.mark.parametrize("sees", [True, False])
def test_words_and_loras_add_in_any_order(model, x, sees):
    parts = [Instruction(GLASSES) @ 1.2, Instruction("add a hat") @ 0.5]
    parts += [_edit(model, 0, sees=sees) @ 0.6, _edit(model, 1) @ -0.3]
    settings = {**SMALL, "n_avg": 2, "guidance": 2.0}
    expected = x + sum(edit_latents(model, x, part, **settings) - x for part in parts)
    for order in itertools.islice(itertools.permutations(parts), 0, None, 7):
        stack = EditStack([part for stack in order for part in stack.parts])
        assert torch.allclose(edit_latents(model, x, stack, **settings), expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["guided", "merged", "sequential"])
def test_an_edit_that_carries_words_acts_with_both(model, x, mode):
    plain = _edit(model)
    both = _edit(model, words=[EditWords(GLASSES, 0.6)])
    lora = edit_latents(model, x, plain @ 0.5, mode=mode, **SMALL)
    told = edit_latents(model, x, Instruction(GLASSES) @ 0.3, n_avg=2, guidance=2.0, **SMALL)
    found = edit_latents(model, x, both @ 0.5, mode=mode, **SMALL)
    assert torch.allclose(found, lora + told - x, atol=1e-5)
    # Without words, and where they only describe, it is bit for bit the LoRA's.
    described = _edit(model, words=[EditWords(GLASSES, 0.0)])
    for edit, words in ((both, False), (described, True)):
        same = edit_latents(model, x, edit @ 0.5, mode=mode, words=words, **SMALL)
        assert torch.equal(same, lora)


def test_merged_edits_are_one_lora_and_their_words_are_added(model, x):
    stack = _edit(model, 0, words=[EditWords(GLASSES)]) @ 0.5 + _edit(model, 1) @ 0.4
    stack = stack + Instruction("add a hat") @ 0.7
    settings = {**SMALL, "n_avg": 2}
    loras = edit_latents(model, x, stack, mode="merged", words=False, **settings)
    told = edit_latents(
        model, x, Instruction(GLASSES) @ 0.5 + Instruction("add a hat") @ 0.7, guidance=2.0,
        **settings,
    )  # fmt: skip
    found = edit_latents(model, x, stack, mode="merged", **settings)
    assert torch.allclose(found, loras + told - x, atol=1e-4)


def test_pictures_edited_together_come_out_as_alone(model, x):
    resolved = EditOptions(**SMALL).resolved(Instruction(GLASSES) @ 1)
    options = replace(resolved, same_noise=True)
    together = edit_latents(model, x, Instruction(GLASSES), options)
    for k in range(len(x)):
        alone = edit_latents(model, x[k : k + 1], Instruction(GLASSES), options)
        assert torch.allclose(together[k : k + 1], alone, atol=1e-5)


def test_progress_ends_at_the_whole(model, x):
    told: list[tuple[int, int]] = []
    stack = _edit(model) @ 1 + Instruction(GLASSES) @ 1
    edit_latents(model, x, stack, on_step=lambda *done: told.append(done), **SMALL)
    shares = [done / total for done, total in told]
    assert shares == sorted(set(shares))
    assert shares[-1] == 1


def test_a_model_that_takes_no_references_is_refused(tiny_model, picture):
    x = torch.zeros(1, *tiny_model.latent_shape(64, 64))
    said = r"cannot follow the instruction 'add round glasses'.*mini-kontext.*--no-words"
    with pytest.raises(UsageError, match=said):
        edit_latents(tiny_model, x, Instruction(GLASSES), **SMALL)
    with pytest.raises(UsageError, match=said):
        edit_images(tiny_model, [picture], Instruction(GLASSES))


@pytest.mark.parametrize("method", ["rf-inversion", "inversion-lora"])
def test_other_methods_have_no_words(model, x, method, caplog):
    with pytest.raises(UsageError, match=rf"'add a cap' cannot be used with the method {method}"):
        edit_latents(model, x, _edit(model) + Instruction("add a cap"), method=method)
    with pytest.raises(UsageError, match="'add a cap' cannot be used"):
        edit_latents(model, x, Instruction("add a cap") @ 0.5, method=method)
    # At scale 0 it says nothing, and is refused nowhere.
    assert torch.equal(edit_latents(model, x, Instruction("add a cap") @ 0, method=method), x)
    if method == "inversion-lora":
        return
    edit = _edit(model, words=[EditWords(f"add {method}")])
    with caplog.at_level(logging.WARNING):
        found = [edit_latents(model, x, edit, method=method, steps=2) for _ in range(2)]
    assert [r.message for r in caplog.records] == [
        f"With the method {method} these instructions of edits are left out: add {method}."
    ]
    assert torch.equal(found[0], edit_latents(model, x, _edit(model), method=method, steps=2))
    silent = edit @ 1 + Instruction("add a cap") @ 0
    assert torch.equal(found[0], edit_latents(model, x, silent, method=method, steps=2))


def test_a_drawn_picture_takes_its_words_from_the_prompt(model, caplog):
    with pytest.raises(UsageError, match=r"cannot be used with generate.*in the prompt"):
        generate(model, "", Instruction(GLASSES), steps=2)
    small: dict[str, Any] = {"steps": 2, "width": 64, "height": 64}
    silent = generate(model, "", Instruction(GLASSES) @ 0, **small)
    assert silent.tobytes() == generate(model, "", **small).tobytes()
    plain = _edit(model, words=[EditWords("add a bow")], sees=False)
    with caplog.at_level(logging.WARNING):
        generate(model, "", plain, steps=2, width=64, height=64)
    assert "these instructions of edits are left out: add a bow" in caplog.text


def test_an_instruction_without_words_says_that_it_does_nothing(model, x, caplog):
    with caplog.at_level(logging.WARNING):
        found = edit_latents(model, x, Instruction("add a scarf"), words=False, **SMALL)
    assert torch.equal(found, x)
    assert "Edit add a scarf does nothing" in caplog.text


@pytest.mark.parametrize("method", ["from-noise", "rf-inversion", "inversion-lora"])
@pytest.mark.parametrize("mode", ["merged", "sequential"])
def test_without_words_an_instruction_is_no_part_of_any_method(model, x, method, mode):
    settings: dict[str, Any] = {"method": method, "mode": mode, "words": False, "steps": 3}
    alone = edit_latents(model, x, Instruction("add a veil") @ 0.7, **settings)
    assert torch.equal(alone, x)
    for found in sweep_latents(model, x, Instruction("add a veil"), [0.5, 1], **settings):
        assert torch.equal(found, x)
    if method != "inversion-lora":  # its 1,500 steps are no part of this
        both = edit_latents(model, x, _edit(model) + Instruction("add a veil"), **settings)
        assert torch.equal(both, edit_latents(model, x, _edit(model), **settings))


def test_instructions_have_no_scale_limit(model, x):
    with pytest.raises(PairEditError, match="Instructions have no scale limit"):
        edit_latents(model, x, Instruction(GLASSES), limit_scale=True)


def test_a_picture_says_which_words_made_it(model, picture):
    edits = Instruction(GLASSES) @ 0.5 + _edit(model, words=[EditWords(GLASSES, 0.5)]) @ 0.5
    (edited,) = edit_images(model, [picture], edits, resolution=64, guidance=2.0, **SMALL)
    made = edited.photo.made
    assert made["words"] == [{"phrase": GLASSES, "scale": 0.75}]
    assert made["edits"][0] == {"name": GLASSES, "scale": 0.5}
    (edited,) = edit_images(model, [picture], edits, resolution=64, words=False, **SMALL)
    assert "words" not in edited.photo.made


def test_at_zero_a_picture_is_the_original(model, picture):
    found = edit_image(model, picture, Instruction(GLASSES) @ 0, **SMALL)
    assert (as_photo(found).pixels == as_photo(picture).pixels).all()
