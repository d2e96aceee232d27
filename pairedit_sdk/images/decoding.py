"""From a picture of Pillow or an array to the parts of a photo: pixels, alpha, profile, EXIF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.arrays import to_array
from pairedit_sdk.images.deep import deep_values
from pairedit_sdk.images.icc import kind
from pairedit_sdk.images.metadata import exif_of
from pairedit_sdk.images.modes import deep_grey, in_srgb, plain, upright
from pairedit_sdk.images.opening import check_size, damaged
from pairedit_sdk.images.profiles import grey_levels, is_usable, to_srgb

if TYPE_CHECKING:
    import numpy as np

#: Pixels [H, W, C], alpha [H, W], profile, EXIF.
Parts = tuple["np.ndarray", "np.ndarray | None", bytes | None, bytes | None]


def decode_checked(image: Image.Image, name: str) -> Parts:
    """:func:`decode` for a picture that nobody has looked at.

    Raises:
        InputError: it is too large, animated, damaged, or of values that cannot be scaled.
    """
    check_size(image, name)
    try:
        return decode(image, name)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly every kind of exception.
        raise damaged(name, error) from error


def decode(image: Image.Image, name: str) -> Parts:
    """The parts of an opened picture, upright; see :class:`~pairedit_sdk.images.photo.Photo`.

    Raises:
        InputError: it has values that cannot be scaled.
        Exception: whatever Pillow raises for a damaged picture.
    """
    values = deep_values(image)
    if values is not None:
        pixels, alpha, profile = _deep(values, image)
    else:
        image.load()
        turned = upright(image)
        if turned.mode[0] in "IF":
            pixels, alpha, profile = _deep(_grey(turned, name), turned)
        else:
            pixels, alpha, profile = _shallow(turned)
    return pixels, alpha, profile, exif_of(image, (pixels.shape[1], pixels.shape[0]))


def _shallow(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    profile = image.info.get("icc_profile")
    if image.mode in {"CMYK", "LAB"}:
        image, profile = in_srgb(image).convert("RGB"), None
    image = plain(image)
    if profile and not _fits(profile, "GRAY" if image.mode in {"L", "LA"} else "RGB"):
        image, profile = to_srgb(image, profile), None
    values = to_array(image)
    if image.mode in {"LA", "RGBA"}:
        return values[..., :-1].copy(), values[..., -1].copy(), profile
    return values, None, profile


def _fits(profile: bytes, wanted: str) -> bool:
    """Whether pixels can stay in this profile: it is of their kind, and can be written to."""
    return kind(profile) == wanted and is_usable(profile)


def _grey(image: Image.Image, name: str) -> np.ndarray:
    """A picture of mode I, I;16 or F as uint16 [H, W, 1]."""
    import numpy as np

    deep, top = deep_grey(image, name)
    if top == 65535:
        return deep.astype(np.uint16)[..., None]
    return _from_floats(deep)[..., None]


def _deep(
    values: np.ndarray, image: Image.Image
) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    """16-bit values [H, W, 1 to 4] as pixels and alpha, with the profile if it fits."""
    import numpy as np

    alpha = None
    if values.shape[2] in (2, 4):
        values, alpha = values[..., :-1].copy(), values[..., -1].copy()
    elif (clear := image.info.get("transparency")) is not None:
        seen = (values != np.array(clear, dtype=np.int64)).any(axis=2)
        alpha = np.where(seen, np.uint16(65535), np.uint16(0))
    profile = image.info.get("icc_profile")
    if not profile or _fits(profile, "GRAY" if values.shape[2] == 1 else "RGB"):
        return values, alpha, profile
    if values.shape[2] == 1 and (table := grey_levels(profile, 16)) is not None:
        return np.rint(table).astype(np.uint16)[values], alpha, None
    return values, alpha, None


def from_values(values: Any, name: str) -> Parts:
    """An array as the parts of a photo; see :meth:`~pairedit_sdk.images.photo.Photo.of`.

    Raises:
        UsageError: it is none of a picture.
    """
    import numpy as np

    known = isinstance(values, np.ndarray) and values.size > 0
    if not known or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))):
        got = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else None
        raise UsageError(
            name,
            expected="a picture of Pillow, or an array [H, W] or [H, W, 1, 3 or 4]",
            got=got or type(values).__name__,
        )
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not 0 <= low <= high <= 1:
            raise UsageError(
                f"{name} has values of an unknown range",
                expected="floating-point values from 0 to 1",
                got=f"{low:g} to {high:g}",
            )
        values = _from_floats(values)
    elif values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(255)
    if (values.dtype.kind, values.dtype.itemsize) not in {("u", 1), ("u", 2)}:
        raise UsageError(
            f"{name} has values of an unknown type",
            expected="uint8, uint16, bool, or floating-point values from 0 to 1",
            got=str(values.dtype),
        )
    values = values[..., None] if values.ndim == 2 else values
    values = values.astype(values.dtype.newbyteorder("="))
    if values.shape[2] == 4:
        return values[..., :3].copy(), values[..., 3].copy(), None, None
    return values, None, None, None


def _from_floats(values: np.ndarray) -> np.ndarray:
    """Floats in 0 … 1 as uint16. Half precision is widened first: it ends at 65504."""
    import numpy as np

    if values.dtype.itemsize < 4:
        values = values.astype(np.float32)
    return np.rint(values * 65535.0).astype(np.uint16)
