"""Which phrase explains a pair: on the built-in edit model, which knows its instructions."""

import math

import pytest
import torch

from pairedit_sdk.builtin.faces.instructions import all_instructions
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.words.finding import (
    FoundWords,
    ScoredPhrase,
    find_words,
    judged,
    words_of_latents,
)
from pairedit_sdk.words.vocabulary import Vocabulary

OTHERS = "make the hair red; add sunglasses; add a beanie; turn it into a pencil sketch"


@pytest.fixture(scope="module")
def model():
    return load_model("mini-kontext", device="cpu")


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"glasses": "round"}, "add round glasses"),
        ({"background": "pink"}, "make the background pink"),
    ],
)
def test_the_true_phrase_is_found_from_one_pair(model, face_pairs, change, phrase):
    pairs = face_pairs(change, 1)
    found = find_words(model, pairs, f"{OTHERS}; {phrase}")
    assert found.best.phrase == phrase
    assert not found.none
    assert found.best.ratio < 0.5 < found.phrases[-1].ratio
    assert found.runner_up == found.phrases[1]
    assert [p.ratio for p in found.phrases] == sorted(p.ratio for p in found.phrases)
    assert found.edit_words(0.6) == EditWords(phrase, 0.6, found.best.ratio)
    assert f"The change is '{phrase}'" in found.sentence


def test_none_of_them_is_said_where_no_phrase_explains_the_pair(model, face_pairs):
    found = find_words(model, face_pairs({"necklace": "yes"}, 1), "make the hair red; add a cap")
    assert found.none
    assert found.edit_words() is None
    assert found.sentence.startswith("None of 2 phrases explains the change; the nearest is")


def test_the_losses_of_several_pairs_are_summed(model, face_pairs):
    """A ratio of both lies between those of each, whichever pair comes first in the noises."""
    latents = encode_pairs(model, face_pairs({"hat": "beanie"}, 2))
    words = Vocabulary(("add a beanie", "add a cap"))
    steps = []
    both = words_of_latents(
        model, latents, words, seed=2, on_phrase=lambda done, total: steps.append((done, total))
    )
    assert steps[-1] == (20, 20)
    assert [done for done, _ in steps] == [4, 8, 12, 16, 18, 20]
    first = words_of_latents(model, latents[:1], words, seed=2)
    assert both.best.phrase == first.best.phrase == "add a beanie"
    assert both.best.ratio != first.best.ratio
    again = words_of_latents(model, latents, words, seed=2)
    assert again == both
    assert words_of_latents(model, latents, words, seed=3) != both


def test_of_a_long_vocabulary_only_the_best_are_asked_at_every_level(model, face_pairs):
    long = Vocabulary(tuple(dict.fromkeys([*all_instructions()[:24], "add a top hat"])))
    steps = []
    found = find_words(
        model,
        face_pairs({"hat": "top"}, 1),
        long,
        on_phrase=lambda done, total: steps.append((done, total)),
    )
    assert (found.asked, len(found.phrases)) == (len(long), 16)
    assert steps[-1] == (4 + len(long) + 32, 4 + len(long) + 32)
    assert found.best.phrase == "add a top hat"
    assert f"{found.best.ratio:.2f}" in found.sentence


def test_the_model_is_left_as_it_was(model, face_pairs):
    x = torch.randn(1, *model.latent_shape(128, 128), generator=torch.Generator().manual_seed(0))
    before = model.velocity(x, torch.tensor(0.5), model.condition(""), 2.5)
    find_words(model, face_pairs({"hat": "cap"}, 1), "add a cap")
    assert torch.equal(before, model.velocity(x, torch.tensor(0.5), model.condition(""), 2.5))
    assert not torch.is_inference_mode_enabled()


def test_a_model_that_sees_no_picture_is_refused(face_pairs):
    with pytest.raises(BaseModelError, match="mini cannot be asked for the words of a change"):
        find_words(load_model("mini", device="cpu"), face_pairs({"hat": "cap"}, 1))


def test_the_bounds_make_a_loss_a_share_of_the_change():
    found = judged(
        {"b": (0.5, 0.5), "a": (0.2, 0.4), "c": (1.1, 0.1)}, nothing=1.0, everything=0.1, asked=9
    )
    assert [p.phrase for p in found.phrases] == ["a", "b", "c"]
    assert [p.ratio for p in found.phrases] == [0.2, 0.5, 1.1]
    assert [p.explained for p in found.phrases] == pytest.approx([8 / 9, 5 / 9, -1 / 9])
    assert found.best.preference == pytest.approx(math.log(2))
    assert found.sureness == pytest.approx(0.5 * 8 / 9 + 3 / 9)
    assert not found.none
    assert judged({"a": (0.2, 9.0), "b": (0.19, 9.0)}, 0.2, 0.2, 2).none


def test_what_several_phrases_explain_alike_in_part_is_explained_by_none():
    assert judged({"a": (0.6, 2), "b": (0.62, 2)}, 1.0, 0.0, 2).none
    assert not judged({"a": (0.6, 2), "b": (0.95, 2)}, 1.0, 0.0, 2).none
    assert not judged({"a": (0.05, 2), "b": (0.08, 2)}, 1.0, 0.0, 2).none
    assert judged({"a": (0.9, 2), "b": (1.4, 2)}, 1.0, 0.0, 2).sureness == pytest.approx(0.15)


def test_losses_that_are_no_numbers_are_not_believed():
    nan, inf = math.nan, math.inf
    losses = {"a": (nan, 2), "b": (0.2, nan), "c": (0.3, 2), "d": (inf, 1)}
    found = judged(losses, 1.0, 0.0, 4)
    assert [p.phrase for p in found.phrases] == ["c"]
    assert not found.none
    for wrong in (({"a": (nan, 2)}, 1.0, 0.0), ({"a": (0.2, 2)}, nan, 0.0)):
        with pytest.raises(BaseModelError, match=r"losses are not finite.*--precision"):
            judged(*wrong, 1)
    assert FoundWords((ScoredPhrase("a", 0.2, nan, 1.0),), 1).none
    assert FoundWords((ScoredPhrase("a", 0.2, 0.9, nan),), 1).none


def test_a_phrase_that_leaves_the_picture_as_it_is_explains_no_change():
    assert not judged({"a": (0.2, 0.21)}, 1.0, 0.0, 1).none
    assert judged({"a": (0.2, 0.1)}, 1.0, 0.0, 1).none


def test_an_instruction_that_changes_nothing_here_is_not_believed(model, face_pairs):
    """The picture is a photo already, so the model expects it back as it is."""
    pairs = face_pairs({"background": "pink"}, 1, background="green")
    found = find_words(model, pairs, "turn it into a photo; make the background pink")
    idle = next(one for one in found.phrases if one.phrase == "turn it into a photo")
    assert (found.best.phrase, found.none) == ("make the background pink", False)
    assert idle.preference < found.best.preference


def test_one_phrase_has_no_runner_up():
    found = judged({"add a hat": (0.2, 1.0)}, 1.0, 0.0, 1)
    assert (found.runner_up, found.none) == (None, False)
    assert found.sentence == "The change is 'add a hat' (ratio 0.20)."
