"""Scale limit: no picture is changed more than an edit's pairs show.

An edit moves one picture further than another. A frozen image encoder sees how far: with k the
mean direction of E(a′) − E(a) over the pairs, of length 1, and t the mean of (E(a′) − E(a)) · k,
r = (E(x′) − E(x)) · k / t is what the edit does to a picture x at scale 1, as a share of what the
pairs show. The scale on this picture is limited to min(1, 1 / r) of what is asked for.
:mod:`pairedit_sdk.editing.flowedit` says when the encoder looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from pairedit_sdk.edits.metadata import EditDirection
from pairedit_sdk.errors import BaseModelError, EditError
from pairedit_sdk.images.image import to_image
from pairedit_sdk.models.image_encoder import ImageEncoder, encoder_for, load_encoder

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents

#: As little of an edit as is ever left.
LOWEST = 1 / 3
TRAIN_WITHOUT = "--set editing.limit_scale=false"
#: Below this, t is not told from nothing. Embeddings have length 1.
LEAST = 1e-3

#: An encoder is some seconds' loading, and every picture needs it.
_loaded = lru_cache(maxsize=1)(load_encoder)


def encoder_of(model: FlowModel, without: str) -> ImageEncoder:
    """The encoder that goes with the model. What an edit's file calls it is never loaded: that may
    be a folder of another machine, or anything at all.

    Args:
        model: in use.
        without: how to do without a scale limit.

    Raises:
        BaseModelError: it cannot be loaded.
    """
    name = encoder_for(model.name)
    try:
        return _loaded(name)
    except BaseModelError as error:
        raise BaseModelError(
            f"The scale limit needs the image encoder {name}, which cannot be loaded",
            next_step=f"Download it first, or do without ({without})",
        ) from error


def shown_change(model: FlowModel, latents: Sequence[PairLatents]) -> EditDirection | None:
    """The direction and magnitude of these pairs, as the model's encoder sees their round trips.

    Returns:
        ``None`` if it sees no change that the pairs have in common.

    Raises:
        BaseModelError: the encoder cannot be loaded.
    """
    encoder = encoder_of(model, TRAIN_WITHOUT)
    before, after = (
        torch.cat([_seen(model, encoder, x) for x in side])
        for side in ([pair.x_a for pair in latents], [pair.x_b for pair in latents])
    )
    moved = after - before
    direction = F.normalize(F.normalize(moved, dim=-1).mean(dim=0), dim=0)
    size = float((moved @ direction).mean())
    if not size > LEAST:
        return None
    name = encoder_for(model.name)
    return EditDirection([round(value, 5) for value in direction.tolist()], round(size, 6), name)


def scale_limits(
    model: FlowModel, changes: Sequence[EditDirection], x: torch.Tensor, ends: torch.Tensor
) -> list[torch.Tensor]:
    """The limit of each picture under each edit: 1 / r, at most 1 and at least :data:`LOWEST`.

    An encoder sees less of a change on some pictures than on the pairs also where it is whole, so
    nothing is added; what is too much is taken back.

    Args:
        model: whose autoencoder is used.
        changes: what the pairs of each of the E edits show; one with its size negated for an
            edit that is done backwards.
        x: latents [B, C, h, w].
        ends: what each edit makes of them at scale 1 (or −1), [E, B, C, h, w].

    Returns:
        For each edit float32 [B], on the device of x.

    Raises:
        BaseModelError: the encoder cannot be loaded.
        EditError: it is not the one that saw the pairs.
    """
    encoder = encoder_of(model, "--no-limit-scale")
    before = _seen(model, encoder, x)
    return [
        _limits(change, before, _seen(model, encoder, end)).to(x.device)
        for change, end in zip(changes, ends, strict=True)
    ]


def _limits(change: EditDirection, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Of one edit, from embeddings [B, D]."""
    if before.shape[1] != len(change.direction):
        raise EditError(
            f"The image encoder {change.encoder} is not the one that this edit was learned with",
            expected=f"embeddings of {len(change.direction)} numbers",
            got=f"{before.shape[1]}",
            next_step="Train the edit again, or use it without a scale limit (--no-limit-scale)",
        )
    shown = (after - before) @ torch.tensor(change.direction) / change.magnitude
    return 1 / shown.clamp(min=1, max=1 / LOWEST)  # a picture may also move the other way


def _seen(model: FlowModel, encoder: ImageEncoder, z: torch.Tensor) -> torch.Tensor:
    """Embeddings of latents [B, C, h, w], float32 [B, D] on the CPU."""
    with torch.no_grad():  # one by one, as decoding takes more memory than all the rest
        return encoder.embed([to_image(model.decode(row[None])) for row in z])
