"""Analogies on the built-in edit model: words answer what they explain, and the basis that comes
with the model the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.builtin.faces.analogies import drawn_analogy
from pairedit_sdk.builtin.faces.held_out import kept_back
from pairedit_sdk.builtin.faces.instructions import all_instructions
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.lorweb import analogy_answer
from pairedit_sdk.lorweb.analogy_answer import answer_analogy
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.words.finding import judged

#: One that words do not explain.
PINK = "#f77fb0"


@pytest.fixture(scope="module")
def model():
    return load_model("mini-kontext", device="cpu")


@pytest.fixture(scope="module")
def pink():
    """An analogy of a background that no analogy of the basis's training had."""
    drawn = drawn_analogy(("background", "pink"), 1, "asked")
    assert kept_back("background", PINK)
    after = {"a_prime": drawn.a_prime, "b_prime": drawn.b_prime}
    return replace(drawn, **{n: face.with_(background=PINK) for n, face in after.items()})


@pytest.fixture(scope="module")
def pictures(pink):
    return pink.a.draw(), pink.a_prime.draw(), pink.b.draw()


@pytest.fixture
def find(monkeypatch):
    """Let a phrase be found, or none."""

    def stand_in(phrase, loss):
        found = judged({phrase: (loss, 1.5), "add a smile": (0.99, 1.0)}, 1.0, 0.1, 2)
        monkeypatch.setattr(analogy_answer, "find_words", lambda *asked, seed: found)

    return stand_in


def test_the_shipped_basis_makes_a_change_that_it_was_never_shown(model, pink, pictures):
    answer = answer_analogy(model, None, pictures, words=False)
    assert answer.sentence == "The basis has no edits. The LoRWeB basis world answers it."
    before, after = to_tensor(pictures[2]), to_tensor(pink.b_prime.draw())
    with torch.no_grad():
        x = model.encode(before).float()
        out = model.decode(edit_latents(model, x, answer.require("")))
        rb, wanted = (model.decode(model.encode(one).float()) for one in (before, after))
    mask = metrics.edit_mask(before, after)
    assert metrics.edit_accuracy(out, rb, wanted, mask).item() > 0.8


def test_words_answer_what_they_explain(model, pictures, find):
    find("make the background pink", 0.1)
    answer = answer_analogy(model, None, pictures, scale=0.5)
    assert answer.shown is None
    assert answer.stack.words == {"make the background pink": pytest.approx(0.6)}


def test_the_basis_is_told_words_that_leave_something_open(model, pictures, find):
    assert "add a beanie" in all_instructions()
    find("add a beanie", 0.1)
    answer = answer_analogy(model, None, pictures, scale=0.5)
    assert (answer.shown.prompt, answer.stack.parts) == ("add a beanie", [(answer.shown, 0.5)])
    assert answer.sentence.endswith(
        "The LoRWeB basis world answers it, with the words 'add a beanie'."
    )


def test_the_basis_answers_what_no_words_explain(model, pictures, find):
    find("make the background pink", 0.95)
    answer = answer_analogy(model, None, pictures)
    assert (answer.shown.name, answer.shown.prompt) == ("world", "")
    assert "None of 2 phrases explains the change" in answer.sentence


def test_where_nothing_changes_there_is_nothing_to_answer(model, pictures):
    a, _, b = pictures
    with pytest.raises(UsageError, match="sees no change"):
        answer_analogy(model, None, (a, a, b))
