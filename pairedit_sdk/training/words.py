"""The instruction that a training finds for its pairs, beside the LoRA that it learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.options import ResolvedOptions
from pairedit_sdk.editing.words import edited_by_words
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.solvers import last_steps
from pairedit_sdk.images.metrics import edit_mask, left_of_whole
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import prompt_condition
from pairedit_sdk.words.finding import words_of_latents
from pairedit_sdk.words.vocabulary import Vocabulary, located_vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit_words import EditWords
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents
    from pairedit_sdk.training.config import TrainConfig

#: An instruction that makes no more than this of the pairs' change is left out, and one that makes
#: so much gets nearly all of the edit; docs/experiments/words.md says how they were chosen.
LEAST, MOST = 0.6, 0.9


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
        words = shared_out(words, made, asked.pairs)
    model.release_text_encoders()
    return words


def shared_out(words: EditWords, made: float, pairs: float) -> EditWords:
    """The instruction's and the LoRA's parts of an edit, by what the instruction alone makes.

    With t = (made − LEAST) / (MOST − LEAST), cut to 0 … 1, the instruction acts at t times its
    scale, and 1 − t (1 − ``pairs``) of what the LoRA does is added. What the model knows a word for
    it does better than what three pairs teach it. What no word says, such as a hat in the colour of
    the shirt, is left to the LoRA, and the words only describe the edit.

    Args:
        words: with the scale at which the instruction was tried.
        made: see :func:`made_by_words`.
        pairs: the LoRA's share beside an instruction that makes the whole change.
    """
    share = min(1.0, max(0.0, (made - LEAST) / (MOST - LEAST)))
    return replace(
        words, scale=round(share * words.scale, 3), lora=round(1 - share * (1 - pairs), 3)
    )


@torch.no_grad()
def made_by_words(
    model: FlowModel, latents: Sequence[PairLatents], words: EditWords, config: TrainConfig
) -> float:
    """How much of the pairs' change the instruction makes at its scale: the accuracy of all pairs
    as one, see :func:`pairedit_sdk.images.metrics.pooled_accuracy`; 1 is all of it, exactly.

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
    missed = there = 0.0
    for pair in latents:
        (z,) = edited_by_words(plain, pair.x_a, [words.phrase], options, lambda done, total: None)
        edited = pair.x_a + words.scale * (z - pair.x_a)
        before, after, out = (model.decode(x).cpu() for x in (pair.x_a, pair.x_b, edited))
        left, whole = left_of_whole(out, before, after, edit_mask(before, after))
        missed += float(left.nansum())
        there += float(whole.nansum())
    return 1 - missed / there if there else 0.0
