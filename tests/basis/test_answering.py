"""What answers an analogy: own edits, else words, else a learned basis, else nothing."""

import pytest
import torch

from pairedit_sdk.basis.answering import Learned, answered
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


def never(*asked):
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


def shown(prompt=""):
    return ShownChange("web", tokens=torch.ones(1, 2, 8), prompt=prompt)


def learned(*phrases):
    """A learned basis that answers in the place of these phrases."""
    return Learned(shown, phrases.__contains__)


def test_a_learned_basis_answers_what_words_do_not_explain():
    answer = answered(route(0.1), 0.5, learned=learned(), ask=lambda: words(0.95))
    ((change, scale),) = answer.stack.parts
    assert (answer.shown, scale, change.prompt) == (change, 0.5, "")
    assert (answer.known, answer.said, answer.found.none) == (False, None, True)
    assert answer.sentence.endswith(
        "None of 2 phrases explains the change; the nearest is 'add a cap' (ratio 0.90). "
        "The LoRWeB basis web answers it."
    )


def test_a_learned_basis_answers_alone_where_no_words_are_asked_for():
    answer = answered(None, learned=learned("add a hat"))
    assert answer.sentence == "The basis has no edits. The LoRWeB basis web answers it."
    assert [(edit.name, edit.prompt, scale) for edit, scale in answer.stack.parts] == [
        ("web", "", 1.0)
    ]


def test_words_answer_before_a_learned_basis():
    answer = answered(route(0.1), learned=learned("add a cap"), ask=lambda: words(0.2))
    assert (answer.shown, answer.said) == (None, answer.found)
    assert answer.stack.words == {"add a hat": pytest.approx(1.2)}
    assert "LoRWeB" not in answer.sentence


def test_a_learned_basis_is_told_the_words_that_it_answers_in_the_place_of():
    answer = answered(None, learned=learned("add a hat"), ask=lambda: words(0.2))
    assert (answer.shown.prompt, answer.said, answer.stack.words) == ("add a hat", None, {})
    assert answer.sentence == (
        "The basis has no edits. The LoRWeB basis web answers it, with the words 'add a hat'."
    )


@pytest.mark.parametrize("similarity", [0.6, 0.1])
def test_nothing_else_is_asked_where_edits_answer(similarity):
    basis = Learned(never, never)
    answer = answered(route(similarity), force=similarity < 0.5, learned=basis, ask=never)
    assert answer.shown is None
    assert answer.known is (similarity > 0.5)


def test_nothing_answers_where_there_is_nothing():
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
