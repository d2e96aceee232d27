"""The benchmark of composition: its truth, its figures, its sums."""

import re

import pytest
import torch

from pairedit_sdk import load_base
from pairedit_sdk.bench import compose
from pairedit_sdk.bench.compose import COMBINATIONS, SMALL, Plan, run
from pairedit_sdk.bench.edit_types import EDIT_TYPES, as_combination, combined, held_out
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.lora.layers import LoraLayer


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_every_combination_can_be_drawn(names):
    change = combined(names)
    for before, after in held_out(change, 3):
        assert {n for n in vars(before) if getattr(before, n) != getattr(after, n)} <= set(
            change.changed
        )
        for name in names:
            for attribute, value in EDIT_TYPES[name].example.after.items():
                assert getattr(after, attribute) == value


def test_edits_that_contradict_each_other_have_no_common_truth():
    with pytest.raises(ValueError, match="sketch and night: different style after"):
        combined(["sketch", "night"])


def test_a_combination_is_named_as_it_is_shown():
    assert as_combination("glasses+smile") == ("glasses", "smile")
    assert as_combination("glasses + smile+hat") == ("glasses", "smile", "hat")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("glasses+hatt", "no edit 'hatt'. Did you mean hat"),
        ("glasses", "two or more different edits"),
        ("hat+hat", "two or more different edits"),
        ("sketch+night", "edits that one face can show together"),
    ],
)
def test_a_combination_that_cannot_be_drawn_is_refused(text, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        as_combination(text)


@pytest.fixture
def perfect(monkeypatch):
    """Every edit, and every sum of edits, does exactly what is true."""
    plan = Plan(combinations=[("glasses", "smile")], seeds=1, faces=2)
    faces = [before for before, _ in held_out(combined(["glasses", "smile"]), 2)]

    def edit_latents(base, x, stack, *, seed, mode):
        change = combined([edit.name for edit, _ in stack.parts])
        drawn = [to_tensor(change.pair(face)[1].draw()) for face in faces]
        return base.encode(torch.cat(drawn)).float()

    def learned(base, names, seed, recipe, on_edit):
        layers = {"x_embedder": LoraLayer(torch.zeros(1, 4), torch.zeros(3, 1))}
        for name in names:
            on_edit(name)
        return {name: Edit(layers, EditInfo(name)) for name in names}

    monkeypatch.setattr(compose, "edit_latents", edit_latents)
    monkeypatch.setattr(compose, "learned", learned)
    return plan


def test_edits_that_do_not_disturb_each_other_keep_everything(perfect, tmp_path):
    said = []
    plan = Plan(perfect.combinations, seeds=1, faces=2, output=tmp_path)
    result = run(load_base("mini", device="cpu"), plan, said.append)
    assert said == ["glasses", "smile", "glasses + smile"]
    assert len(said) == plan.parts
    assert (tmp_path / "glasses+smile.png").is_file()
    for mode, figures in result["summary"].items():
        assert figures["accuracy_1"] == pytest.approx(1)
        assert figures["accuracy_2"] == pytest.approx(1)
        assert figures["kept_2"] == pytest.approx(1, abs=0.02)
        assert figures["success_2"] == figures["all_succeed_2"] == 1
        # Even the truth differs from r(b) outside of the change, and two changes in more places.
        lost = figures["preservation_db_1"] - figures["preservation_db_2"]
        assert figures["preservation_lost_db_2"] == pytest.approx(lost)
        assert figures["preservation_db_2"] > 38
        assert figures["order_db_2"] == 100, mode


def test_the_small_form_has_a_pair_and_a_triple():
    assert {len(names) for names in SMALL.combinations} == {2, 3}
    assert SMALL.seeds == 1
