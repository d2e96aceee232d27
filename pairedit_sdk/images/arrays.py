"""Pictures as arrays and back, a band of rows at a time, so that 100 megapixels are held once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from PIL import Image

from pairedit_sdk.images.modes import BAND

if TYPE_CHECKING:
    import numpy as np


def bands(height: int) -> Iterator[slice]:
    """The rows 0 … ``height`` in pieces."""
    for top in range(0, height, BAND):
        yield slice(top, min(height, top + BAND))


def to_array(image: Image.Image) -> np.ndarray:
    """The values of an 8-bit picture, uint8 [H, W, C]."""
    import numpy as np

    found = np.empty((image.height, image.width, len(image.getbands())), dtype=np.uint8)
    for rows in bands(image.height):
        part = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
        found[rows] = part.reshape(found[rows].shape)
    return found


def to_picture(
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    turned: Callable[[Image.Image], Image.Image] | None = None,
) -> Image.Image:
    """Values [H, W, 1 or 3] and alpha [H, W] as a picture L, LA, RGB or RGBA of 8 bit.

    Args:
        pixels: uint8 or uint16.
        alpha: of the same type.
        turned: what to make of each band of rows, e.g. other colours.
    """
    import numpy as np

    height, width, channels = pixels.shape
    image = None
    for rows in bands(height):
        part = to_8_bit(pixels[rows])
        if alpha is not None:
            part = np.concatenate([part, to_8_bit(alpha[rows])[..., None]], axis=2)
        elif channels == 1:
            part = part[..., 0]
        band = Image.fromarray(np.ascontiguousarray(part))
        band = turned(band) if turned else band
        image = image or Image.new(band.mode, (width, height))
        image.paste(band, (0, rows.start))
    assert image is not None
    return image


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """uint8 or uint16 values as uint8, rounded."""
    import numpy as np

    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Values [H, W, C] with what alpha [H, W] leaves clear being white, of the same type."""
    import numpy as np

    top = int(np.iinfo(pixels.dtype).max)
    found = np.empty_like(pixels)
    for rows in bands(len(pixels)):
        # The sum is at most top² + top / 2, which 32 bits hold.
        share = alpha[rows].astype(np.uint32)[..., None]
        mixed = pixels[rows] * share + top * (top - share)
        found[rows] = (mixed + top // 2) // top
    return found


def shrunk(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint16 values [H, W, C] at another size, width and height, channel by channel."""
    import numpy as np

    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    parts = []
    for k in range(pixels.shape[2]):
        channel = Image.fromarray(np.ascontiguousarray(pixels[..., k]))
        parts.append(np.asarray(channel.resize(size, Image.Resampling.LANCZOS)))
    return np.stack(parts, axis=-1)
