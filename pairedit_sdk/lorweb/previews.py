"""The picture of a basis in training: some of its analogies, and how it answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pairedit_sdk.images.image import resized
from pairedit_sdk.images.plots import collage

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.lorweb.rows import AnalogyRows

#: Analogies in a preview.
PREVIEWED = 6


def preview(rows: AnalogyRows, made: Callable[[int], Image.Image]) -> Image.Image:
    """Some of the analogies, evenly spread, with what ``made`` draws of each: a row for one.

    Args:
        rows: the analogies of the training.
        made: b′ of the analogy of this number as the model now draws it.
    """
    count = min(PREVIEWED, len(rows))
    shown = []
    for index in (k * len(rows) // count for k in range(count)):
        analogy, drawn = rows.analogies[index], made(index)
        sides = (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime)
        shown.append([*(resized(picture, drawn.size) for picture in sides), drawn])
    return collage(shown, ["a", "a'", "b", "b'", "made"])
