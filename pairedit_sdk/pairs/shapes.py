"""Is it the same scene in another style? Large shapes stay where they are, and outlines run alike.

A photograph and its painting, pixel art or ink drawing share few outlines to the pixel, as they are
drawn anew. What a stranger's picture does not share either is compared here with more tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pairedit_sdk.pairs.direction import smoothed
from pairedit_sdk.pairs.registration import WORK_SIDE, Outlines

_STEP = 4
#: Blurs: of the outlines' votes, in pixels of the working size; of the small picture, in its own;
#: and the one that a drawing in lines does not survive.
_VOTES_BLUR, _SHAPES_BLUR, _LINES_BLUR = 5.0, 2.0, WORK_SIDE / 43

#: Shapes of the same scene have 0.71 to 0.96, those of strangers at most 0.34 in photographs, even
#: of faces in one pose. Of drawn faces, which all have much the same shape, 95 % are below 0.7.
SAME_SHAPES = 0.7
#: Outlines likewise, where one of the pictures is drawn in lines alone, which have no shapes: 0.55
#: to 0.83 against 0.4, and 0.52 in drawn faces.
SAME_OUTLINES = 0.52
#: Below this share of the contrast left by the blur, a picture is drawn in lines: drawings have 0.2
#: to 0.65, nearly all photographs more.
_LINES = 0.66
#: What is further off than that is the same scene if it fits none of the other after pictures as
#: well, by this much.
_LEAST_OUTLINES, _AHEAD = 0.5, 0.15


@dataclass(frozen=True)
class Shapes:
    """What of a picture another style leaves alone; a quarter of the working size, flat.

    Args:
        outlines: the mean direction of the outlines around each place, of length 1 together.
        shapes: the directions of the outlines of large shapes, of length 1 together.
        in_lines: whether it is drawn in lines, without shapes.
        size: of the picture at working size.
    """

    outlines: NDArray[np.complex64]
    shapes: NDArray[np.complex64]
    in_lines: bool
    size: tuple[int, int]

    def same_outlines(self, other: Shapes) -> float:
        """How far outlines run alike, -1 to 1; -1 for pictures of another shape."""
        return _cosine(self.outlines, other.outlines) if self.size == other.size else -1.0

    def same_scene(self, other: Shapes) -> bool:
        """Whether both show the same, in whatever styles."""
        if self.size != other.size:
            return False
        if _cosine(self.shapes, other.shapes) >= SAME_SHAPES:
            return True
        in_lines = self.in_lines or other.in_lines
        return in_lines and self.same_outlines(other) >= SAME_OUTLINES


def shapes_of(found: Outlines) -> Shapes:
    """The shapes of a picture whose outlines are known."""
    picture = found.picture
    votes = np.stack([found.votes.real, found.votes.imag], axis=2).astype(np.float32)
    mean = smoothed(votes, _VOTES_BLUR)[::_STEP, ::_STEP]
    size = (max(1, picture.width // _STEP), max(1, picture.height // _STEP))
    small = picture.resize(size, Image.Resampling.BOX)
    levels = np.asarray(small.filter(ImageFilter.GaussianBlur(_SHAPES_BLUR)), dtype=np.float32)
    down, across = (np.gradient(levels, axis=k) if min(size) > 1 else 0 * levels for k in (0, 1))
    squared = ((across + 1j * down) ** 2).sum(axis=2)
    # The square root of the length: a strong outline is not to count more than it is strong.
    large = squared / np.sqrt(np.abs(squared) + 1e-6)
    return Shapes(
        _unit(mean[..., 0] + 1j * mean[..., 1]), _unit(large), _in_lines(picture), picture.size
    )


def in_another_style(sides: list[tuple[Shapes, Shapes]], unclear: list[int]) -> set[int]:
    """Which of the unclear pairs are the same scene in another style.

    Args:
        sides: before and after of all pairs.
        unclear: the indices of those whose outlines do not agree.
    """
    found = {k for k in unclear if sides[k][0].same_scene(sides[k][1])}
    for k in set(unclear) - found:
        own = sides[k][0].same_outlines(sides[k][1])
        others = [sides[k][0].same_outlines(after) for j, (_, after) in enumerate(sides) if j != k]
        # Pictures of other shapes cannot be compared with, and say nothing.
        others = [value for value in others if value > -1]
        if others and own >= max(_LEAST_OUTLINES, max(others) + _AHEAD):
            found.add(k)
    return found


def _in_lines(picture: Image.Image) -> bool:
    sharp = np.asarray(picture, dtype=np.float32)
    blurred = picture.filter(ImageFilter.GaussianBlur(_LINES_BLUR))
    kept = np.asarray(blurred, dtype=np.float32).var(axis=(0, 1)).sum()
    return bool(kept < _LINES * sharp.var(axis=(0, 1)).sum())


def _unit(values: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
    flat = values.ravel()
    length = float(np.linalg.norm(flat))
    return (flat / length if length > 0 else flat).astype(np.complex64)


def _cosine(one: NDArray[np.complex64], two: NDArray[np.complex64]) -> float:
    return float(np.vdot(one, two).real)
