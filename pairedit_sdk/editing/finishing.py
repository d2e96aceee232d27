"""From what the model made of a photograph to the photograph, edited.

The change is carried over to the original (:mod:`pairedit_sdk.editing.full_size`) in bands of rows,
in the photograph's own colour space and depth, under a mask if there is one. What is not changed
comes out bit for bit as it went in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.full_size import BAND, DetailTransfer, significant_change, structure_gate
from pairedit_sdk.editing.masks import seen_weights
from pairedit_sdk.images.image import resized, to_image
from pairedit_sdk.images.metrics import gaussian_blur
from pairedit_sdk.images.photo import Photo

if TYPE_CHECKING:
    import numpy as np

    from pairedit_sdk.editing.region import Box

#: Dx and Dz, [1, 3, h, w] in sRGB and −1 … 1; one tensor where nothing was done.
Change = tuple[torch.Tensor, torch.Tensor]
#: A band of the edited picture, from the same rows of the original and their first row's number.
Rows = Callable[[torch.Tensor, int], torch.Tensor]

#: A change of colour beyond this, in −1 … 1 and over a few of the model's pixels, colours a grey
#: picture: about ten of 255 levels. The autoencoder's own tint of grey stays below.
COLOURED = 0.08


def finished(photo: Photo, change: Change, detail: str, weights: np.ndarray | None) -> Photo:
    """The photograph with what the model made of it.

    Args:
        photo: the original.
        change: Dx and Dz, of any size.
        detail: "original" or "off", see :class:`pairedit_sdk.editing.options.EditOptions`.
        weights: uint8 [H, W], how much of the change each pixel takes; ``None`` is all of it.

    Returns:
        The very same photograph where nothing was done and its detail is kept.
    """
    before, after = change
    keeps = detail == "original"
    if keeps and after is before:
        return photo
    if weights is not None:
        after = within(weights, before, after)
    if keeps:
        after = significant_change(before, after)
    if photo.pixels.shape[2] == 1 and is_coloured(before, after):
        photo = photo.as_colour()
    rows = _transferred(photo, before, after) if keeps else _decoded(photo, after)
    return photo.with_pixels(_levels(photo, rows, weights))


def within(weights: np.ndarray, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Dz where a mask allows a change, and Dx elsewhere, so that a change outside of the mask is
    not taken for the strongest one."""
    height, width = before.shape[2:]
    return torch.lerp(before, after, seen_weights(weights, (width, height)))


def combined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The product of two masks, uint8 [H, W]."""
    import numpy as np

    product = one.astype(np.uint16) * other
    return np.asarray((product + 127) // 255, dtype=np.uint8)


def is_coloured(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether the change from Dx to Dz is one of colour, and not of grey alone."""
    change = after - before
    own = gaussian_blur(change - change.mean(dim=1, keepdim=True), 2.0)
    return bool(own.abs().max() > COLOURED)


def cropped(photo: Photo, box: Box) -> Photo:
    """A part of a photograph, with its colour space and without what its file says."""
    return Photo(
        photo.pixels[box.rows, box.columns],
        None if photo.alpha is None else photo.alpha[box.rows, box.columns],
        photo.profile,
    )


def pasted(photo: Photo, part: Photo, box: Box) -> Photo:
    """The photograph with a part in the place of what was there."""
    if part.pixels.shape[2] != photo.pixels.shape[2]:
        photo = photo.as_colour()
    pixels = photo.pixels.copy()
    pixels[box.rows, box.columns] = part.pixels
    return replace(photo, pixels=pixels)


def _transferred(photo: Photo, before: torch.Tensor, after: torch.Tensor) -> Rows:
    """The edit on the original's own detail."""
    gate = structure_gate(before, after)
    own = photo.in_own_colours(torch.cat([before, after]))
    return DetailTransfer(own[:1], own[1:], (photo.height, photo.width), gate=gate).rows


def _decoded(photo: Photo, after: torch.Tensor) -> Rows:
    """The picture as the autoencoder makes it, enlarged."""
    if photo.profile is None and photo.pixels.shape[2] == 3:
        enlarged = Photo.of(resized(to_image(after), photo.size))
    else:
        own = photo.in_own_colours(after)
        grey = own.shape[1] == 1
        picture = resized(to_image(own.expand(-1, 3, -1, -1)), photo.size)
        enlarged = Photo.of(picture.getchannel(0) if grey else picture)
    return lambda original, top: enlarged.rows(top, top + original.shape[1])


def _levels(photo: Photo, rows: Rows, weights: np.ndarray | None) -> np.ndarray:
    """All rows as the photograph's pixels are."""
    import numpy as np

    top = float(np.iinfo(photo.pixels.dtype).max)
    pixels = np.empty_like(photo.pixels)
    for start in range(0, photo.height, BAND):
        original = photo.rows(start, min(start + BAND, photo.height))
        band = rows(original, start)
        if weights is not None:
            share = torch.from_numpy(weights[start : start + BAND].astype(np.float32) / 255)
            band = torch.lerp(original, band, share)
        levels = ((band + 1) * (top / 2)).round_().clamp_(0, top).permute(1, 2, 0)
        pixels[start : start + BAND] = levels.numpy().astype(pixels.dtype)
    return pixels
