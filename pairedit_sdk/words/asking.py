"""The questions that are put to a model about pairs: which phrase explains them?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.models.prompts import prompt_conditions
from pairedit_sdk.pairs.latents import PairLatents
from pairedit_sdk.words.losses import FINALISTS, ROWS, SHORTLIST, Asked, pair_losses
from pairedit_sdk.words.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

#: Called with how many questions were asked, of how many.
OnPhrases = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """A text, and whether the model looks at the after picture in the place of the before."""

    text: str
    sees_after: bool = False


#: What explains nothing of a change, and what shows all of it.
BOUNDS = (Question(""), Question("", sees_after=True))


def best_of(
    questions: Sequence[Question], losses: torch.Tensor, count: int
) -> tuple[list[Question], torch.Tensor]:
    """The bounds, which come first, and the ``count`` phrases with the smallest losses [N]."""
    bounds = len(BOUNDS)
    order = losses[bounds:].argsort(stable=True)[:count] + bounds
    kept = [*range(bounds), *order.tolist()]
    return [questions[k] for k in kept], losses[kept]


class Asking:
    """The questions that are put to a model about some pairs.

    Args:
        model: an edit model.
        latents: of the pairs; each has noises of its own.
        vocabulary: the phrases.
        guidance: distilled guidance.
        seed: of the noises.
        on_phrase: called with how many questions were asked, of how many.
    """

    def __init__(
        self,
        model: FlowModel,
        latents: Sequence[PairLatents],
        vocabulary: Vocabulary,
        guidance: float,
        seed: int,
        on_phrase: OnPhrases | None,
    ) -> None:
        self.model, self.latents, self.guidance, self.seed = model, latents, guidance, seed
        self.conditions = prompt_conditions(model, ["", *vocabulary])
        self.on_phrase, self.done = on_phrase, 0
        pairs, phrases, bounds = len(latents), len(vocabulary), len(BOUNDS)
        finals = min(FINALISTS, phrases)
        others = (bounds + min(SHORTLIST, phrases)) * (pairs - 1)
        self.total = bounds + phrases + others + (bounds + 2 * finals) * pairs

    def losses(
        self,
        questions: Sequence[Question],
        levels: Sequence[float],
        pairs: range,
        *,
        of_before: bool = False,
    ) -> torch.Tensor:
        """L of each question, summed over the pairs of these numbers, float64 [N].

        Args:
            questions: what is asked.
            levels: the noise levels.
            pairs: their numbers.
            of_before: ask for L of the before pictures.
        """
        found = torch.zeros(len(questions), dtype=torch.float64)
        for number in pairs:
            pair = self.latents[number]
            aim = PairLatents(pair.name, pair.x_b, pair.x_a) if of_before else pair
            own = derive_seed(self.seed, "words", number)
            for start in range(0, len(questions), ROWS):
                part = questions[start : start + ROWS]
                asked = [Asked(q.text, pair.x_b if q.sees_after else pair.x_a) for q in part]
                found[start : start + ROWS] += pair_losses(
                    self.model,
                    aim,
                    asked,
                    self.conditions,
                    levels,
                    guidance=self.guidance,
                    seed=own,
                ).sum(dim=1)
                self.done += len(part)
                if self.on_phrase is not None:
                    self.on_phrase(self.done, self.total)
        return found
