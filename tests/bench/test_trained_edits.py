"""Edits that are learned for a benchmark: on which model, and with which recipe."""

import pytest

from pairedit_sdk import load_base
from pairedit_sdk.bench.trained_edits import learned, model_for
from pairedit_sdk.errors import UsageError


@pytest.mark.parametrize(
    ("recipe", "model"),
    [("mini", "mini"), ("mini-kontext", "mini-kontext"), ("plain", "mini"), ("flux-dev", "mini")],
)
def test_edits_are_learned_on_the_built_in_model_that_the_recipe_is_for(recipe, model):
    assert model_for(recipe) == model


def test_a_recipe_of_one_s_own_says_its_model_too(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("base: mini-kontext\nsteps: 1\n")
    assert model_for(str(path)) == "mini-kontext"
    with pytest.raises(UsageError, match="magic"):
        model_for("magic")


def test_edits_of_the_edit_model_see_the_picture(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "base: mini-kontext\nsteps: 1\nbatch: 1\nediting: {limit_scale: true}\n"
        "loss: {objective: flowedit, reference: before, content_lora: false, noising: standard}\n"
    )
    said = []
    model = load_base("mini-kontext", device="cpu")
    edits = learned(model, ["glasses", "hat"], 1, str(path), on_edit=said.append)
    assert said == list(edits) == ["glasses", "hat"]
    for edit in edits.values():
        assert edit.info.editor.reference
        assert not edit.info.editor.limit_scale
        assert edit.info.base_fingerprint == model.fingerprint
