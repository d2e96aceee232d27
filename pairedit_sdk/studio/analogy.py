"""What an analogy a : a′ :: b means: own edits, words, a learned basis, or nothing here."""

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
    from pairedit_sdk.editing.told import SHOWN_BY
    from pairedit_sdk.lorweb.analogy_answer import as_learned, require_change
    from pairedit_sdk.lorweb.shown import default_lorweb
    from pairedit_sdk.models.kinds import is_edit_model
    from pairedit_sdk.words.finding import find_words

    web = default_lorweb(engine.model_name) if request.method in SHOWN_BY else None

    def ask() -> FoundWords:
        return find_words(
            engine.model, [pictures[:2]], request.vocabulary, seed=request.seed, on_phrase=hook
        )

    basis = EditBasis.open(engine.library)
    route = None
    if web is None or basis.index.names:
        route = basis.route(*pictures, count=request.count)
    else:
        require_change(web, pictures)
    learned = None if web is None else as_learned(web, lambda: engine.model, pictures)
    asks = request.find_words and request.words and request.method == "flowedit"
    can = asks and is_edit_model(engine.model_name)
    return answered(
        route, request.scale, force=request.force, learned=learned, ask=ask if can else None
    )


def parts(answer: AnalogyAnswer) -> tuple[dict[str, float], dict[str, float]]:
    """The scales of the edits by name, and of the instructions by phrase, that answer it. A shown
    change is neither."""
    both = [] if answer.stack is None else answer.stack.parts
    edits = {edit.name: scale for edit, scale in both if edit.layers}
    return edits, {edit.name: scale for edit, scale in both if edit.is_instruction}


def facts(answer: AnalogyAnswer) -> dict[str, Any]:
    """The answer as JSON."""
    edits, instructions = parts(answer)
    route = answer.route
    return {
        "known": answer.known,
        "sentence": answer.sentence,
        "similarities": {} if route is None else route.similarities,
        "thresholds": {} if route is None else route.thresholds,
        "edits": [{"name": name, "scale": scale} for name, scale in edits.items()],
        "instructions": [{"phrase": said, "scale": scale} for said, scale in instructions.items()],
        "lorweb": None if answer.shown is None else answer.shown.name,
        "prompt": "" if answer.shown is None else answer.shown.prompt,
    }
