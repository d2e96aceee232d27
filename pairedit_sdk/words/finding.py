"""The instruction of a vocabulary that explains pairs, or that none does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.edits.metadata import EditWords
from pairedit_sdk.errors import BaseModelError, counted
from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.lora.adapters import require_bare
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.prompts import prompt_conditions
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.pairs.pair_set import Pairs, as_pairs
from pairedit_sdk.words.losses import FINALISTS, FIRST, LEVELS, ROWS, Asked, pair_losses
from pairedit_sdk.words.narrowing import narrowed
from pairedit_sdk.words.vocabulary import Phrases, Vocabulary, as_vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents

#: What FLUX.1-Kontext is usually sampled with.
GUIDANCE = 2.5
#: Above this ratio no phrase explains the pairs; docs/experiments/words.md says how it was chosen.
MOST_RATIO = 0.7
OnPhrases = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoredPhrase:
    """A phrase, and how well it explains the pairs.

    Attributes:
        phrase: the instruction.
        ratio: the flow loss of the after pictures with it over that without words. 1 says nothing;
            the smaller the better.
    """

    phrase: str
    ratio: float


@dataclass(frozen=True)
class FoundWords:
    """What a vocabulary has to say of some pairs.

    Attributes:
        phrases: the best of those that were asked, best first; never empty.
        none: whether not even the best explains the pairs.
        asked: how many phrases were asked.
    """

    phrases: tuple[ScoredPhrase, ...]
    none: bool
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
    on_phrase: OnPhrases = lambda done, total: None,
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
        BaseModelError: the model takes no references, or there is no such encoder.
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
    guidance: float = GUIDANCE,
    seed: int = 0,
    on_phrase: OnPhrases = lambda done, total: None,
) -> FoundWords:
    """:func:`find_words` for pairs that are encoded already.

    Args:
        model: an edit model.
        latents: of the pairs, at least one.
        vocabulary: the phrases.
        guidance: distilled guidance.
        seed: of the noises; each pair has its own.
        on_phrase: called with how many questions were asked, of how many.

    Raises:
        BaseModelError: the model takes no references.
        UsageError: LoRAs are attached to the model.
    """
    require_edit_model(model)
    require_bare(model.transformer)
    conditions = prompt_conditions(model, ["", *vocabulary])
    finalists = min(FINALISTS, len(vocabulary))
    total, done = (2 + len(vocabulary) + finalists) * len(latents), 0

    def losses(texts: Sequence[str], levels: Sequence[float]) -> torch.Tensor:
        nonlocal done
        found = torch.zeros(len(texts), dtype=torch.float64)
        for number, pair in enumerate(latents):
            own = derive_seed(seed, "words", number)
            for start in range(0, len(texts), ROWS):
                part = [Asked(text, pair.x_a) for text in texts[start : start + ROWS]]
                found[start : start + ROWS] += pair_losses(
                    model, pair, part, conditions, levels, guidance=guidance, seed=own
                ).sum(dim=1)
                done += len(part)
                on_phrase(done, total)
        return found

    texts = ["", *vocabulary]
    first = losses(texts, [FIRST])
    kept = [0, *(1 + first[1:].argsort(stable=True)[:finalists]).tolist()]
    sums = first[kept] + losses([texts[k] for k in kept], [s for s in LEVELS if s != FIRST])
    ratios = (sums[1:] / sums[0]).tolist()
    return judged({texts[k]: r for k, r in zip(kept[1:], ratios, strict=True)}, len(vocabulary))


def judged(ratios: Mapping[str, float], asked: int) -> FoundWords:
    """Phrases with their ratios, best first, and whether the best explains the pairs.

    Args:
        ratios: of the phrases that were asked at all noise levels.
        asked: how many phrases were asked in all.
    """
    scored = sorted((ratio, phrase) for phrase, ratio in ratios.items())
    phrases = tuple(ScoredPhrase(phrase, ratio) for ratio, phrase in scored)
    return FoundWords(phrases, phrases[0].ratio > MOST_RATIO, asked)


def require_edit_model(model: FlowModel) -> None:
    """Refuse a model that cannot look at the before picture.

    Raises:
        BaseModelError: naming it.
    """
    if not model.takes_references:
        raise BaseModelError(
            f"{model.name} cannot be asked for the words of a change: it sees no picture beside "
            "the noisy one",
            expected="an edit model, such as mini-kontext or FLUX.1-Kontext-dev",
            next_step="Use --base mini-kontext",
        )
