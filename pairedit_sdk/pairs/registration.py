"""How two pictures lie on each other: shift, size and turn, found from their outlines.

Every pixel votes with the direction of its outline and not with its colour or contrast, so what an
edit leaves alone decides, even where the edit itself is large or recolours everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pairedit_sdk.pairs.local_shifts import LEAST_SHARE, between, find_warp

#: Pictures are compared at this long side in pixels.
WORK_SIDE = 256
#: The side of the spectra, and the largest shift looked for, as shares of the long side.
_PADDED, _REACH = 1.25, 0.1875

_BLUR = 1.0
#: Differences across two pixels, in 8-bit levels, below which an outline counts less and less.
_FAINT = 8.0
#: Mean vote of a pixel below which a picture has no outlines to speak of.
_FEATURELESS = 1e-4

#: Below this agreement another size or turn is tried; it must then explain the difference well.
_TRY_WARPS = 0.75
_WARP_GAIN = 0.1
_WARP_AGREEMENT = 0.6
#: How far a smaller warp carries the border, as a share of the long side. Honest pairs, measured,
#: have at most 0.0017; a turn by 1 degree has 0.0067 to 0.0086, 2 % of stretch 0.0055 to 0.0083.
_LEAST_WARP = 0.004


@dataclass(frozen=True)
class Outlines:
    """The outlines of a picture at the working size.

    Args:
        picture: the RGB picture, its long side :data:`WORK_SIDE` pixels.
        votes: [H, W], each of a length up to 1, and twice the outline's direction as its angle.
        spectrum: Fourier transform [S, S] of its outlines, padded to a square.
        energy: sum of the squared votes of all pixels.
    """

    picture: Image.Image
    votes: NDArray[np.complex64]
    spectrum: NDArray[np.complex64]
    energy: float

    @property
    def side(self) -> int:
        """The long side in pixels."""
        return max(self.picture.size)

    @property
    def featureless(self) -> bool:
        """Whether there is nothing in it that could be compared."""
        return self.energy < _FEATURELESS * self.picture.width * self.picture.height


@dataclass(frozen=True)
class Registration:
    """Where the after picture lies on the before picture.

    ``agreement`` is the share of outlines that coincide once moved (1 for equal pictures);
    ``dx``, ``dy`` say how far to the right and down the after picture's content lies, ``zoom`` how
    much larger it is, ``stretch`` how much wider for its height, ``angle`` how far it is turned, in
    degrees, clockwise. Lengths are shares of the long side. ``redrawn`` says that the parts of the
    picture are shifted in ways of their own.
    """

    agreement: float
    dx: float
    dy: float
    zoom: float = 1.0
    angle: float = 0.0
    stretch: float = 1.0
    redrawn: bool = False

    @property
    def shift(self) -> float:
        """The length of the shift, as a share of the long side."""
        return math.hypot(self.dx, self.dy)

    @property
    def warp(self) -> float:
        """How far all but the shift carries the picture's border, as a share of the long side."""
        larger = max(abs(self.wider), abs(self.taller))
        return larger / 2 + math.radians(abs(self.angle)) / 2

    @property
    def wider(self) -> float:
        """By what share the after picture's content is wider; negative if it is narrower."""
        return self.zoom * math.sqrt(self.stretch) - 1

    @property
    def taller(self) -> float:
        """By what share it is taller; negative if it is less tall."""
        return self.zoom / math.sqrt(self.stretch) - 1


def outlines(image: Image.Image) -> Outlines:
    """The outlines of an RGB picture of any size."""
    scale = WORK_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    kind = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return _outlines(image.resize(size, kind))


def agreement(before: Outlines, after: Outlines) -> Registration:
    """The shift at which the outlines agree best, by correlation of their directions."""
    energy = math.sqrt(before.energy * after.energy)
    if energy == 0:
        return Registration(0.0, 0.0, 0.0)
    product = np.conj(before.spectrum) * after.spectrum
    surface = np.fft.fftshift(np.fft.ifft2(product).real) / energy
    centre, reach = len(surface) // 2, round(_REACH * before.side)
    window = surface[centre - reach : centre + reach + 1, centre - reach : centre + reach + 1]
    y, x = np.unravel_index(window.argmax(), window.shape)
    row, column = int(y) + centre - reach, int(x) + centre - reach
    peak = surface[row, column]
    dx = column - centre + between(surface[row, column - 1], peak, surface[row, column + 1])
    dy = row - centre + between(surface[row - 1, column], peak, surface[row + 1, column])
    return Registration(float(peak), dx / before.side, dy / before.side)


def register(before: Outlines, after: Outlines) -> Registration:
    """As :func:`agreement`, with another size, turn and shape of the picture where one is found."""
    plain = agreement(before, after)
    if before.featureless or after.featureless:
        return plain
    if plain.agreement >= _TRY_WARPS:
        return _slightly_warped(plain, before, after)
    # Half the size is enough to choose by, and four times as fast.
    still, moving = _outlines(before.picture.reduce(2)), after.picture.reduce(2)
    zoom, angle = max(
        _warps(), key=lambda warp: agreement(still, _outlines(_undo(moving, *warp))).agreement
    )
    found = agreement(before, _outlines(_undo(after.picture, zoom, angle)))
    if found.agreement < max(_WARP_AGREEMENT, plain.agreement + _WARP_GAIN):
        return _slightly_warped(plain, before, after)
    return replace(found, zoom=zoom, angle=angle)


def _slightly_warped(plain: Registration, before: Outlines, after: Outlines) -> Registration:
    """With a warp that leaves most outlines in place, if there is one."""
    warp = find_warp(before.votes, after.votes)
    if warp is None:
        return plain
    if warp.share < LEAST_SHARE:
        return replace(plain, redrawn=plain.agreement < _TRY_WARPS)
    if warp.border < _LEAST_WARP:
        return plain
    # Less than half of what is looked for is within the error of the measurement.
    turned = math.radians(abs(warp.angle)) >= _LEAST_WARP
    stretched = abs(warp.across - warp.down) >= _LEAST_WARP
    return replace(
        plain,
        zoom=math.sqrt(warp.across * warp.down),
        angle=warp.angle if turned else 0.0,
        stretch=warp.across / warp.down if stretched else 1.0,
    )


def _warps() -> Iterator[tuple[float, float]]:
    for step in range(1, 9):
        for sign in (-1, 1):
            yield 1 + sign * step * 0.0125, 0.0
            yield 1.0, sign * step * 0.75


def _undo(picture: Image.Image, zoom: float, angle: float) -> Image.Image:
    """The picture as it was before being enlarged by ``zoom`` and turned clockwise."""
    x, y = picture.width / 2, picture.height / 2
    cos, sin = zoom * math.cos(math.radians(angle)), zoom * math.sin(math.radians(angle))
    matrix = (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )


def _outlines(picture: Image.Image) -> Outlines:
    blurred = picture.filter(ImageFilter.GaussianBlur(_BLUR))
    levels = np.asarray(blurred, dtype=np.float32)
    votes = np.zeros(levels.shape[:2], dtype=np.complex64)
    if min(votes.shape) > 4:
        across = levels[2:-2, 3:-1] - levels[2:-2, 1:-3]
        down = levels[3:-1, 2:-2] - levels[1:-3, 2:-2]
        # Squaring doubles the angle: dark-on-light and light-on-dark outlines vote alike.
        squared = ((across + 1j * down) ** 2).sum(axis=2)
        votes[2:-2, 2:-2] = squared / (np.abs(squared) + _FAINT**2)
    padded = round(_PADDED * max(picture.size))
    spectrum = np.fft.fft2(votes, (padded, padded)).astype(np.complex64)
    return Outlines(picture, votes, spectrum, float((np.abs(votes) ** 2).sum()))
