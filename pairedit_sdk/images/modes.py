"""Any picture that is loaded, as upright 8-bit RGB in sRGB."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from pairedit_sdk.errors import InputError

#: Rows at a time where a whole picture would take several times its memory.
BAND = 256


def upright(image: Image.Image) -> Image.Image:
    """A loaded picture turned as its EXIF data says, or the very same one."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Damaged metadata says nothing about the picture, which is decoded by now.
        return image


def in_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB, where it carries another colour profile, as phones' pictures do."""
    data = image.info.get("icc_profile")
    if not data or image.mode not in {"RGB", "RGBA", "CMYK"}:
        return image
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        target = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(
            image, own, ImageCms.createProfile("sRGB"), outputMode=target
        )
        return image if converted is None else converted
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # A damaged profile says nothing about the picture either.


def flattened(image: Image.Image, name: str) -> Image.Image:
    """Any mode to RGB, transparency on white."""
    if image.mode[0] in "IF":  # "I", "I;16…" and "F" would be clipped at 255 by convert().
        return _scale_deep(image, name)
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
    gray = np.empty(deep.shape, dtype=np.uint8)
    for row in range(0, len(deep), BAND):
        gray[row : row + BAND] = (deep[row : row + BAND] * (255.0 / top)).round()
    return Image.fromarray(gray).convert("RGB")
