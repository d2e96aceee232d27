"""Masks: where an edit may act. Everywhere else the original's pixels stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.inputs import ImageLike, as_photo

if TYPE_CHECKING:
    import numpy as np
    import torch

#: A mask of black and white alone is softened inwards, over this share of the shorter side.
FEATHER = 0.01
#: How far a mask's proportions may be off the picture's.
PROPORTION = 0.03


def mask_weights(mask: ImageLike, size: tuple[int, int]) -> np.ndarray:
    """A mask at a picture's size.

    A mask of black and white alone is feathered inwards: the weight rises from 0 at its edge, so
    that black stays untouched. Grey levels are taken as they are, as whoever drew them meant; at
    another size than the picture's they are interpolated, and black stays black there too.

    Args:
        mask: a picture of any size, white where an edit may act. Transparency is black.
        size: the picture's width and height in pixels.

    Returns:
        uint8 [H, W], 0 where the original stays, 255 where the edit acts in full.

    Raises:
        UsageError: the mask is black all over, has other proportions than the picture, or its white
            parts are too small or too dark to be seen at the picture's size.
        InputError: it cannot be read.
    """
    import numpy as np

    photo = as_photo(mask, "The mask")
    off = (photo.width * size[1]) / (photo.height * size[0])
    if abs(off - 1) > PROPORTION:
        raise UsageError(
            "The mask has other proportions than the picture",
            expected=f"those of {size[0]} x {size[1]} pixels",
            got=f"{photo.width} x {photo.height}",
            next_step="Draw it on the picture itself, at any size",
        )
    # Without its transparency: a model would see that on white.
    grey = np.asarray(replace(photo, alpha=None).seen().convert("L"))
    if photo.alpha is not None:
        share = photo.alpha.astype(np.float32) / np.iinfo(photo.alpha.dtype).max
        grey = np.rint(grey * share).astype(np.uint8)
    if not grey.any():
        raise UsageError(
            "The mask is black all over, so that nothing may change",
            expected="white where the edit may act",
            next_step="Invert it, or leave it out",
        )
    weights = _fitted(Image.fromarray(grey), size)
    if not weights.any():
        raise UsageError(
            "The mask's white parts are too small or too dark, so that nothing may change",
            expected=f"white where the edit may act, visible at {size[0]} x {size[1]} pixels",
            got=f"{photo.width} x {photo.height} pixels, of which nothing white is left there",
            next_step="Make those parts larger, or white",
        )
    return weights


def _fitted(mask: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The weights of a mask of mode L at the picture's size."""
    import numpy as np

    grey = np.asarray(mask)
    if ((grey > 8) & (grey < 247)).mean() > 0.001:  # drawn in grey levels
        black = np.asarray(mask.resize(size, Image.Resampling.NEAREST)) == 0
        levels = mask.resize(size, Image.Resampling.BILINEAR)
        return np.where(black, 0, np.asarray(levels)).astype(np.uint8)
    mask = mask.point(lambda level: 255 if level > 127 else 0)
    return _feathered(mask.resize(size, Image.Resampling.NEAREST))


def _feathered(hard: Image.Image) -> np.ndarray:
    """A mask of 0 and 255 with a soft edge that lies inside of it. The edge is narrower where a
    small spot would vanish otherwise."""
    import numpy as np

    inside = np.asarray(hard) > 0
    width = FEATHER * min(hard.size)
    while width > 0.25 and inside.any():
        soft = np.asarray(hard.filter(ImageFilter.GaussianBlur(width)), np.int16)
        # The blur is half at an edge: what is above half lies inside.
        weights = np.where(inside, np.clip(2 * soft - 255, 0, 255), 0).astype(np.uint8)
        if weights[inside].mean() > 127:
            return weights
        width /= 2
    return np.where(inside, 255, 0).astype(np.uint8)


def seen_weights(weights: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Where a mask allows any change, at the size that the model sees.

    Args:
        weights: uint8 [H, W].
        size: width and height.

    Returns:
        float32 [1, 1, h, w] of 0 and 1, a pixel larger all around.
    """
    import numpy as np
    import torch
    import torch.nn.functional as F

    some = Image.fromarray(np.where(weights > 0, 255, 0).astype(np.uint8))
    small = some.resize(size, Image.Resampling.BOX)
    found = torch.from_numpy(np.array(small, dtype=np.float32))[None, None]
    return F.max_pool2d((found > 0).float(), 3, stride=1, padding=1)
