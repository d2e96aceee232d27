"""Any picture that is loaded, as upright 8-bit RGB in sRGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from pairedit_sdk.errors import InputError
from pairedit_sdk.images.icc import lab
from pairedit_sdk.images.profiles import grey_levels, to_srgb

if TYPE_CHECKING:
    import numpy as np

#: Rows at a time where a whole picture would take several times its memory.
BAND = 256


def upright(image: Image.Image) -> Image.Image:
    """A loaded picture turned as its EXIF data says, or the very same one."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Damaged metadata says nothing about the picture, which is decoded by now.
        return image


def in_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB, where it carries another colour profile, as phones' pictures do.

    Pictures of more than 8 bit a channel are left to :func:`flattened`, and damaged profiles say
    nothing about the picture.
    """
    data = image.info.get("icc_profile")
    if image.mode == "LAB" and not data:
        data = lab()
    if not data or image.mode[0] in "IF":
        return image
    return to_srgb(plain(image), data)


def plain(image: Image.Image) -> Image.Image:
    """The picture as L, LA, RGB or RGBA, its profile still being that of the file; CMYK and LAB,
    whose colours need one, stay as they are."""
    if image.mode in {"CMYK", "LAB"}:
        return image
    grey = image.mode in {"1", "L", "LA", "La"}
    if image.has_transparency_data or image.mode in {"La", "RGBa"}:
        if grey and image.mode not in {"LA", "La"}:
            red, _, _, alpha = image.convert("RGBA").split()
            return Image.merge("LA", (red, alpha))
        wanted = "LA" if grey else "RGBA"
    else:
        wanted = "L" if grey else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def flattened(image: Image.Image, name: str) -> Image.Image:
    """Any mode to RGB, transparency on white."""
    if image.mode[0] in "IF":  # "I", "I;16…" and "F" would be clipped at 255 by convert().
        return _scale_deep(image, name).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image)
    flat = image.convert("RGB")
    return flat.copy() if flat is image else flat


def _on_white(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size)
    for top in range(0, image.height, BAND):
        box = (0, top, image.width, min(image.height, top + BAND))
        part = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", part.size, (255, 255, 255, 255))
        flat.paste(Image.alpha_composite(white, part).convert("RGB"), box)
    return flat


def _scale_deep(image: Image.Image, name: str) -> Image.Image:
    import numpy as np

    deep, top = deep_grey(image, name)
    data = image.info.get("icc_profile")
    table = grey_levels(data, 16) if data else None
    gray = np.empty(deep.shape, dtype=np.uint8)
    for row in range(0, len(deep), BAND):
        part = deep[row : row + BAND]
        if table is None:
            gray[row : row + BAND] = (part * (255.0 / top)).round()
        else:
            places = (part * (65535.0 / top)).round().astype(np.uint16)
            gray[row : row + BAND] = (table[places] / 257).round()
    return Image.fromarray(gray)


def deep_grey(image: Image.Image, name: str) -> tuple[np.ndarray, float]:
    """The values [H, W] of a picture of mode I, I;16 or F, and what white is among them.

    Raises:
        InputError: they are beyond black or white.
    """
    import numpy as np

    deep = np.asarray(image)
    low, high = float(deep.min()), float(deep.max())  # a value that is no number stays one
    top = 1.0 if image.mode == "F" else 65535.0
    if not 0 <= low <= high <= top:
        raise InputError(
            f"{name} has values of an unknown range",
            expected=f"{'floating-point' if top == 1 else 'whole'} values from 0 to {top:.0f}",
            got=f"{low:g} to {high:g}",
            next_step="Save it as an 8-bit or 16-bit PNG",
        )
    return deep, top
