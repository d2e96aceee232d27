"""Answers to analogies that nothing is trained on analogies for: by words, and by own edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.builtin.faces.analogies import DrawnAnalogy, drawn_analogy
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.images.image import to_image, to_tensor
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.training.config import load_recipe
from pairedit_sdk.training.trainer import train
from pairedit_sdk.words.finding import WORDS_ALONE, find_words

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel

#: Pairs that each own edit is learned from.
PAIRS = 3

Answered = Callable[[Analogy], "Image.Image"]


def pictures_of(drawn: DrawnAnalogy) -> Analogy:
    """The drawn analogy as pictures."""
    return Analogy(
        drawn.a.draw(), drawn.a_prime.draw(), drawn.b.draw(), drawn.b_prime.draw(), drawn.caption
    )


def by_found_words(model: FlowModel, seed: int) -> Answered:
    """FlowEdit by the words that are found from a and a′; b itself where none explains them."""

    def answered(asked: Analogy) -> Image.Image:
        words = find_words(model, [(asked.a, asked.a_prime)], seed=seed).edit_words(WORDS_ALONE)
        x = model.encode(to_tensor(asked.b)).float()
        if words is not None:
            x = edit_latents(model, x, Instruction(words.phrase) @ words.scale, seed=seed)
        return to_image(model.decode(x))

    return answered


def own_edits(
    model: FlowModel, changes: Sequence[tuple[str, str]], recipe: str, seed: int, folder: str
) -> Answered:
    """An edit basis of these changes, each learned by the recipe from three pairs."""
    basis = EditBasis.open(folder)
    config = load_recipe(recipe)
    config = config.with_values(seed=seed, checkpoint_every=0, preview_every=0)
    for change in changes:
        shown = [pictures_of(drawn_analogy(change, i, f"own-{seed}")) for i in range(PAIRS)]
        pairs = PairSet.from_images([(analogy.a, analogy.a_prime) for analogy in shown])
        basis.place(train(model, pairs, config, name="-".join(change)), pairs)

    def answered(asked: Analogy) -> Image.Image:
        route = basis.route(asked.a, asked.a_prime, asked.b)
        x = model.encode(to_tensor(asked.b)).float()
        return to_image(model.decode(edit_latents(model, x, route, seed=seed)))

    return answered
