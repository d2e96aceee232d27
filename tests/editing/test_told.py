"""Editing by a change that is shown, alone and beside LoRAs and instructions."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from pairedit_sdk.builtin.faces.example_pairs import example_faces
from pairedit_sdk.editing.draft import DraftEditor
from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.editing.kept import Kept, TensorStore
from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings, EditStack
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.edits.shown import ShownChange
from pairedit_sdk.errors import EditError, PairEditError, UsageError
from pairedit_sdk.flow.schedule import starting_noise
from pairedit_sdk.flow.solvers import damped
from pairedit_sdk.images.inputs import as_photo
from pairedit_sdk.lora.adapters import attached, is_bare
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.models.protocol import told

SMALL: dict[str, Any] = {"steps": 4, "n_max": 3, "n_avg": 2, "threshold": 0.0}


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def x(model):
    return torch.randn(2, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return example_faces("glasses", 1)[0][0].draw(64)


def _layers(model, seed=0) -> dict[str, LoraLayer]:
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for layer in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(layer).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.2
        layers[layer] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.2)
    return layers


def _edit(model, seed=0, *, sees=True) -> Edit:
    info = EditInfo(
        "e",
        base=model.name,
        base_fingerprint=model.fingerprint,
        guidance=2.5,
        editor=EditorSettings(steps=4, n_avg=2, reference=sees),
    )
    return Edit(_layers(model, seed), info)


def _shown(model, seed=7, *, pictures=2, lora=True, tokens=True) -> ShownChange:
    """A random change with all that one can have; its pictures are of another size than x."""
    generator = torch.Generator().manual_seed(seed)
    said = model.condition("")
    shape = model.latent_shape(96, 80)
    return ShownChange(
        f"s{seed}",
        _layers(model, seed) if lora else {},
        tokens=torch.randn(1, 3, said.prompt_embeds.shape[-1], generator=generator)
        if tokens
        else None,
        pooled=torch.randn(said.extras["pooled"].shape, generator=generator) if tokens else None,
        references=tuple(torch.randn(1, *shape, generator=generator) for _ in range(pictures)),
        info=EditInfo("", base=model.name, base_fingerprint=model.fingerprint, guidance=2.5),
    )


def _plainly(model, x, change, *, steps, n_max, n_avg, threshold, seed):
    """FlowEdit from the empty prompt to what is shown, written out for one picture."""
    empty = model.condition("")
    shown = replace(told(empty, change.tokens, change.pooled), references=(x, *change.references))
    sigmas = model.sigmas(steps, 64, 64)
    z = x.clone()
    for i in range(steps - n_max, steps):
        total = torch.zeros_like(x)
        for k in range(n_avg):
            generator = torch.Generator().manual_seed((seed * 1000 + i) * 100 + k)
            noised = (1 - sigmas[i]) * x + sigmas[i] * torch.randn(x.shape, generator=generator)
            with attached(model.transformer, {"own": change.mix} if change.mix else {}):
                edited = model.velocity(noised + z - x, sigmas[i], shown, 2.5)
            plain = model.velocity(noised, sigmas[i], replace(empty, references=(x,)), 2.5)
            total += (edited - plain) / n_avg
        z = z + (sigmas[i + 1] - sigmas[i]) * total
    return x + damped(z - x, threshold)


@pytest.mark.parametrize(
    "given",
    [{}, {"pictures": 0}, {"lora": False}, {"pictures": 0, "tokens": False}, {"tokens": False}],
    ids=["all", "alone", "no-lora", "lora-alone", "no-tokens"],
)
def test_it_is_flowedit_from_the_empty_prompt_to_what_is_shown(model, x, given):
    settings: dict[str, Any] = {"steps": 5, "n_max": 5, "n_avg": 2, "threshold": 0.15}
    change = _shown(model, **given)
    with torch.no_grad():
        expected = _plainly(model, x[:1], change, seed=3, **settings)
    found = edit_latents(model, x[:1], change, seed=3)
    assert not torch.allclose(expected, x[:1], atol=1e-2)
    assert torch.allclose(found, expected, atol=1e-4)
    assert is_bare(model.transformer)


def test_it_runs_all_steps_unless_fewer_are_asked_for_and_instructions_run_theirs(model, x):
    change, settings = _shown(model), {**SMALL, "steps": 7}
    del settings["n_max"]
    found = edit_latents(model, x, change, **settings)
    assert torch.equal(found, edit_latents(model, x, change, **settings, n_max=7))
    assert not torch.allclose(found, edit_latents(model, x, change, **settings, n_max=6))
    words = edit_latents(model, x, Instruction("add a hat"), **settings)
    assert torch.equal(words, edit_latents(model, x, Instruction("add a hat"), n_max=6, **settings))
    both = edit_latents(model, x, change + Instruction("add a hat"), **settings)
    assert torch.allclose(both, found + words - x, atol=1e-4)


def test_progress_ends_at_the_whole(model, x):
    done: list[float] = []
    stack = _edit(model) + _shown(model) + Instruction("add a hat")
    edit_latents(model, x, stack, on_step=lambda k, total: done.append(k / total), **SMALL)
    assert done == sorted(set(done))
    assert done[-1] == 1


def test_a_lora_alone_is_the_edit_that_sees_its_picture(model, x):
    change = _shown(model, pictures=0, tokens=False)
    same = Edit(change.mix, change.info)
    found = [edit_latents(model, x, edits, **SMALL) for edits in (change, same)]
    assert torch.allclose(*found, atol=1e-4)


@pytest.mark.parametrize("mode", ["guided", "merged", "sequential"])
def test_at_zero_nothing_changes(model, x, mode):
    change = _shown(model)
    assert torch.equal(edit_latents(model, x, change @ 0, mode=mode, **SMALL), x)
    assert torch.equal(sweep_latents(model, x, change, [0], mode=mode, **SMALL)[0], x)
    both = _edit(model) @ 0.5 + change @ 0
    alone = edit_latents(model, x, _edit(model) @ 0.5, mode=mode, **SMALL)
    assert torch.equal(edit_latents(model, x, both, mode=mode, **SMALL), alone)


def test_at_zero_a_picture_is_the_original(model, picture):
    found = edit_image(model, picture, _shown(model) @ 0, **SMALL)
    assert (as_photo(found).pixels == as_photo(picture).pixels).all()


def test_the_change_is_linear_in_the_scale_and_made_once(model, x, monkeypatch):
    rows = []
    velocity = type(model).velocity

    def counted(self, states, *rest):
        rows.append(len(states))
        return velocity(self, states, *rest)

    monkeypatch.setattr(type(model), "velocity", counted)
    one, half, back = sweep_latents(model, x, _shown(model), [1, 0.5, -1], **SMALL)
    assert rows == [2 * 2] * 2 * 3
    assert torch.allclose(half - x, (one - x) / 2, atol=1e-6)
    assert torch.allclose(back - x, x - one, atol=1e-6)


def test_the_model_sees_the_picture_and_then_a_and_a_prime(model, x, monkeypatch):
    seen = []
    velocity = type(model).velocity

    def noted(self, states, sigma, condition, *rest):
        seen.append(condition.references)
        return velocity(self, states, sigma, condition, *rest)

    monkeypatch.setattr(type(model), "velocity", noted)
    change = _shown(model)
    edit_latents(model, x[:1], change, steps=2, n_max=1, n_avg=1)
    edit_latents(model, x[:1], change, method="from-noise", steps=1)
    assert [len(pictures) for pictures in seen] == [3, 1, 3]
    for pictures in (seen[0], seen[2]):
        for one, wanted in zip(pictures, (x[:1], *change.references), strict=True):
            assert torch.equal(one, wanted)
    assert torch.equal(seen[1][0], x[:1])


@pytest.mark.parametrize("mode", ["guided", "merged"])
def test_edits_words_and_shown_changes_add_in_any_order(model, x, mode):
    loras = [_edit(model, 0) @ 0.6, _edit(model, 1) @ -0.3]
    others = [_shown(model) @ 0.8, _shown(model, 8) @ 0.5, Instruction("add a hat") @ 0.5]
    settings = {**SMALL, "mode": mode}
    summed = edit_latents(model, x, loras[0] + loras[1], **settings)
    expected = summed + sum(edit_latents(model, x, part, **settings) - x for part in others)
    for order in itertools.islice(itertools.permutations([*loras, *others]), 0, None, 29):
        stack = EditStack([part for stack in order for part in stack.parts])
        assert torch.allclose(edit_latents(model, x, stack, **settings), expected, atol=1e-4)


def test_one_after_the_other_each_changes_what_the_last_one_made(model, x):
    stack = _edit(model) @ 0.5 + _shown(model) @ 0.7
    found = edit_latents(model, x, stack, mode="sequential", **SMALL)
    first = edit_latents(model, x, _edit(model) @ 0.5, **SMALL)
    assert torch.allclose(found, edit_latents(model, first, _shown(model) @ 0.7, **SMALL))


def test_without_words_it_acts_all_the_same(model, x):
    stack = _shown(model) + Instruction("add a hat")
    found = edit_latents(model, x, stack, words=False, **SMALL)
    assert torch.equal(found, edit_latents(model, x, _shown(model), **SMALL))


def test_pictures_edited_together_come_out_as_alone(model, x):
    change = _shown(model)
    options = replace(EditOptions(**SMALL).resolved(change @ 1), same_noise=True)
    together = edit_latents(model, x, change, options)
    for k in range(len(x)):
        alone = edit_latents(model, x[k : k + 1], change, options)
        assert torch.allclose(together[k : k + 1], alone, atol=1e-5)


def test_what_is_kept_tells_two_changes_apart(model, x):
    kept = Kept(TensorStore(2**24))
    changes = [_shown(model, 7), _shown(model, 8)]
    plain = [sweep_latents(model, x, change, [0.5], **SMALL)[0] for change in changes]
    for _ in range(2):
        for change, wanted in zip(changes, plain, strict=True):
            (found,) = sweep_latents(model, x, change, [0.5], kept=kept, **SMALL)
            assert torch.allclose(found, wanted, atol=1e-5)


def test_another_scale_of_a_draft_costs_nothing(model, picture):
    editor, steps = DraftEditor(model, picture), []
    change = _shown(model)
    editor.edit(change @ 1, on_step=lambda *done: steps.append(done), **SMALL)
    assert len(steps) == 3
    found = editor.edit(change @ 0.5, on_step=lambda *done: steps.append(done), **SMALL)
    assert len(steps) == 3
    fresh = DraftEditor(model, picture).edit(change @ 0.5, **SMALL)
    assert found.tobytes() == fresh.tobytes()


def test_an_exception_leaves_the_model_bare(model, x):
    wanted = edit_latents(model, x, _shown(model), **SMALL)
    plain = model.velocity(x, torch.tensor(0.5), model.condition(""), 2.5)

    def stop(done, total):
        raise RuntimeError("enough")

    for settings in (SMALL, {"method": "from-noise", "steps": 2}):
        with pytest.raises(RuntimeError, match="enough"):
            edit_latents(model, x, _shown(model), on_step=stop, **settings)
        assert is_bare(model.transformer)
    after = model.velocity(x, torch.tensor(0.5), model.condition(""), 2.5)
    assert torch.equal(after, plain)
    assert torch.equal(edit_latents(model, x, _shown(model), **SMALL), wanted)


def test_drawn_from_noise_alone_it_is_what_the_model_draws_when_it_is_shown(model, x):
    change = _shown(model)
    shown = replace(
        told(model.condition(""), change.tokens, change.pooled),
        references=(x[:1], *change.references),
    )
    z = starting_noise((1, *x.shape[1:]), 4, model.dtype)
    sigmas = model.sigmas(3, 64, 64)
    with torch.no_grad(), attached(model.transformer, {"own": change.mix}):
        for now, after in itertools.pairwise(sigmas):
            z = z + (after - now) * model.velocity(z, now, shown, 2.5)
    found = edit_latents(model, x[:1], change, method="from-noise", steps=3, seed=4)
    assert torch.allclose(found, z, atol=1e-4)
    assert is_bare(model.transformer)


@pytest.mark.parametrize("mode", ["merged", "guided"])
def test_one_step_from_noise_is_the_sum_of_what_each_adds(model, x, mode):
    """After a single step the picture is linear in the velocity."""
    settings = {"method": "from-noise", "steps": 1, "mode": mode}

    def drawn(stack):
        return edit_latents(model, x, stack, **settings)

    edit, change = _edit(model), _shown(model)
    nothing = drawn(edit @ 1e-9)
    wanted = drawn(edit @ 0.5) + 0.7 * (drawn(change) - nothing)
    assert torch.allclose(drawn(edit @ 0.5 + change @ 0.7), wanted, atol=1e-4)
    assert torch.allclose(drawn(change @ 0.7), nothing + 0.7 * (drawn(change) - nothing), atol=1e-4)


@pytest.mark.parametrize("method", ["rf-inversion", "inversion-lora"])
def test_other_methods_cannot_show_anything(model, x, method, picture):
    said = rf"'s7' cannot be used with the method {method}.*flowedit or from-noise"
    for edits in (_shown(model), _edit(model) + _shown(model)):
        with pytest.raises(UsageError, match=said):
            edit_latents(model, x, edits, method=method)
        with pytest.raises(UsageError, match=said):
            edit_images(model, [picture], edits, method=method)
    assert torch.equal(edit_latents(model, x, _shown(model) @ 0, method=method), x)


def test_what_does_not_fit_is_refused(model, tiny_model, x):
    blind = torch.zeros(1, *tiny_model.latent_shape(64, 64))
    with pytest.raises(EditError, match="'s7' was learned on another model"):
        edit_latents(tiny_model, blind, _shown(model))
    with pytest.raises(EditError, match="is of a model that sees the picture"):
        edit_latents(tiny_model, blind, ShownChange("s", _layers(model)))
    for given in (
        {"tokens": torch.ones(1, 2, 5)},
        {"pooled": torch.ones(1, 5)},
        {"references": (torch.ones(1, 5, 8, 8),)},
    ):
        with pytest.raises(EditError, match=rf"'s' is none of .*{next(iter(given))[:6]}.*Got 5"):
            edit_latents(model, x, ShownChange("s", **given), **SMALL)
    assert is_bare(model.transformer)
    with pytest.raises(PairEditError, match="Shown changes have no scale limit"):
        edit_latents(model, x, _shown(model), limit_scale=True)
    with pytest.raises(UsageError, match="these edits act without words"):
        edit_latents(model, x, _shown(model), cfg=3.0)


def test_a_mask_keeps_what_is_black_and_the_file_says_what_was_shown(model, picture):
    mask = Image.new("L", picture.size, 0)
    mask.paste(255, (0, 0, 32, 64))
    (edited,) = edit_images(model, [picture], _shown(model) @ 0.9, mask=mask, **SMALL)
    pixels = edited.photo.pixels
    assert (pixels[:, 33:] == as_photo(picture).pixels[:, 33:]).all()
    assert (pixels != as_photo(picture).pixels).any()
    assert edited.photo.made["edits"] == [{"name": "s7", "scale": 0.9}]


def test_a_region_is_edited_and_the_rest_stays(model):
    photo = example_faces("glasses", 1)[0][0].draw(128)
    found = edit_image(model, photo, _shown(model), region=(16, 16, 32, 32), **SMALL)
    before, after = as_photo(photo).pixels, as_photo(found).pixels
    assert (before[:64, :64] != after[:64, :64]).any()
    assert (before[64:] == after[64:]).all()
    assert (before[:, 64:] == after[:, 64:]).all()


def test_what_was_generated_is_shown_the_change_afterwards(model):
    small: dict[str, Any] = {"steps": 2, "width": 64, "height": 64}
    drawn = generate(model, "", **small)
    assert generate(model, "", _shown(model), **small).tobytes() != drawn.tobytes()
    assert generate(model, "", _shown(model) @ 0, **small).tobytes() == drawn.tobytes()


@pytest.mark.parametrize("name", ["klein", "flux2-dev", "qwen-image-edit"])
def test_every_family_that_sees_pictures_is_shown_a_change(tiny_family, name):
    """With tokens and a pooled embedding, which these families have no use for."""
    model = load_model(str(tiny_family(name)), device="cpu")
    wide = model.condition("").prompt_embeds.shape[-1]
    generator = torch.Generator().manual_seed(1)
    a, a_prime = (
        torch.randn(1, *model.latent_shape(96, 64), generator=generator) for _ in range(2)
    )
    x = torch.randn(2, *model.latent_shape(64, 64), generator=generator)
    found = {}
    for what, tokens, shown in (
        ("all", torch.randn(1, 3, wide, generator=generator), (a, a_prime)),
        ("pictures", None, (a, a_prime)),
        ("other order", None, (a_prime, a)),
    ):
        change = ShownChange("s", tokens=tokens, pooled=torch.ones(1, 7), references=shown)
        found[what] = edit_latents(model, x, change, **SMALL)
        assert found[what].isfinite().all()
        assert (found[what] - x).abs().max() > 1e-4
    for one, other in itertools.combinations(found.values(), 2):
        assert not torch.equal(one, other)
