"""16-bit colour, of which Pillow keeps the high bytes: a second decoding fetches the low ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from PIL import Image

from pairedit_sdk.images.arrays import bands
from pairedit_sdk.images.modes import upright

if TYPE_CHECKING:
    import numpy as np

#: Layouts of 16 bit, and those that take the other byte of each value.
_OTHER_BYTE = {
    f"{kind};16{order}": f"{kind};16{other}"
    for kind in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
#: Grey with alpha has as many bytes a pixel as 8-bit RGBA, and is read as that.
_GREY_ALPHA = "LA;16B"


def deep_values(image: Image.Image) -> np.ndarray | None:
    """Colour, or grey with alpha, of a 16-bit PNG or TIFF, upright.

    Args:
        image: opened and not decoded yet; it stays so, but what its file says behind the pixels is
            in its ``info`` then.

    Returns:
        uint16 [H, W, 2, 3 or 4], or None if the file has no such values.
    """
    import numpy as np

    layouts = {_layout(tile) for tile in getattr(image, "tile", ())}
    file = getattr(image, "fp", None)
    if image.format not in {"PNG", "TIFF"} or file is None or len(layouts) != 1:
        return None
    layout = layouts.pop()
    place = file.tell()
    try:
        if layout == _GREY_ALPHA:
            whole = _decoded(image, "RGBA")
            high, low = whole, whole
            picks: tuple[Any, Any] = (slice(0, None, 2), slice(1, None, 2))
        elif layout in _OTHER_BYTE:
            high, low = _decoded(image, layout), _decoded(image, _OTHER_BYTE[layout])
            picks = (slice(None), slice(None))
        else:
            return None
    finally:
        file.seek(place)
    for key, value in high.info.items():
        image.info.setdefault(key, value)
    count = 2 if layout == _GREY_ALPHA else len(high.getbands())
    values = np.empty((high.height, high.width, count), dtype=np.uint16)
    for rows in bands(high.height):
        box = (0, rows.start, high.width, rows.stop)
        values[rows] = np.asarray(high.crop(box))[..., picks[0]]
        values[rows] <<= 8
        values[rows] |= np.asarray(low.crop(box))[..., picks[1]]
    return values


def _layout(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _decoded(image: Image.Image, layout: str) -> Image.Image:
    """The same file once more, its values unpacked in another way."""
    file: Any = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    again: Any = Image.open(file, formats=[str(image.format)])
    again.tile = [
        tile._replace(args=layout if isinstance(tile.args, str) else (layout, *tile.args[1:]))
        for tile in again.tile
    ]
    again.load()
    return upright(again)
