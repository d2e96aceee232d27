"""A change that is shown, before any model is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings, EditStack
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.edits.shown import ShownChange, shown_parts
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer

LAYERS = {"a": LoraLayer(torch.ones(1, 4), torch.ones(4, 1))}


def _shown(**given: Any) -> ShownChange:
    return ShownChange("s", **{"tokens": torch.ones(1, 2, 8), **given})


def test_it_is_an_edit_whose_lora_is_no_part_of_a_sum_of_loras() -> None:
    change = ShownChange("s", LAYERS, references=(torch.zeros(1, 4, 2, 2),) * 2)
    assert isinstance(change, Edit)
    assert (change.name, change.layers, change.mix) == ("s", {}, LAYERS)
    assert not change.is_instruction
    assert not change.is_idle
    assert change.info.editor.reference
    stack = change @ 0.5 + Edit(LAYERS, EditInfo("e"))
    assert isinstance(stack, EditStack)
    assert torch.equal(stack.layers()["a"].up, torch.ones(4, 1))
    assert stack.words == {}
    assert repr(stack) == "s @ 0.5 + e @ 1"


def test_how_it_is_applied_is_as_an_instruction_or_as_was_said() -> None:
    said = EditorSettings(steps=9, n_avg=3)
    assert _shown(editor=said).info.editor == EditorSettings(steps=9, n_avg=3, reference=True)
    other, told = _shown().info.editor, Instruction("x").info.editor
    assert (other.steps, other.n_avg, other.threshold) == (told.steps, told.n_avg, told.threshold)
    assert _shown().info.guidance == Instruction("x").info.guidance


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokens": None}, "'s' shows nothing"),
        ({"tokens": torch.ones(2, 8)}, r"tokens\. Expected a tensor of 3 dimensions.*\[2, 8\]"),
        ({"tokens": torch.ones(2, 3, 8)}, "the first of them 1"),
        ({"pooled": torch.ones(1, 1, 8)}, "pooled"),
        ({"references": (torch.zeros(4, 2, 2),)}, "a reference"),
    ],
)
def test_what_shows_nothing_or_has_another_shape_is_refused(given: Any, message: str) -> None:
    with pytest.raises(EditError, match=message):
        _shown(**given)


def test_it_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'s' cannot be saved.*Keep the pictures a and a′"):
        _shown().save(tmp_path / "s.safetensors")
    with pytest.raises(UsageError, match="cannot be saved"):
        EditLibrary(tmp_path).save(_shown())
    alone = ShownChange("s", LAYERS)
    with pytest.raises(UsageError, match=r"Take its LoRA alone.*Edit\(change\.mix, change\.info\)"):
        alone.save(tmp_path / "s.safetensors")
    with pytest.raises(UsageError, match="cannot be brought to a rank"):
        alone.with_rank(1)
    assert list(tmp_path.iterdir()) == []
    saved = Edit(alone.mix, alone.info).save(tmp_path / "s.safetensors")
    assert torch.equal(Edit.load(saved).layers["a"].up, LAYERS["a"].up)


def test_it_is_no_part_of_a_merged_edit() -> None:
    stack = Edit(LAYERS, EditInfo("e")) + _shown()
    with pytest.raises(UsageError, match="'s' cannot be a part of one edit"):
        stack.merged("all")


def test_without_words_it_stays_and_without_a_scale_it_does_not_act() -> None:
    change = _shown()
    stack = change @ 0.5 + Instruction("smile") + change @ 0
    left = stack.without_words()
    assert [(edit.name, scale) for edit, scale in left.parts] == [("s", 0.5), ("s", 0.0)]
    assert shown_parts(left)[0][0].tokens is change.tokens
    assert shown_parts(stack) == [(change, 0.5)]


def test_another_description_is_the_same_change() -> None:
    change = ShownChange("s", LAYERS, tokens=torch.ones(1, 2, 8))
    other = change.with_info(name="t", resolution=64, words=[EditWords("x")])
    assert isinstance(other, ShownChange)
    assert (other.name, other.info.resolution, other.info.words) == ("t", 64, [])
    assert other.mix == LAYERS
    assert other.tokens is change.tokens


def test_it_is_idle_only_as_a_lora_of_zeros() -> None:
    still = {"a": LoraLayer(torch.ones(1, 4), torch.zeros(4, 1))}
    assert ShownChange("s", still).is_idle
    assert not _shown(layers=still).is_idle
    said = ShownChange("s", still, prompt="make the hair")
    assert not said.is_idle
    assert said.with_info(name="t").prompt == "make the hair"
    with pytest.raises(UsageError, match="Keep the pictures"):
        said.save("s.safetensors")
    assert not ShownChange("s", LAYERS).is_idle


def test_it_has_no_say_in_guidance_beside_a_learned_edit() -> None:
    learned = Edit(LAYERS, EditInfo("e", guidance=4.0))
    assert (learned + _shown()).guidance == 4.0
    assert (learned @ 0 + _shown()).guidance == 2.5
