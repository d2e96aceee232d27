"""Pictures in and out: any readable file to upright 8-bit RGB, and RGB to tensors and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pairedit_sdk.errors import EditError, InputError, UsageError
from pairedit_sdk.images.modes import flattened, in_srgb, upright
from pairedit_sdk.images.opening import check_size, damaged, opened

if TYPE_CHECKING:
    import torch


def read_image(path: str | Path) -> Image.Image:
    """Read a picture as upright 8-bit RGB.

    The camera's EXIF rotation is applied, colours are converted to sRGB from the profile in the
    file, transparency is laid on white, palettes, CMYK, grayscale and 16-bit pictures become RGB.
    The size is checked before anything is decoded.

    Raises:
        InputError: if there is no such file, or it is not one still picture of at most
            :data:`~pairedit_sdk.images.opening.MAX_MEGAPIXELS`.
    """
    name = f"Picture '{Path(path)}'"
    with opened(path, name) as image:
        return as_rgb(image, name)


def as_rgb(image: Image.Image, name: str = "Picture") -> Image.Image:
    """An opened picture as a new, upright 8-bit RGB picture; see :func:`read_image`.

    Args:
        image: in any mode; it is not changed apart from being loaded.
        name: what to call it in an error, e.g. "Picture 'a.png'".

    Raises:
        InputError: if it is too large, animated, damaged, or of values that cannot be scaled.
    """
    check_size(image, name)
    try:
        image.load()
        return flattened(in_srgb(upright(image)), name)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise damaged(name, error) from error


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at ``size``, width and height in pixels; the very same one if it has that."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def fit_size(width: int, height: int, budget_side: int, multiple: int) -> tuple[int, int]:
    """The size at which a model should see a picture: same aspect ratio, given area.

    Of the multiples around the ideal size, the pair is taken that is nearest in aspect ratio and,
    counting half, in area; the area is about ``budget_side`` squared, for small and large pictures
    alike.

    Args:
        width: the picture's width in pixels.
        height: its height in pixels.
        budget_side: side of the square of the wanted area, in pixels.
        multiple: each side is a multiple of this, at least once.

    Returns:
        Width and height in pixels.

    Raises:
        UsageError: a number below 1.
    """
    if min(width, height, budget_side, multiple) < 1:
        raise UsageError(
            "fit_size",
            expected="a width, height, budget_side and multiple of at least 1",
            got=f"{width}, {height}, {budget_side}, {multiple}",
        )
    aspect = math.log(width / height)

    def around(ideal: float) -> set[int]:
        units = math.floor(ideal / multiple)
        return {max(1, units) * multiple, max(1, units + 1) * multiple}

    def error(size: tuple[int, int]) -> float:
        # The area counts half, or a slightly better aspect ratio could cost a whole multiple.
        off_area = abs(math.log(size[0] * size[1] / budget_side**2))
        return abs(math.log(size[0] / size[1]) - aspect) + 0.5 * off_area

    across = around(budget_side * math.exp(aspect / 2))
    down = around(budget_side * math.exp(-aspect / 2))
    return min(((w, h) for w in sorted(across) for h in sorted(down)), key=error)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """A picture as float32 [1, 3, H, W] in −1 … 1."""
    import numpy as np
    import torch

    values = np.array(image if image.mode == "RGB" else as_rgb(image), dtype=np.float32)
    return torch.from_numpy(values / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def to_image(tensor: torch.Tensor) -> Image.Image:
    """A tensor [1, 3, H, W] or [3, H, W] in −1 … 1 as an RGB picture; values beyond are clipped.

    Raises:
        UsageError: if the shape is another one.
        EditError: if a value is not a number.
    """
    import torch

    picture = tensor.detach()
    if picture.ndim == 4 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise UsageError(
            "to_image", expected="a tensor [1, 3, H, W] or [3, H, W]", got=str(list(tensor.shape))
        )
    picture = picture.float().cpu()
    if not bool(torch.isfinite(picture).all()):
        raise EditError(
            "The picture has values that are not numbers",
            expected="finite values",
            got=f"{int((~torch.isfinite(picture)).sum())} of {picture.numel()} are not",
            next_step="Lower the edit's scale, or try --precision fp32",
        )
    values = ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())
