"""What answers an analogy: the edits, else words, else nothing; words are asked for only then."""

import pytest
import torch

from pairedit_sdk.basis.answering import answered
from pairedit_sdk.basis.mix import EditMix
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.edits.shown import ShownChange
from pairedit_sdk.errors import InputError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.words.finding import judged


def route(similarity):
    layers = {"x_embedder": LoraLayer(torch.ones(1, 4), torch.ones(3, 1))}
    edit = Edit(layers, EditInfo("glasses", base="mini", rank=1))
    return EditMix([(edit, 0.8)], {"glasses": similarity}, {"glasses": 0.5})


def words(loss):
    return judged({"add a hat": (loss, 1.5), "add a cap": (0.9, 1.0)}, 1.0, 0.1, 2)


def never():
    raise AssertionError("words were asked for")


@pytest.mark.parametrize("similarity", [0.6, 0.1])
def test_edits_answer_what_is_known_or_forced(similarity):
    answer = answered(route(similarity), 0.5, force=similarity < 0.5, ask=never)
    stack = answer.require("")
    assert [(edit.name, scale) for edit, scale in stack.parts] == [("glasses", 0.4)]
    assert stack.default_mode == "merged"
    assert (answer.found, answer.sentence) == (None, route(similarity).sentence)


def test_words_answer_what_is_unknown():
    answer = answered(route(0.1), 0.5, ask=lambda: words(0.2))
    assert answer.stack.words == {"add a hat": pytest.approx(0.6)}
    assert answer.sentence.startswith("This analogy is like none of the edits")
    assert "The change is 'add a hat'" in answer.sentence


def test_nothing_answers_what_words_do_not_say_either():
    answer = answered(route(0.1), ask=lambda: words(0.95))
    assert answer.stack is None
    with pytest.raises(InputError, match="and words do not say it either: None of 2 phrases") as e:
        answer.require("Train it")
    assert e.value.next_step == "Train it"


def test_nothing_answers_where_no_words_are_asked_for():
    answer = answered(route(0.1))
    assert (answer.stack, answer.sentence) == (None, route(0.1).sentence)


def shown():
    return ShownChange("web", tokens=torch.ones(1, 2, 8))


def test_a_learned_basis_answers_what_no_edit_does_and_before_words():
    change = shown()
    answer = answered(route(0.1), 0.5, show=lambda: change, ask=never)
    assert answer.stack.parts == [(change, 0.5)]
    assert answer.shown is change
    assert not answer.known
    assert answer.sentence.endswith("from 0.50 on). The LoRWeB basis web answers it.")
    none = answered(None, show=lambda: change)
    assert none.sentence == "The basis has no edits. The LoRWeB basis web answers it."
    assert none.stack.parts == [(change, 1.0)]


@pytest.mark.parametrize("similarity", [0.6, 0.1])
def test_a_learned_basis_is_not_asked_where_edits_answer(similarity):
    answer = answered(route(similarity), force=similarity < 0.5, show=never)
    assert answer.shown is None
    assert answer.known is (similarity > 0.5)


def test_words_are_asked_for_where_there_is_no_learned_basis():
    answer = answered(route(0.1), show=lambda: None, ask=lambda: words(0.2))
    assert answer.stack.words == {"add a hat": pytest.approx(1.2)}
    nothing = answered(None)
    assert (nothing.stack, nothing.sentence) == (None, "The basis has no edits.")


def test_a_mix_stays_one_with_words_and_shown_changes_beside_it():
    mix = route(0.6) + shown() @ 0.5 + Instruction("smile") @ 0.3
    assert isinstance(mix, EditMix)
    assert mix.known
    assert mix.default_mode == "merged"
    assert mix.words == {"smile": 0.3}
    assert mix.sentence.startswith("glasses 0.80 + web 0.50 + smile 0.30 (similarities")
    assert [scale for _, scale in (mix @ 2).parts] == [1.6, 1.0, 0.6]
