"""Edits on photographs: at their own size, with everything that an edit does not concern kept.

The model sees a photograph small. What it makes of it is carried over to the original, see
:mod:`pairedit_sdk.editing.finishing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.editing.edit_latents import sweep_latents
from pairedit_sdk.editing.finishing import Change, combined, cropped, finished, pasted, within
from pairedit_sdk.editing.hooks import StepHook, part_of
from pairedit_sdk.editing.masks import mask_weights
from pairedit_sdk.editing.region import as_box, changed_box, fading, in_context
from pairedit_sdk.editing.resolution import warn_if_far_above
from pairedit_sdk.editing.words import words_for
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.inputs import as_stack
from pairedit_sdk.images.image import fit_size, to_tensor
from pairedit_sdk.models.round_trip import warn_if_lost
from pairedit_sdk.models.tokens import TOKENS, token_count

if TYPE_CHECKING:
    from pairedit_sdk.editing.options import ResolvedOptions
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.models.protocol import FlowModel


def seen_size(
    model: FlowModel, size: tuple[int, int], edits: Edit | EditStack, resolution: int | None = None
) -> tuple[int, int]:
    """The width and height in pixels at which the model sees a picture of ``size``.

    Args:
        model: the model.
        size: the picture's width and height.
        edits: what is to be applied.
        resolution: see :class:`pairedit_sdk.editing.options.EditOptions`.
    """
    resolution = resolution or own_resolution(model, edits)
    warn_if_far_above(as_stack(edits), resolution)
    return fit_size(*size, resolution, model.multiple)


def own_resolution(model: FlowModel, edits: Edit | EditStack) -> int:
    """Side in pixels of a square with the area at which the model sees a picture for these edits:
    the one that they were trained at, or the model's own."""
    trained = max(edit.info.resolution for edit, _ in as_stack(edits).parts)
    return trained or model.resolution


def encoded(
    model: FlowModel, photos: Sequence[Photo], size: tuple[int, int]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Latents x [B, C, h, w] of photographs seen at this width and height, float32, and Dx of each,
    [1, 3, h, w] on the CPU. Where the model does not suit them, a warning says so."""
    pictures = [to_tensor(photo.seen(size)) for photo in photos]
    x = torch.cat([model.encode(picture) for picture in pictures]).float()
    befores = [model.decode(row[None]).cpu() for row in x]
    warn_if_lost(model, list(zip(pictures, befores, strict=True)))
    return x, befores


def edit_photo(
    model: FlowModel,
    photo: Photo,
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    on_step: StepHook,
) -> list[Photo]:
    """One photograph at each of the scales. At scale 0 its pixels are those of ``photo``, unless
    its detail is "off".

    Raises:
        UsageError: a mask or a region that does not fit the photograph.
        EditError: an edit of another model.
    """
    if options.region is None or not scales:
        return edit_alike(model, [photo], stack, scales, options, on_step)[0]
    weights = None if options.mask is None else mask_weights(options.mask, photo.size)
    plain = replace(options, region=None, mask=None)
    if options.region == "auto":
        whole = _seen_changes(model, [photo], stack, scales, plain, part_of(on_step, 0, 2))[0]
        before, after = whole[max(range(len(scales)), key=lambda k: abs(scales[k]))]
        if weights is not None:
            after = within(weights, before, after)
        box = changed_box(before, after, photo.size)
        on_step = part_of(on_step, 1, 2)
    else:
        box = as_box(options.region)
    if box is None:  # as good as the whole, which is done
        edited = [finished(photo, change, options.detail, weights) for change in whole]
    else:
        around = in_context(box, photo.size)
        part, window = cropped(photo, around), fading(box, around, photo.size)
        if weights is not None:
            window = combined(window, weights[around.rows, around.columns])
        changes = _seen_changes(model, [part], stack, scales, plain, on_step)[0]
        parts = [finished(part, change, options.detail, window) for change in changes]
        edited = [pasted(photo, one, around) for one in parts]
    return [
        replace(one, made=made_with(model, stack @ scale, options))
        for one, scale in zip(edited, scales, strict=True)
    ]


def edit_alike(
    model: FlowModel,
    photos: Sequence[Photo],
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    on_step: StepHook,
) -> list[list[Photo]]:
    """Photographs that the model sees at one size, each at each of the scales.

    They share forward passes, with the noise that each would have by itself: in a batch a
    photograph comes out as alone, within rounding.
    """
    weights = [None if options.mask is None else mask_weights(options.mask, p.size) for p in photos]
    changes = _seen_changes(model, photos, stack, scales, options, on_step)
    made = [made_with(model, stack @ scale, options) for scale in scales]
    return [
        [
            replace(finished(photo, change, options.detail, weight), made=note)
            for change, note in zip(own, made, strict=True)
        ]
        for photo, own, weight in zip(photos, changes, weights, strict=True)
    ]


def rows_at_once(
    model: FlowModel, size: tuple[int, int], stack: EditStack, options: ResolvedOptions
) -> int:
    """How many photographs seen at this width and height one forward pass has room for."""
    guided = options.mode == "guided"
    branches = sum(scale != 0 for _, scale in stack.parts) if guided else 1
    tokens = options.n_avg * token_count(model, *size) * (branches + 1)
    return max(1, TOKENS // max(1, tokens))


def made_with(model: FlowModel, stack: EditStack, options: ResolvedOptions) -> dict[str, Any]:
    """What is written into a picture's file of how it was made: names, and no paths."""
    from pairedit_sdk import __version__

    words = [{"phrase": p, "scale": s} for p, s in words_for(stack, options).items()]
    return {
        "edits": [{"name": edit.name, "scale": scale} for edit, scale in stack.parts],
        **({"words": words} if words else {}),
        # A model from a folder is called by the folder's path.
        "model": Path(model.name).name if Path(model.name).exists() else model.name,
        "method": options.method,
        "mode": options.mode,
        "steps": options.steps,
        **({} if options.cfg == 1 else {"cfg": options.cfg}),
        "seed": options.seed,
        "pairedit_sdk": __version__,
    }


def _seen_changes(
    model: FlowModel,
    photos: Sequence[Photo],
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    on_step: StepHook,
) -> list[list[Change]]:
    """Dx and Dz of each photograph at each scale, [1, 3, h, w] on the CPU; where nothing was done
    both are one tensor."""
    size = seen_size(model, photos[0].size, stack, options.resolution)
    x, befores = encoded(model, photos, size)
    together = replace(options, same_noise=True)
    edited = sweep_latents(model, x, stack, scales, together, on_step=on_step)
    return [
        [(own, own if z is x else model.decode(z[k : k + 1]).cpu()) for z in edited]
        for k, own in enumerate(befores)
    ]
