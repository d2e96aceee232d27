"""A long vocabulary narrowed by a CLIP model of the real classes, with random weights."""

import json

import pytest
import torch
import torch.nn.functional as F

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.text_tower import load_text_tower
from pairedit_sdk.words.narrowing import NEUTRAL, narrowed, similarities
from pairedit_sdk.words.vocabulary import Vocabulary

WORDS = Vocabulary(("add a hat", "remove the hat", "make the hair red", "add glasses"))


@pytest.fixture(scope="module")
def pairs(face_pairs):
    return face_pairs({"hat": "cap"}, 2, size=64)


def test_the_phrases_nearest_to_the_change_are_kept(tiny_clip_folder, pairs):
    name = str(tiny_clip_folder)
    pictures, words = load_encoder(name), load_text_tower(name)
    scores = similarities(WORDS, pairs, pictures, words)
    assert scores.shape == (4,)
    move = sum(pictures.embed([p.after]) - pictures.embed([p.before]) for p in pairs)
    for phrase, score in zip(WORDS, scores, strict=True):
        said = words.embed([phrase]) - words.embed([NEUTRAL])
        assert float(score) == pytest.approx(float(F.cosine_similarity(move, said)), abs=1e-5)
    kept = narrowed(WORDS, pairs, name, keep=2)
    assert set(kept) == {WORDS.phrases[i] for i in scores.topk(2).indices}
    order = [WORDS.phrases.index(phrase) for phrase in kept]
    assert order == sorted(order)


def test_a_short_vocabulary_needs_no_encoder(pairs):
    assert narrowed(WORDS, pairs, "absent/encoder") is WORDS


def test_texts_of_any_length_and_number(tiny_clip_folder):
    tower = load_text_tower(str(tiny_clip_folder))
    texts = [f"add {n} hats" for n in range(70)] + ["make the hair red " * 30]
    found = tower.embed(texts)
    assert found.shape[0] == 71
    assert torch.allclose(found.norm(dim=-1), torch.ones(71), atol=1e-5)
    assert torch.allclose(found[5:6], tower.embed(texts[5:6]), atol=1e-5)


def test_an_encoder_without_words_is_refused(tiny_clip_folder, tmp_path, pairs):
    with pytest.raises(BaseModelError, match="cannot compare words with pictures"):
        narrowed(WORDS, pairs, "mini", keep=2)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip_vision_model"}))
    with pytest.raises(BaseModelError, match="a model of type clip_vision_model"):
        load_text_tower(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load_text_tower(str(tmp_path))
