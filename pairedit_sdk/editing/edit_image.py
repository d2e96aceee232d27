"""Using edits on a real picture, once or at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from pairedit_sdk.editing.edit_photos import edit_photo
from pairedit_sdk.editing.hooks import StepHook, no_hook
from pairedit_sdk.editing.options import EditOptions, EditSettings, options_from
from pairedit_sdk.edits.inputs import Edits, as_stack
from pairedit_sdk.images.inputs import ImageLike, as_photo
from pairedit_sdk.lora.holding import require_model

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel


def edit_image(
    model: FlowModel,
    image: ImageLike,
    edits: Edits,
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> Image.Image:
    """Apply edits to a picture.

    The model sees the picture at the size that
    :func:`pairedit_sdk.editing.edit_photos.seen_size` says, keeping its aspect ratio. The result
    comes back at the picture's own size, with its own fine detail wherever the edit keeps the
    structure, its transparency, colour profile and EXIF data. Grey stays grey unless the edit
    colours it. At scale 0 it is the original, bit for bit.

    Args:
        model: the model the edits were learned on.
        image: a path, a picture of Pillow in any mode (its EXIF rotation is applied), an array
            [H, W] or [H, W, 1, 3 or 4] of uint8, uint16 or floats in 0 … 1, or a
            :class:`pairedit_sdk.images.photo.Photo`.
        edits: an edit, a sum such as ``a @ 1 + b @ 0.5``, or a list of them, which are added.
        options: how it is edited; ``None`` is what suits the edits.
        on_step: called with (done, total).
        settings: single fields of :class:`pairedit_sdk.editing.options.EditOptions`, such as
            ``steps=14``, ``seed=1``, ``mask="face.png"`` or ``detail="off"``; they take the place
            of those in ``options``.

    Returns:
        A picture of mode L, LA, RGB, RGBA or I;16, with EXIF data and profile in its ``info``.

    Raises:
        UsageError: no picture or no edits, an unknown method, mode or detail, numbers out of
            range, a mask or region that does not fit, ``limit_scale`` for edits that do not
            know how much their pairs show, or an instruction that the model cannot be given.
        InputError: the picture, or the mask, cannot be read.
        EditError: an edit of another model.
        BaseModelError: the image encoder of a scale limit cannot be loaded.
        TypeError: an unknown setting.
    """
    options = options_from(options, settings)
    (result,) = sweep(model, image, edits, [1.0], options, on_step=on_step)
    return result


def sweep(
    model: FlowModel,
    image: ImageLike,
    edits: Edits,
    scales: Sequence[float],
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> list[Image.Image]:
    """The picture at several scales: :func:`edit_image` with ``edits @ scale`` for each of them.

    What does not depend on the scale, such as the inversion LoRA or a picture's scale limit, is
    done once, unless the mode is sequential: there every edit works on another picture.
    """
    require_model(model)
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    photo = as_photo(image)
    found = edit_photo(model, photo, stack, scales, resolved, on_step or no_hook)
    return [edited.image for edited in found]
