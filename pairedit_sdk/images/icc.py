"""What an ICC profile says of its colours: its curves and its matrix.

Nearly every picture's profile is of these. One of tables is left to littlecms.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import ImageCms

if TYPE_CHECKING:
    import numpy as np

#: Samples of a curve: one for each value of 16 bit.
_SAMPLES = 65536
_TAGS = {"RGB": (b"rTRC", b"gTRC", b"bTRC"), "GRAY": (b"kTRC",)}


@dataclass(frozen=True, eq=False)
class ColourSpace:
    """The curves and the matrix of a profile.

    Attributes:
        curves: from a value of 16 bit to light in 0 … 1, float64 [65536] each: one for grey, three
            for colour.
        matrix: from light to XYZ at D50, float64 [3, 3]; None for grey.
    """

    curves: tuple[np.ndarray, ...]
    matrix: np.ndarray | None

    def light(self, values: np.ndarray) -> np.ndarray:
        """Luminance [...] of grey values [...], or XYZ [..., 3] of colours [..., 3], in 0 … 1."""
        import numpy as np

        places = np.linspace(0.0, 1.0, _SAMPLES)
        if self.matrix is None:
            return np.asarray(np.interp(values, places, self.curves[0]))
        parts = [np.interp(values[..., k], places, curve) for k, curve in enumerate(self.curves)]
        return np.asarray(np.stack(parts, axis=-1) @ self.matrix.T)

    def values(self, light: np.ndarray) -> np.ndarray:
        """What :meth:`light` makes ``light`` of; what the space cannot show is clipped."""
        import numpy as np

        places = np.linspace(0.0, 1.0, _SAMPLES)
        if self.matrix is None:
            return np.asarray(np.interp(light, self.curves[0], places))
        parts = light @ np.linalg.inv(self.matrix).T
        found = [np.interp(parts[..., k], curve, places) for k, curve in enumerate(self.curves)]
        return np.stack(found, axis=-1)

    def neutral(self) -> ColourSpace:
        """The space's greys as a space of their own."""
        if self.matrix is None:
            return self
        share = self.matrix[1] / self.matrix[1].sum()
        return ColourSpace((sum(s * c for s, c in zip(share, self.curves, strict=True)),), None)


def kind(profile: bytes) -> str:
    """The profile's colour space, "RGB", "GRAY", "CMYK", "LAB"; "" if it is damaged."""
    try:
        return str(open_profile(profile).profile.xcolor_space).strip().upper()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ""


@lru_cache(maxsize=8)
def colour_space(profile: bytes | None) -> ColourSpace | None:
    """The curves and matrix of a profile, of sRGB for None.

    None where the profile is damaged, or made of tables in the place of curves.
    """
    import numpy as np

    if profile is None:
        profile = srgb()
    try:
        tags = _tags(profile)
        names = _TAGS[kind(profile)]
        if b"A2B0" in tags or b"A2B1" in tags:
            return None
        curves = tuple(_curve(tags[name]) for name in names)
        if len(curves) == 1:
            return ColourSpace(curves, None)
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.array(columns, dtype=np.float64).T
        np.linalg.inv(matrix)
        return ColourSpace(curves, matrix)
    except (KeyError, struct.error, ValueError, OverflowError, np.linalg.LinAlgError):
        return None


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """sRGB's own profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@lru_cache(maxsize=1)
def lab() -> bytes:
    """CIE L*a*b*, which a picture of these values need not say."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def open_profile(profile: bytes) -> ImageCms.ImageCmsProfile:
    """The profile for littlecms; what is none raises ``PyCMSError``, ``OSError`` or their like."""
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = int(struct.unpack_from(">I", profile, 128)[0])
    found = {}
    for k in range(min(count, 256)):
        name, start, length = struct.unpack_from(">4sII", profile, 132 + 12 * k)
        found[name] = profile[start : start + length]
    return found


def _xyz(data: bytes) -> list[float]:
    return [v / 65536 for v in struct.unpack_from(">3i", data, 8)]


def _curve(data: bytes) -> np.ndarray:
    """A "curv" or "para" tag as samples, which never fall and lie in 0 … 1."""
    import numpy as np

    x = np.linspace(0.0, 1.0, _SAMPLES)
    with np.errstate(all="ignore"):
        y = _samples(x, data)
    if not np.isfinite(y).all() or y[-1] <= y[0]:
        raise ValueError("no curve that rises")
    return np.maximum.accumulate(y.clip(0, 1))


def _samples(x: np.ndarray, data: bytes) -> np.ndarray:
    import numpy as np

    if data[:4] == b"curv":
        count = int(struct.unpack_from(">I", data, 8)[0])
        if count == 0:
            return x
        table = np.array(struct.unpack_from(f">{count}H", data, 12), dtype=np.float64)
        if count == 1:
            return np.asarray(x ** (table[0] / 256))
        return np.asarray(np.interp(x, np.linspace(0.0, 1.0, count), table / 65535))
    if data[:4] == b"para":
        return _parametric(x, data)
    raise ValueError(data[:4])


def _parametric(x: np.ndarray, data: bytes) -> np.ndarray:
    """ICC.1:2022, 10.18: five forms of a power with a straight part below ``d``."""
    import numpy as np

    form = int(struct.unpack_from(">H", data, 8)[0])
    count = (1, 3, 4, 5, 7)[form] if form < 5 else 0
    found = [v / 65536 for v in struct.unpack_from(f">{count}i", data, 12)]
    g, a, b, c, d, e, f = found + [0.0] * (7 - count)
    if form == 0:
        return np.asarray(x**g)
    power = np.maximum(a * x + b, 0.0) ** g
    if form in (1, 2):
        return np.asarray(np.where(a * x + b >= 0, power, 0.0) + (c if form == 2 else 0.0))
    return np.asarray(np.where(x >= d, power + e, c * x + f))
