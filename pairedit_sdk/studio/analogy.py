"""What an analogy a : a′ :: b means: edits of the basis, words, or nothing here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.basis.mix import EditMix
    from pairedit_sdk.editing.hooks import StepHook
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.studio.engine import Engine
    from pairedit_sdk.studio.requests import AnalogyRequest
    from pairedit_sdk.words.finding import FoundWords


@dataclass(frozen=True)
class Answer:
    """What an analogy was found to mean.

    Attributes:
        route: the edits of the basis that make this change, or the nearest ones.
        found: the words that were found where no edit makes it.
        stack: what answers it; ``None`` if nothing does.
        sentence: the same in words.
    """

    route: EditMix
    found: FoundWords | None
    stack: EditStack | None
    sentence: str

    def require(self) -> EditStack:
        """What answers it.

        Raises:
            InputError: nothing does.
        """
        if self.stack is None:
            raise InputError(
                self.sentence.rstrip("."),
                next_step="Train an edit on this pair and place it in the basis, or mix what is "
                "nearest (force)",
            )
        return self.stack

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        parts = [] if self.stack is None else self.stack.parts
        return {
            "known": self.route.known,
            "sentence": self.sentence,
            "similarities": self.route.similarities,
            "thresholds": self.route.thresholds,
            "edits": [{"name": e.name, "scale": s} for e, s in parts if e.layers],
            "instructions": [{"phrase": e.name, "scale": s} for e, s in parts if not e.layers],
        }


def answer(
    engine: Engine,
    pictures: tuple[Image.Image, Image.Image, Image.Image],
    request: AnalogyRequest,
    hook: StepHook | None = None,
) -> Answer:
    """What the analogy means.

    Args:
        engine: whose library has the basis; its model is asked for words.
        pictures: a, a′ and b.
        request: the rest of the question.
        hook: called with (done, total) phrases, where words are asked for.

    Raises:
        UsageError: the basis is empty.
        InputError: the vocabulary cannot be read.
    """
    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.models.kinds import is_edit_model
    from pairedit_sdk.words.finding import WORDS_ALONE, find_words

    a, a_prime, b = pictures
    route = EditBasis.open(engine.library).route(a, a_prime, b, count=request.count)
    if route.known or request.force:
        return Answer(route, None, route @ request.scale, route.sentence)
    asks = request.find_words and request.words and request.method == "flowedit"
    if not asks or not is_edit_model(engine.model_name):
        return Answer(route, None, None, route.sentence)
    found = find_words(
        engine.model, [(a, a_prime)], request.vocabulary, seed=request.seed, on_phrase=hook
    )
    if found.none:
        said = f"{route.sentence.rstrip('.')}, and words do not say it either: {found.sentence}"
        return Answer(route, found, None, said)
    stack = Instruction(found.best.phrase) @ (WORDS_ALONE * request.scale)
    return Answer(route, found, stack, f"{route.sentence} {found.sentence}")
