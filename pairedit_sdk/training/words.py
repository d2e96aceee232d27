"""The instruction that a training finds for its pairs, beside the LoRA that it learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError
from pairedit_sdk.words.finding import words_of_latents
from pairedit_sdk.words.vocabulary import Vocabulary, located_vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditWords
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents
    from pairedit_sdk.training.config import TrainConfig


def settled_words(model: FlowModel, config: TrainConfig) -> TrainConfig:
    """The settings with the vocabulary's file where it can be found from everywhere. What cannot
    work is refused before anything slow is done.

    Raises:
        UsageError: the model takes no references.
        InputError: the vocabulary cannot be read.
    """
    if not config.words.find:
        return config
    if not model.takes_references:
        raise UsageError(
            f"words.find is true, and {model.name} cannot be asked: it sees no picture beside the "
            "noisy one",
            expected="an edit model, such as mini-kontext or FLUX.1-Kontext-dev",
            next_step="Use --base mini-kontext, or leave the words out with --no-words",
        )
    Vocabulary.named(config.vocabulary, model)
    return config.with_values(vocabulary=located_vocabulary(config.vocabulary))


def found_words(
    model: FlowModel, latents: Sequence[PairLatents], config: TrainConfig
) -> EditWords | None:
    """The instruction that explains the pairs, if the settings ask for one and one does.

    The same pairs, settings and seed give the same words, so a resumed run finds them again.

    Args:
        model: without any LoRA attached.
        latents: of the training pairs.
        config: of the training.

    Raises:
        InputError: the vocabulary cannot be read.
    """
    asked = config.words
    if not asked.find:
        return None
    vocabulary = Vocabulary.named(asked.vocabulary, model)
    found = words_of_latents(model, latents, vocabulary, guidance=config.guidance, seed=config.seed)
    model.release_text_encoders()
    return found.edit_words(asked.scale)
