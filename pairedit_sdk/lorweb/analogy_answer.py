"""An analogy a : a′ :: b answered by own edits, words, or the basis that comes with the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pairedit_sdk.basis.answering import AnalogyAnswer, Learned, answered
from pairedit_sdk.basis.placing import check_change
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lorweb.shown import default_lorweb, shown_change
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.words.finding import find_words
from pairedit_sdk.words.vocabulary import leaves_open

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.basis.mix import EditMix
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.words.finding import FoundWords
    from pairedit_sdk.words.vocabulary import Phrases

#: Pictures a, a′ and b of an analogy.
Three = tuple["Image.Image", "Image.Image", "Image.Image"]


@holding
def answer_analogy(
    model: FlowModel,
    route: EditMix | None,
    pictures: Three,
    *,
    scale: float = 1.0,
    force: bool = False,
    words: bool = True,
    vocabulary: Phrases | None = None,
    seed: int = 0,
) -> AnalogyAnswer:
    """What an analogy means, as ``pairedit analogy`` finds it.

    Own edits answer what they know. Else an edit model is asked for words; else the LoRWeB basis
    that comes with the model answers, if one does.

    Args:
        model: that the answer is for.
        route: what :meth:`.EditBasis.route` found for it, or ``None`` without own edits.
        pictures: a, a′ and b.
        scale: of the whole answer.
        force: answer with the nearest edits even if none makes this change.
        words: whether an edit model is asked for words.
        vocabulary: the phrases; ``None`` is the model's own.
        seed: of the noises by which words are found.

    Returns:
        The answer; its ``require`` gives what is to be applied.

    Raises:
        UsageError: nothing changes from a to a′.
        InputError: the vocabulary cannot be read.
    """

    def ask() -> FoundWords:
        return find_words(model, [pictures[:2]], vocabulary, seed=seed)

    basis = default_lorweb(model.name)
    if basis is not None and route is None:
        require_change(basis, pictures)
    learned = None if basis is None else as_learned(basis, lambda: model, pictures)
    can = words and model.takes_references
    return answered(route, scale, force=force, learned=learned, ask=ask if can else None)


def as_learned(
    basis: LoRWeBBasis, load: Callable[[], FlowModel], pictures: Three, *, chosen: bool = False
) -> Learned:
    """A LoRWeB basis as one that may answer an analogy.

    Args:
        basis: of the layout "sequence" or "alone".
        load: gives the model; called where the basis answers.
        pictures: a, a′ and b.
        chosen: whether somebody chose this basis. Then it answers whatever words are found.
    """

    def before_words(phrase: str) -> bool:
        return chosen or leaves_open(basis.info.architecture, phrase)

    return Learned(
        lambda prompt: shown_change(load(), basis, *pictures, name=basis.info.name, prompt=prompt),
        before_words,
    )


def require_change(basis: LoRWeBBasis, pictures: Three) -> None:
    """Refuse an analogy in which nothing changes, where no own edits are there to do it.

    Raises:
        UsageError: nothing does, as the basis's image encoder sees it.
    """
    encoder = load_encoder(basis.info.encoder)
    before, after = encoder.embed(list(pictures[:2]))
    check_change(encoder.name, before, after)
