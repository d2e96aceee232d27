"""Whether a model suits the pictures, told by its autoencoder's round trip before any edit.

The built-in models know drawn faces alone. On photographs they run without an error and what comes
out is smeared: their autoencoder keeps strong outlines, and loses what is fine.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from pairedit_sdk.models.folders import BUILT_IN, PHOTO_MODEL

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")

#: Fine detail beyond this, of −1 … 1, is a strong outline, which survives in any picture.
_FINE = 0.06
#: More than this share of the fine detail lost is unlike what the model knows. The built-in model
#: loses 0.24 to 0.59 of drawn faces at 128 to 256 pixels, 0.63 of such a face kept as a poor JPEG,
#: 0.73 to 0.88 of photographs, 0.8 to 1.3 of their paintings and ink drawings.
LIMIT = 0.68
#: So many pictures tell enough; each has to be decoded.
_ENOUGH = 3


def round_trip_error(images: torch.Tensor, decoded: torch.Tensor) -> float:
    """The share of the fine detail that is lost, 0 for equal pictures, 1 if nothing is kept.

    Args:
        images: [B, 3, H, W] in −1 … 1.
        decoded: the same pictures encoded and decoded.
    """
    fine, kept = _fine(images.float()), _fine(decoded.float().to(images.device))
    # Half a level of 255 everywhere is no detail.
    there = (fine**2).mean() + (1 / 255) ** 2
    return float(((fine - kept) ** 2).mean() / there)


def warn_if_unlike(
    model: FlowModel, images: Iterable[torch.Tensor], latents: Iterable[torch.Tensor]
) -> bool:
    """Say, once in a process, that a built-in model does not know such pictures.

    Only built-in models are asked, by their names: they alone are taught on drawn faces, and
    another model's decoder may take seconds.

    Args:
        model: in use.
        images: each [3, H, W] or [1, 3, H, W] in −1 … 1, of any sizes; a batch is fine too.
        latents: of each, as the model encodes it, [C, h, w] or [1, C, h, w].

    Returns:
        Whether they are unlike what it knows, said now or before.
    """
    if model.name not in BUILT_IN:
        return False
    several = [
        (x.reshape(-1, *x.shape[-3:]), z.reshape(-1, *z.shape[-3:]))
        for x, z in islice(zip(images, latents, strict=True), _ENOUGH)
    ]
    return warn_if_lost(model, [(x, model.decode(z)) for x, z in several])


def warn_if_lost(model: FlowModel, trips: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    """:func:`warn_if_unlike` for pictures that have been decoded already.

    Args:
        model: in use.
        trips: pictures [B, 3, H, W] in −1 … 1, each with what came back of it.
    """
    if model.name not in BUILT_IN or not trips:
        return False
    lost = statistics.median(round_trip_error(x, decoded) for x, decoded in trips)
    if lost <= LIMIT:
        return False
    _say(model.name)
    return True


@lru_cache  # so that the same model's pictures are complained of once
def _say(name: str) -> None:
    _log.warning(
        "The built-in model %s knows drawn faces alone, and these pictures are unlike them: edits "
        "will look smeared and broken. Use another model for photographs, such as --base %s.",
        name,
        PHOTO_MODEL,
    )


def _fine(images: torch.Tensor) -> torch.Tensor:
    return (images - F.avg_pool2d(images, 3, 1, 1)).clamp(-_FINE, _FINE)
