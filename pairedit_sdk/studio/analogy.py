"""What an analogy a : a′ :: b means: edits of the basis, words, or nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.basis.answering import AnalogyAnswer
    from pairedit_sdk.editing.hooks import StepHook
    from pairedit_sdk.studio.engine import Engine
    from pairedit_sdk.studio.requests import AnalogyRequest
    from pairedit_sdk.words.finding import FoundWords

#: What to do about an analogy that nothing answers.
NEXT_STEP = "Train an edit on this pair and place it in the basis, or mix what is nearest"


def answer(
    engine: Engine,
    pictures: tuple[Image.Image, Image.Image, Image.Image],
    request: AnalogyRequest,
    hook: StepHook | None = None,
) -> AnalogyAnswer:
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
    from pairedit_sdk.basis.answering import answered
    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.models.kinds import is_edit_model
    from pairedit_sdk.words.finding import find_words

    a, a_prime, b = pictures

    def ask() -> FoundWords:
        return find_words(
            engine.model, [(a, a_prime)], request.vocabulary, seed=request.seed, on_phrase=hook
        )

    route = EditBasis.open(engine.library).route(a, a_prime, b, count=request.count)
    asks = request.find_words and request.words and request.method == "flowedit"
    can = asks and is_edit_model(engine.model_name)
    return answered(route, request.scale, force=request.force, ask=ask if can else None)


def parts(answer: AnalogyAnswer) -> tuple[dict[str, float], dict[str, float]]:
    """The scales of the edits by name, and of the instructions by phrase, that answer it."""
    both = [] if answer.stack is None else answer.stack.parts
    return {e.name: s for e, s in both if e.layers}, {e.name: s for e, s in both if not e.layers}


def facts(answer: AnalogyAnswer) -> dict[str, Any]:
    """The answer as JSON."""
    edits, instructions = parts(answer)
    return {
        "known": answer.route.known,
        "sentence": answer.sentence,
        "similarities": answer.route.similarities,
        "thresholds": answer.route.thresholds,
        "edits": [{"name": name, "scale": scale} for name, scale in edits.items()],
        "instructions": [{"phrase": said, "scale": scale} for said, scale in instructions.items()],
    }
