"""A small picture of what an edit does, to be kept beside its file."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.images.plots import collage

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import PairSet

#: Pairs in a preview, and the longest side of a picture in it, pixels.
PAIRS, LARGEST = 3, 256


def preview(model: FlowModel, edit: Edit, pairs: PairSet) -> Image.Image:
    """Before, what the edit makes of it at scale 1, and after; a row for each pair."""
    rows = [
        [pair.before, edit_image(model, pair.before, edit @ 1.0), pair.after]
        for pair in islice(pairs, PAIRS)
    ]
    return collage(rows, ["before", edit.name, "after"], largest=LARGEST)
