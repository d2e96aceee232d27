"""Edits whose model sees the picture that it edits: learned, kept, used and combined."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.editing import composition, inversion
from pairedit_sdk.editing.composition import EDIT, BranchVelocities, attached_stack
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train

SMALL = {"steps": 4, "n_max": 3, "threshold": 0.0}


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def x(model):
    return torch.randn(2, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))


def _edit(model, seed, *, sees=True, name="e"):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for layer in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(layer).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.2
        layers[layer] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.2)
    editor = EditorSettings(steps=4, n_avg=2, reference=sees)
    info = EditInfo(name, base=model.name, base_fingerprint=model.fingerprint, editor=editor)
    return Edit(layers, info)


def test_each_row_of_flowedit_sees_its_own_picture(model, x):
    """Both models of every branch and noise, the rows of a batch as each picture by itself."""
    edit = _edit(model, 0)
    conditioned = ConditionedModel(model, model.condition(""), 2.5)
    states = torch.randn(8, *x.shape[1:], generator=torch.Generator().manual_seed(2))
    sigma = torch.tensor(0.6)
    with torch.no_grad(), attached(model.transformer, {EDIT: edit.layers}):
        velocities = BranchVelocities(conditioned, [{EDIT: 1.0}, {EDIT: 0.5}], x)
        edited, plain = velocities(states, torch.cat([states[:4]] * 2), sigma)
        for row in range(8):
            seen = x[row % 4 // 2 : row % 4 // 2 + 1]
            for scale, state, found in (
                (1.0 if row < 4 else 0.5, states[row], edited[row]),
                (0.0, states[row % 4], plain[row]),
            ):
                alone = conditioned.velocity(state[None], sigma, {EDIT: scale}, seen)
                assert torch.allclose(alone[0], found, atol=1e-5)


@pytest.mark.parametrize("mode", ["guided", "merged", "sequential"])
def test_an_edit_that_sees_the_picture_is_another_than_one_that_does_not(model, x, mode):
    sees, blind = _edit(model, 0), _edit(model, 0, sees=False)
    one, other = (edit_latents(model, x, e, mode=mode, **SMALL) for e in (sees, blind))
    assert not torch.allclose(one, other, atol=1e-3)
    assert torch.equal(sweep_latents(model, x, sees, [0.0], mode=mode, **SMALL)[0], x)


def test_edits_of_both_kinds_are_added(model, x, monkeypatch):
    sees, blind = _edit(model, 0), _edit(model, 1, sees=False)
    together = edit_latents(model, x, sees @ 0.8 + blind @ 0.5, **SMALL)
    alone = [edit_latents(model, x, e, **SMALL) - x for e in (sees @ 0.8, blind @ 0.5)]
    assert torch.allclose(together, x + sum(alone), atol=1e-4)
    monkeypatch.setattr(composition, "TOKENS", 1)
    assert torch.allclose(edit_latents(model, x, blind @ 0.5 + sees @ 0.8, **SMALL), together,
                          atol=1e-4)  # fmt: skip


def test_rf_inversion_sees_the_picture_too(model, x):
    sees, blind = _edit(model, 0), _edit(model, 0, sees=False)
    one, other = (edit_latents(model, x, e, method="rf-inversion", steps=3) for e in (sees, blind))
    assert not torch.allclose(one, other, atol=1e-3)


def test_the_inversion_lora_is_trained_and_used_at_the_sight_of_the_picture(model, x, monkeypatch):
    monkeypatch.setattr(inversion.inversion_lora_edits, "__defaults__", (3,))
    shown = []
    velocity = type(model).velocity

    def noted(self, states, sigma, condition, *rest):
        shown.append((len(states), condition.references))
        return velocity(self, states, sigma, condition, *rest)

    monkeypatch.setattr(type(model), "velocity", noted)
    found = []
    for sees in (True, False):
        shown.clear()
        edit = _edit(model, 0, sees=sees)
        found.append(edit_latents(model, x[:1], edit, method="inversion-lora", steps=4))
        assert [rows for rows, _ in shown] == [1] * 3 + [1, 1, 2, 2]
        if sees:
            assert all(torch.equal(one, x[:1].expand(rows, -1, -1, -1)) for rows, (one,) in shown)
        else:
            assert all(references == () for _, references in shown)
    assert not torch.allclose(*found, atol=1e-3)


def test_stack_velocities_take_the_reference_in_both_modes(model, x):
    edit = _edit(model, 0)
    conditioned = ConditionedModel(model, model.condition(""), 2.5)
    sigma = torch.tensor(0.5)
    with torch.no_grad():
        found = []
        for mode in ("merged", "guided"):
            with attached_stack(conditioned, edit @ 1.0, mode, x) as velocities:
                found.append((velocities.edited(x, sigma), velocities.plain(x, sigma)))
        bare = conditioned.velocity(x, sigma, reference=x)
    for edited, plain in found:
        assert torch.allclose(plain, bare, atol=1e-5)
        assert torch.allclose(edited, found[0][0], atol=1e-4)


CONFIG = {
    "steps": 12, "batch": 2, "rank": 4, "lr": 1e-2, "sigma_count": 8, "content_lora": False,
    "noising": "standard", "edit_steps": 4, "guidance": 2.5, "reference": "before",
}  # fmt: skip


@pytest.mark.parametrize("objective", ["flowedit", "difference", "reconstruction"])
def test_it_is_learned_and_its_file_says_that_it_wants_the_picture(
    model, face_pairs, tmp_path, objective
):
    pairs = face_pairs({"hat": "beanie"}, 2)
    config = TrainConfig(objective=objective, **CONFIG)
    losses = []
    edit = train(
        model, pairs, config, name="hat", on_step=lambda info: losses.append(info.semantic_loss)
    )
    assert sum(losses[-4:]) < sum(losses[:4])
    assert edit.info.editor.reference
    loaded = Edit.load(edit.save(tmp_path / "hat.safetensors"))
    assert loaded.info == edit.info
    blind = train(model, pairs, replace(config, reference="none"), name="hat")
    assert not blind.info.editor.reference
    assert "reference" not in Edit.load(blind.save(tmp_path / "b.safetensors")).header()["pairedit"]


def test_a_model_that_sees_no_picture_is_refused(tiny_model, model, face_pairs):
    with pytest.raises(UsageError, match=r"loss.reference is before.*--base mini-kontext"):
        train(tiny_model, face_pairs({"hat": "beanie"}, 1), TrainConfig(**CONFIG), name="x")
    edit = _edit(model, 0).with_info(base="", base_fingerprint="")
    x = torch.randn(1, *tiny_model.latent_shape(64, 64))
    with pytest.raises(EditError, match=r"sees the picture that it edits.*mini-kontext"):
        edit_latents(tiny_model, x, edit)
