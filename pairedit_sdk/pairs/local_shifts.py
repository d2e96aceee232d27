"""Slight turns and stretches, from how far the parts of a picture are shifted.

One shift for the whole picture agrees well even where its content is turned by a degree or
stretched by two per cent. Its parts are then shifted by more the further out they lie, which an
edit, however large, does not do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Side and distance of the parts, and the largest shift of one, in pixels of the working size.
_TILE, _STEP, _REACH = 64, 32, 8
#: A part whose outlines agree less, or that has fewer of them (votes for each pixel), is left out.
_LEAST_AGREEMENT, _LEAST_ENERGY = 0.4, 0.01
#: Fewer parts tell nothing.
_LEAST_TILES = 9
#: So large a share of the parts lies where the movement of the whole puts them, unless the picture
#: is drawn anew. Of 250 pairs of drawn faces and photographs with an edit all have it, of 9 in
#: another style that are redrawn a little off none.
LEAST_SHARE = 0.7
#: How near, in pixels, that is.
_NEAR = 0.6


@dataclass(frozen=True)
class Warp:
    """How the after picture's content is turned and stretched about the middle.

    Attributes:
        across: how much wider it is, as a factor.
        down: how much taller.
        angle: how far it is turned, in degrees, clockwise.
        border: how far that carries the middle of a border, as a share of the long side.
        share: of the parts that lie where this puts them; below :data:`LEAST_SHARE` they go their
            own ways, and the rest means nothing.
    """

    across: float
    down: float
    angle: float
    border: float
    share: float


def find_warp(before: NDArray[np.complex64], after: NDArray[np.complex64]) -> Warp | None:
    """The warp between two pictures' votes [H, W]; None if too few parts can be compared.

    Votes are the outlines' directions, see :mod:`pairedit_sdk.pairs.registration`.
    """
    places, shifts, weights = _tile_shifts(before, after)
    if len(places) < _LEAST_TILES:
        return None
    height, width = before.shape
    known = np.column_stack([places - (width / 2, height / 2), np.ones(len(places))])
    keep = np.ones(len(places))
    for _ in range(12):
        weight = np.sqrt(weights * keep)[:, None]
        fitted, *_rest = np.linalg.lstsq(known * weight, shifts * weight, rcond=None)
        off = np.linalg.norm(shifts - known @ fitted, axis=1)
        # Falls off beyond what is near, so that the parts that the edit moves do not count.
        keep = 1 / (1 + (off / _NEAR) ** 2) ** 2
    share = float((weights * (off < _NEAR)).sum() / weights.sum())
    (xx, yx), (xy, yy), _centre = fitted
    angle = math.degrees((yx - xy) / 2)
    half = np.array([width, height]) / 2 / max(width, height)
    border = max(math.hypot(xx, yx) * half[0], math.hypot(xy, yy) * half[1])
    return Warp(1 + float(xx), 1 + float(yy), angle, float(border), share)


def _tile_shifts(
    before: NDArray[np.complex64], after: NDArray[np.complex64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Middles [N, 2] of the parts that can be compared, their shifts [N, 2], both x, y, and the
    weights [N]."""
    height, width = before.shape
    # The after picture's part is cut out larger, else its shift would seem shorter than it is.
    around = np.pad(after, _REACH)
    places, shifts, weights = [], [], []
    for top in range(0, height - _TILE + 1, _STEP):
        for left in range(0, width - _TILE + 1, _STEP):
            one = before[top : top + _TILE, left : left + _TILE]
            two = after[top : top + _TILE, left : left + _TILE]
            energy = float(np.sqrt((np.abs(one) ** 2).sum() * (np.abs(two) ** 2).sum()))
            if energy < _LEAST_ENERGY * _TILE**2:
                continue
            side = _TILE + 2 * _REACH
            peak, dx, dy = _peak(one, around[top : top + side, left : left + side])
            if peak >= _LEAST_AGREEMENT * energy:
                places.append((left + _TILE / 2, top + _TILE / 2))
                shifts.append((dx, dy))
                weights.append(peak)
    return (
        np.asarray(places, dtype=np.float64).reshape(-1, 2),
        np.asarray(shifts, dtype=np.float64).reshape(-1, 2),
        np.asarray(weights, dtype=np.float64),
    )


def _peak(one: NDArray[np.complex64], around: NDArray[np.complex64]) -> tuple[float, float, float]:
    """The largest correlation within reach, and the shift (x, y) at which it is; nothing at its
    limit."""
    product = np.conj(np.fft.fft2(one, around.shape)) * np.fft.fft2(around)
    surface = np.fft.ifft2(product).real[: 2 * _REACH + 1, : 2 * _REACH + 1]
    y, x = (int(k) for k in np.unravel_index(surface.argmax(), surface.shape))
    if not (0 < y < 2 * _REACH and 0 < x < 2 * _REACH):
        return 0.0, 0.0, 0.0
    dx = x - _REACH + between(surface[y, x - 1], surface[y, x], surface[y, x + 1])
    dy = y - _REACH + between(surface[y - 1, x], surface[y, x], surface[y + 1, x])
    return float(surface[y, x]), dx, dy


def between(left: float, peak: float, right: float) -> float:
    """The top of the parabola through three neighbours, as an offset from the middle one."""
    bend = left - 2 * peak + right
    return float(0.5 * (left - right) / bend) if bend < 0 else 0.0
