"""The instruction that a training finds for its pairs, beside the LoRA that it learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.options import ResolvedOptions
from pairedit_sdk.editing.told import edited_as_told
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.solvers import last_steps
from pairedit_sdk.images.metrics import edit_mask, left_of_whole, progress
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.folders import ANY_EDIT_MODEL
from pairedit_sdk.models.prompts import prompt_condition
from pairedit_sdk.words.finding import words_of_latents
from pairedit_sdk.words.vocabulary import Vocabulary, settled_vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit_words import EditWords
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents
    from pairedit_sdk.training.config import TrainConfig

#: An instruction that makes no more than this of the pairs' change is left out, and one that makes
#: so much gets nearly all of the edit; docs/experiments/words.md says how they were chosen.
LEAST, MOST = 0.6, 0.9
#: The same for a single pair, which teaches a LoRA so little that words are better sooner.
LEAST_OF_ONE, MOST_OF_ONE = 0.45, 0.75
#: How far a LoRA of a few pairs usually goes on other pictures.
REACH = 0.85


def settled_words(model: FlowModel, config: TrainConfig) -> TrainConfig:
    """The settings with the phrases of the vocabulary's file in the place of its name, so that a
    run goes on with what it began with. What cannot work is refused before anything slow is done.

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
            expected=ANY_EDIT_MODEL,
            next_step="Use --base mini-kontext, or leave the words out with --no-words",
        )
    return config.with_values(vocabulary=settled_vocabulary(config.vocabulary))


def found_words(
    model: FlowModel, latents: Sequence[PairLatents], config: TrainConfig
) -> EditWords | None:
    """The instruction that explains the pairs, if the settings ask for one and one does; with what
    it is to do beside the LoRA, see :func:`shared_out`.

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
    words = found.edit_words(asked.scale)
    if words is not None and words.scale:
        made = made_by_words(model, latents, words, config)
        words = shared_out(words, made, single=len(latents) == 1)
    model.release_text_encoders()
    return words


@dataclass(frozen=True)
class Made:
    """What an instruction alone makes of pairs, all of them as one.

    Attributes:
        accuracy: how much of the change, see :func:`pairedit_sdk.images.metrics.pooled_accuracy`;
            1 is all of it, exactly.
        progress: how far it goes, see :func:`pairedit_sdk.images.metrics.progress`.
    """

    accuracy: float
    progress: float


def shared_out(words: EditWords, made: Made, *, single: bool = False) -> EditWords:
    """The instruction's and the LoRA's parts of an edit, by what the instruction alone makes.

    With t = (accuracy − LEAST) / (MOST − LEAST), cut to 0 … 1, the instruction acts at t times its
    scale. Of what the LoRA does (1 − t progress) / REACH is added, cut to 0 … 1, so that together
    they go the whole way. What the model knows a word for it does better than what three pairs
    teach it. What no word says, such as a hat in the colour of the shirt, is left to the LoRA, and
    the words only describe the edit.

    Args:
        words: with the scale at which the instruction was tried.
        made: by it at that scale.
        single: whether there is one pair only, where LEAST_OF_ONE and MOST_OF_ONE take the place.
    """
    least, most = (LEAST_OF_ONE, MOST_OF_ONE) if single else (LEAST, MOST)
    share = min(1.0, max(0.0, (made.accuracy - least) / (most - least)))
    left = min(1.0, max(0.0, (1 - share * made.progress) / REACH))
    return replace(
        words, scale=round(share * words.scale, 3), lora=round(left, 3) if share else 1.0
    )


@torch.no_grad()
def made_by_words(
    model: FlowModel, latents: Sequence[PairLatents], words: EditWords, config: TrainConfig
) -> Made:
    """What the instruction makes of the pairs at its scale.

    Nothing is learned from the pairs for it, so that they are as good a test as any others.

    Args:
        model: an edit model without any LoRA attached.
        latents: of the pairs.
        words: the instruction.
        config: says how edits are used.
    """
    plain = ConditionedModel(model, prompt_condition(model, ""), config.guidance)
    steps = config.edit_steps
    options = ResolvedOptions(
        steps=steps, n_max=last_steps(steps), n_avg=config.edit_n_avg,
        threshold=config.edit_threshold, seed=config.seed,
    )  # fmt: skip
    missed = gone = there = 0.0
    for pair in latents:
        (z,) = edited_as_told(plain, pair.x_a, [words.phrase], options, lambda done, total: None)
        edited = pair.x_a + words.scale * (z - pair.x_a)
        before, after, out = (model.decode(x).cpu() for x in (pair.x_a, pair.x_b, edited))
        mask = edit_mask(before, after)
        left, whole = left_of_whole(out, before, after, mask)
        missed += float(left.nansum())
        gone += float((progress(out, before, after, mask) * whole).nansum())
        there += float(whole.nansum())
    return Made(1 - missed / there, gone / there) if there else Made(0.0, 0.0)
