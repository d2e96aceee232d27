"""A long vocabulary made short with an encoder of pictures and words, before the model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.text_tower import load_text_tower
from pairedit_sdk.words.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.models.image_encoder import ImageEncoder
    from pairedit_sdk.models.text_tower import TextTower
    from pairedit_sdk.pairs.pair_set import PairSet

#: Phrases that are kept.
KEPT = 50
#: What a phrase's embedding is compared with.
NEUTRAL = "a photo"


def narrowed(
    vocabulary: Vocabulary, pairs: PairSet, encoder: str, *, keep: int = KEPT
) -> Vocabulary:
    """The ``keep`` phrases that point most in the direction in which the pairs change.

    Args:
        vocabulary: if it is no longer than ``keep``, no encoder is loaded.
        pairs: before and after.
        encoder: a folder or hub id of a whole CLIP model.
        keep: how many.

    Raises:
        BaseModelError: there is no such encoder, or it has no text side.
    """
    if len(vocabulary) <= keep:
        return vocabulary
    words = load_text_tower(encoder)
    scores = similarities(vocabulary, pairs, load_encoder(encoder), words)
    best = scores.topk(keep).indices.sort().values.tolist()
    return Vocabulary(tuple(vocabulary.phrases[i] for i in best))


def similarities(
    vocabulary: Vocabulary, pairs: PairSet, pictures: ImageEncoder, words: TextTower
) -> torch.Tensor:
    """cos(E(a′) − E(a), E(phrase) − E(neutral)) for each phrase, [N], E of length 1.

    Of several pairs the mean of E(a′) − E(a) is taken.
    """
    before = pictures.embed([pair.before for pair in pairs])
    after = pictures.embed([pair.after for pair in pairs])
    neutral, *_ = said = words.embed([NEUTRAL, *vocabulary])
    return F.cosine_similarity(said[1:] - neutral, (after - before).mean(dim=0), dim=-1)
