"""The instruction of a vocabulary that explains pairs, or that none does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.guidance import instruction_guidance
from pairedit_sdk.errors import BaseModelError, counted
from pairedit_sdk.lora.adapters import require_bare
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.folders import ANY_EDIT_MODEL
from pairedit_sdk.pairs.latents import PairLatents, encode_pairs
from pairedit_sdk.pairs.pair_set import Pairs, as_pairs
from pairedit_sdk.words.asking import BOUNDS, Asking, OnPhrases, Question, best_of
from pairedit_sdk.words.losses import FINALISTS, FIRST, LEVELS, SHORTLIST
from pairedit_sdk.words.narrowing import narrowed
from pairedit_sdk.words.vocabulary import Phrases, Vocabulary, as_vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

#: Below one of these a phrase explains nothing; docs/experiments/words.md says how they were
#: chosen.
LEAST_SURENESS, LEAST_PREFERENCE = 0.45, -0.25
#: The scale at which an instruction that acts alone comes nearest to the true change, see
#: docs/experiments/edits-that-see-the-picture.md.
WORDS_ALONE = 1.2


@dataclass(frozen=True)
class ScoredPhrase:
    """A phrase, and how well it explains the pairs.

    Attributes:
        phrase: the instruction.
        ratio: the flow loss of the after pictures with it over that without words. 1 says nothing;
            the smaller the better.
        explained: how much of the change it explains: the share of the loss that it takes away, of
            what the sight of the after picture itself takes away. 1 for all of it, 0 for nothing.
        preference: log of its loss of the before picture over its loss of the after picture. Below
            0 the model, told this of the before picture, rather expects that back: the phrase
            changes nothing here, or something else.
    """

    phrase: str
    ratio: float
    explained: float
    preference: float


@dataclass(frozen=True)
class FoundWords:
    """What a vocabulary has to say of some pairs.

    Attributes:
        phrases: the best of those that were asked, best first; never empty.
        asked: how many phrases were asked.
    """

    phrases: tuple[ScoredPhrase, ...]
    asked: int

    @property
    def best(self) -> ScoredPhrase:
        """The phrase that explains most, whether that is enough or not."""
        return self.phrases[0]

    @property
    def runner_up(self) -> ScoredPhrase | None:
        """The second best, if two were asked."""
        return self.phrases[1] if len(self.phrases) > 1 else None

    @property
    def sureness(self) -> float:
        """e₁ / 2 + (e₁ − e₂), where e₁ and e₂ are what the best phrase and the second explain.

        It is large where a phrase explains much, or much more than any other. A phrase that is
        right takes what its neighbours cannot, even of a change that is hard to see; wrong ones
        explain a part, but several do so alike. No phrase at all explains 0, so e₂ is at least
        that.
        """
        second = 0.0 if self.runner_up is None else max(0.0, self.runner_up.explained)
        return 1.5 * self.best.explained - second

    @property
    def none(self) -> bool:
        """Whether not even the best explains the pairs."""
        # So written, a number that is none believes nothing.
        return not (self.sureness >= LEAST_SURENESS and self.best.preference >= LEAST_PREFERENCE)

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        asked = counted(self.asked, "phrase")
        best = f"{self.best.phrase!r} (ratio {self.best.ratio:.2f})"
        if self.none:
            return f"None of {asked} explains the change; the nearest is {best}."
        second = self.runner_up
        other = f", next {second.phrase!r} ({second.ratio:.2f})" if second else ""
        return f"The change is {best}{other}."

    def edit_words(self, scale: float = 1.0) -> EditWords | None:
        """The best phrase as part of an edit; ``None`` where none explains the pairs.

        Args:
            scale: how strongly the instruction acts at the edit's scale 1.
        """
        return None if self.none else EditWords(self.best.phrase, scale, self.best.ratio)


@holding
def find_words(
    model: FlowModel,
    pairs: Pairs,
    vocabulary: Phrases | None = None,
    *,
    seed: int = 0,
    resolution: int | None = None,
    encoder: str | None = None,
    on_phrase: OnPhrases | None = None,
) -> FoundWords:
    """Ask an edit model which phrase explains how the pairs change.

    A phrase's ratio is the flow loss of the after pictures, given the before pictures and the
    phrase, over that without words; see :mod:`pairedit_sdk.words.losses`. Losses are summed over
    the pairs. All phrases are asked at one noise level, the best 16 of them at three.

    Args:
        model: an edit model, left as it was.
        pairs: before/after pictures: a set, a folder, or a list of (before, after).
        vocabulary: phrases, a file of them, or "a; b; c"; ``None`` is what the model was taught
            (mini-kontext), or a list of common instructions.
        seed: of the noises.
        resolution: side of a square with the area at which the model sees the pictures; ``None``
            is the model's own.
        encoder: a whole CLIP model, which first narrows a vocabulary of more than 50 phrases down
            to 50; ``None`` asks them all.
        on_phrase: called with how many questions were asked, of how many.

    Raises:
        BaseModelError: the model takes no references, or its losses are not finite; or there is no
            such encoder.
        InputError: pictures or a vocabulary that cannot be used.
        UsageError: no pairs, or LoRAs are attached to the model.
    """
    require_edit_model(model)
    pairs = as_pairs(pairs)
    phrases = as_vocabulary(vocabulary, model)
    if encoder is not None:
        phrases = narrowed(phrases, pairs, encoder)
    latents = encode_pairs(model, pairs, resolution)
    return words_of_latents(model, latents, phrases, seed=seed, on_phrase=on_phrase)


@holding
def words_of_latents(
    model: FlowModel,
    latents: Sequence[PairLatents],
    vocabulary: Vocabulary,
    *,
    guidance: float | None = None,
    seed: int = 0,
    on_phrase: OnPhrases | None = None,
) -> FoundWords:
    """:func:`find_words` for pairs that are encoded already.

    Args:
        model: an edit model.
        latents: of the pairs, at least one.
        vocabulary: the phrases.
        guidance: distilled guidance; ``None`` is :func:`.instruction_guidance` of the model.
        seed: of the noises; each pair has its own.
        on_phrase: called with how many questions were asked, of how many.

    Raises:
        BaseModelError: the model takes no references, or its losses are not finite.
        UsageError: LoRAs are attached to the model.
    """
    require_edit_model(model)
    require_bare(model.transformer)
    given = instruction_guidance(model) if guidance is None else guidance
    asking = Asking(model, latents, vocabulary, given, seed, on_phrase)
    questions = [*BOUNDS, *map(Question, vocabulary)]
    first = asking.losses(questions, [FIRST], range(1))
    questions, first = best_of(questions, first, SHORTLIST)
    first = first + asking.losses(questions, [FIRST], range(1, len(latents)))
    questions, first = best_of(questions, first, FINALISTS)
    every = range(len(latents))
    sums = first + asking.losses(questions, [s for s in LEVELS if s != FIRST], every)
    nothing, everything, *own = sums.tolist()
    finals = questions[len(BOUNDS) :]
    before = asking.losses(finals, LEVELS, every, of_before=True).tolist()
    by_phrase = {q.text: both for q, *both in zip(finals, own, before, strict=True)}
    return judged(by_phrase, nothing, everything, len(vocabulary))


def judged(
    losses: Mapping[str, Sequence[float]], nothing: float, everything: float, asked: int
) -> FoundWords:
    """Phrases by their losses, best first.

    Args:
        losses: of the phrases that were asked at all noise levels: of the after picture, and of
            the before picture.
        nothing: the loss without words.
        everything: the loss without words where the after picture is what the model sees. Should it
            be no smaller than ``nothing``, no phrase explains anything.
        asked: how many phrases were asked in all.

    Phrases whose losses are not finite are left out.

    Raises:
        BaseModelError: the losses of all phrases, or those without words, are not finite.
    """
    known = {p: both for p, both in losses.items() if all(map(math.isfinite, both))}
    if not known or not math.isfinite(nothing) or not math.isfinite(everything):
        raise BaseModelError(
            "The model cannot be asked for the words of these pairs: its losses are not finite",
            expected="numbers",
            got=f"{nothing:g} without words, and {counted(len(known), 'phrase')} with a number",
            next_step="Load the model in another precision (--precision), or ask for no words",
        )
    gap = nothing - everything
    phrases = tuple(
        ScoredPhrase(
            phrase,
            loss / nothing,
            (nothing - loss) / gap if gap > 0 else 0.0,
            math.log(before / loss),
        )
        for (loss, before), phrase in sorted((both, phrase) for phrase, both in known.items())
    )
    return FoundWords(phrases, asked)


def require_edit_model(model: FlowModel) -> None:
    """Refuse a model that cannot look at the before picture.

    Raises:
        BaseModelError: naming it.
    """
    if not model.takes_references:
        raise BaseModelError(
            f"{model.name} cannot be asked for the words of a change: it sees no picture beside "
            "the noisy one",
            expected=ANY_EDIT_MODEL,
            next_step="Use --base mini-kontext",
        )
