"""Where a pair changes, drawn over its after picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pairedit_sdk.pairs.pair_report import CHANGED_LEVELS, difference

if TYPE_CHECKING:
    from pairedit_sdk.pairs.pair_set import Pair

#: Colour of what changes, and how much of it covers the picture.
TINT, COVER = (255, 0, 200), 0.45


def changed_picture(pair: Pair) -> Image.Image:
    """The after picture with a translucent tint over what :func:`.check_pairs` counts as changed.

    Args:
        pair: two RGB pictures of the same size.

    Returns:
        RGB, of the pair's size. What did not change is exactly as in the after picture, but for a
        pixel or so along the edge of what did.
    """
    changed = difference(pair.before, pair.after) > CHANGED_LEVELS
    cover = Image.fromarray((changed * round(255 * COVER)).astype(np.uint8))
    cover = cover.resize(pair.after.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", pair.after.size, TINT), pair.after, cover)
