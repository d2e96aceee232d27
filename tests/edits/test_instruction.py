"""An edit by words alone, and edits that carry words, before any model is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pairedit_sdk.edits.edit import Edit, EditInfo, EditStack
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer


def _edit(name: str = "e", **info: Any) -> Edit:
    return Edit({"a": LoraLayer(torch.ones(1, 4), torch.ones(4, 1))}, EditInfo(name, **info))


def test_it_is_an_edit_with_words_that_act() -> None:
    told = Instruction("  add round\n glasses ")
    assert isinstance(told, Edit)
    assert told.name == "add round glasses"
    assert told.info.words == [EditWords("add round glasses", 1.0)]
    assert (told.layers, told.is_idle) == ({}, False)
    assert isinstance(told @ 0.5 + _edit(), EditStack)
    assert "add round glasses" in repr(told)


@pytest.mark.parametrize("phrase", ["", "  \n", "x" * 1001, None, 3])
def test_what_is_no_instruction_is_refused(phrase: Any) -> None:
    with pytest.raises(UsageError, match="This is no instruction"):
        Instruction(phrase)


def test_it_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'add a hat' cannot be saved.*--instruction"):
        Instruction("add a hat").save(tmp_path / "hat.safetensors")
    with pytest.raises(UsageError):
        EditLibrary(tmp_path).save(Instruction("hat"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], [EditWords("add a hat", 0.0)]])
def test_an_edit_without_layers_needs_words_that_act(words: EditWords | None) -> None:
    with pytest.raises(EditError, match="has no layers"):
        Edit({}, EditInfo("x", words=words))


def test_scales_of_one_phrase_are_added() -> None:
    stack = Instruction("add a hat") @ 0.5 + _edit(words=[EditWords("add a hat", 0.5)]) @ 2
    stack = stack + _edit(words=[EditWords("add a scarf", 0.0)]) + Instruction("smile") @ 0
    assert stack.words == {"add a hat": 1.5}
    assert (stack @ 2).words == {"add a hat": 3.0}
    assert (stack @ 0).words == {}
    assert (Instruction("a") @ 1 + Instruction("a") @ -1).words == {}


def test_without_words_the_loras_stay() -> None:
    stack = _edit(words=[EditWords("add a hat")]) @ 0.5 + Instruction("smile") @ 1 + _edit("f") @ 2
    left = stack.without_words()
    assert [(edit.name, scale) for edit, scale in left.parts] == [("e", 0.5), ("f", 2.0)]
    assert left.words == {}
    assert left.parts[0][0].info.words == [EditWords("add a hat", 0.0)]
    with pytest.raises(UsageError, match="no edits"):
        (Instruction("smile") @ 1).without_words()


def test_an_instruction_has_no_say_in_guidance_beside_a_learned_edit() -> None:
    assert (_edit(guidance=4.0) + Instruction("smile")).guidance == 4.0
    assert (_edit(guidance=4.0) @ 0 + Instruction("smile")).guidance == 2.5


def test_a_merged_edit_keeps_the_words_that_act(tmp_path: Path) -> None:
    stack = _edit(words=[EditWords("add a hat", 0.5)]) @ 2 + Instruction("add a hat") @ 0.25
    stack = stack + _edit("f", words=[EditWords("add a scarf", 0.0)]) @ 3
    merged = stack.merged("all")
    assert merged.info.words == [EditWords("add a hat", 1.25)]
    assert torch.equal(merged.layers["a"].up @ merged.layers["a"].down, torch.full((4, 4), 5.0))
    assert Edit.load(merged.save(tmp_path / "all.safetensors")).info.words == merged.info.words
    assert _edit(words=[EditWords("x", 0.0)]).__matmul__(1).merged("y").info.words == []


def test_a_merged_edit_has_one_instruction_of_each_part(tmp_path: Path) -> None:
    one = _edit(words=[EditWords("add a hat", 0.9, 0.2, lora=0.25)])
    stack = one @ 2 + Instruction("smile") @ 0.5 + _edit("f") @ 1
    merged = stack.merged("all")
    assert merged.info.words == [EditWords("add a hat", 1.8), EditWords("smile", 0.5)]
    # The LoRA is what it is beside the words, 2 × 0.25 + 1, and whole without them.
    assert torch.equal(merged.layers["a"].up @ merged.layers["a"].down, torch.full((4, 4), 1.5))
    alone = stack.without_words().merged("all")
    assert alone.info.words == []
    assert torch.equal(alone.layers["a"].up @ alone.layers["a"].down, torch.full((4, 4), 3.0))
    assert Edit.load(merged.save(tmp_path / "all.safetensors")).info.words == merged.info.words
    with pytest.raises(UsageError, match="no LoRA that could be merged"):
        (Instruction("smile") @ 1).merged("all")


def test_words_that_act_make_up_for_an_idle_lora() -> None:
    still = {"a": LoraLayer(torch.ones(1, 4), torch.zeros(4, 1))}
    assert Edit(still, EditInfo("x", words=[EditWords("smile", 0.0)])).is_idle
    assert not Edit(still, EditInfo("x", words=[EditWords("smile")])).is_idle
