"""ICC profiles: whether one is sRGB, and colours from sRGB to it and back.

8-bit pictures of any profile go to sRGB through littlecms. What has to be finer than 8 bit goes
through the profile's own curves and matrix, which nearly every picture's profile consists of.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from PIL import Image, ImageCms

from pairedit_sdk.images.icc import ColourSpace, colour_space, kind, open_profile

if TYPE_CHECKING:
    import numpy as np

#: A profile within so many levels of 255 of sRGB, for every colour, is sRGB.
NEAR = 2


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether a picture with this profile looks the same without it.

    Only what the profile does to colours says so: its name may be that of another one.
    """
    import numpy as np

    if kind(profile) == "GRAY":
        table = _grey_table(profile, 8)
        return table is not None and bool(np.abs(table - np.arange(256.0)).max() <= NEAR)
    steps = np.arange(0, 256, 51)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    colours = np.concatenate([cube, greys])[None].astype(np.uint8)
    try:
        seen = _converted(Image.fromarray(colours), profile, "RGB")
    except ImageCms.PyCMSError:
        return False
    return bool(np.abs(np.asarray(seen, int) - colours).max() <= NEAR)


def grey_levels(profile: bytes, depth: int = 8) -> np.ndarray | None:
    """What each grey value of ``depth`` bits is in sRGB, float64 [2 ** depth] in the same range.

    Args:
        profile: of grey, or of colour, whose greys are then meant.
        depth: 8 or 16.

    Returns:
        None if they are the same, or the profile has no curves.
    """
    return None if is_srgb(profile) else _grey_table(profile, depth)


def _grey_table(profile: bytes, depth: int) -> np.ndarray | None:
    import numpy as np

    places = np.linspace(0.0, 1.0, 2**depth)
    own = colour_space(profile)
    return to_srgb_values(places, own.neutral()) * (2**depth - 1) if own else None


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An 8-bit picture of mode L, LA, RGB, RGBA, CMYK or LAB with this profile, in sRGB.

    It stays the very same one where the profile is sRGB, damaged, or of another kind of picture.
    """
    import numpy as np

    if image.mode in {"L", "LA"}:
        table = grey_levels(profile)
        if table is None:
            return image
        points = [int(v) for v in np.rint(table)]
        return image.point(points + list(range(256)) if image.mode == "LA" else points)
    found = kind(profile)
    wanted = "RGB" if image.mode in {"RGB", "RGBA"} else image.mode
    if found != wanted or (found == "RGB" and is_srgb(profile)):
        return image
    try:
        return _converted(image, profile, "RGBA" if image.mode == "RGBA" else "RGB")
    except ImageCms.PyCMSError:
        return image


def is_usable(profile: bytes) -> bool:
    """Whether sRGB colours can be brought into this profile of RGB or grey."""
    if colour_space(profile) is not None:
        return True
    return kind(profile) == "RGB" and _from_srgb(profile) is not None


def from_srgb(values: np.ndarray, profile: bytes | None, grey: bool) -> np.ndarray:
    """Colours [N, 3] in 0 … 1 of sRGB in the profile's own space: [N, 3], or [N, 1] for ``grey``.

    A profile of tables gives values of 8 bit.
    """
    import numpy as np

    srgb = colour_space(None)
    assert srgb is not None
    if grey:
        own = (colour_space(profile) or srgb).neutral()
        return np.asarray(own.values(srgb.light(values)[..., 1])[..., None])
    if (own_colours := colour_space(profile)) is not None:
        return own_colours.values(srgb.light(values))
    transform = _from_srgb(profile or b"")
    if transform is None:
        return values
    row = Image.fromarray(np.rint(values * 255).astype(np.uint8)[None])
    found = np.asarray(transform.apply(row), dtype=np.float64)
    return found.reshape(-1, 3) / 255


def to_srgb_values(values: np.ndarray, own: ColourSpace) -> np.ndarray:
    """Colours [..., 3] or greys [...] in 0 … 1 of a space, in sRGB."""
    srgb = colour_space(None)
    assert srgb is not None
    return (srgb if own.matrix is not None else srgb.neutral()).values(own.light(values))


def _converted(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    transform = _transform(profile, image.mode, mode)
    if transform is None:
        raise ImageCms.PyCMSError("no way from this profile to sRGB")
    return cast("Image.Image", transform.apply(image))


# Kept, as a large picture is converted band by band and each would build them anew.
@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str, into: str) -> Any:
    try:
        target = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(open_profile(profile), target, mode, into)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=4)
def _from_srgb(profile: bytes) -> Any:
    try:
        source = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(source, open_profile(profile), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # a scanner's profile knows one direction alone
