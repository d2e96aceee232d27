"""What is found about one pair: a verdict, the reason in a sentence, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pairedit_sdk.pairs.registration import WORK_SIDE, Outlines, Registration

if TYPE_CHECKING:
    from pairedit_sdk.pairs.pair_set import Pair

Verdict = Literal["good", "usable", "bad"]

#: A pixel has changed when brightness or colour, blurred, differ by more than this of 255 levels.
CHANGED_LEVELS = 8
#: Less than this share of changed pixels is hardly anything.
SMALL_AREA = 0.001
#: A largest difference of no more levels than this is nothing: saving as JPEG again does as much.
_INVISIBLE_LEVELS = 3
#: Pictures with fewer pixels than a square of this side are too small for any model.
SMALL_SIDE = 96

#: Displacements, as shares of the long side, from which on a pair is only usable, and bad.
SLIGHT_SHIFT, LARGE_SHIFT = 0.006, 0.01
#: The latter where the picture is drawn anew in another style, which shifts its parts anyway.
STYLE_SHIFT = 0.03
#: A shorter one is within the error of the measurement where the edit is large: taken as none.
_MEASURED_SHIFT = 0.003

#: Agreement of the outlines: real and drawn pairs have 0.55 to 1, strangers mostly below 0.35.
CLEAR_AGREEMENT, LEAST_AGREEMENT = 0.5, 0.4
#: A difference in size that is not worth a word beside another one.
_LITTLE = 0.004


@dataclass(frozen=True)
class PairReport:
    """What was found about one pair.

    Args:
        name: of the pair.
        changed_area: share of the picture that differs, 0 to 1.
        shift: by how many pixels the after picture's content lies to the right and further down.
        aligned: whether before and after lie on each other.
        verdict: ``bad`` means that training would learn something else than the edit.
        reason: why, in a sentence.
        advice: what to do, or nothing.
    """

    name: str
    changed_area: float
    shift: tuple[int, int]
    aligned: bool
    verdict: Verdict
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Measured:
    """What is measured on one pair.

    Args:
        area: share of the picture that differs, 0 to 1.
        largest: the largest change, in levels of 255.
        place: where the after picture lies on the before picture.
        same: whether nothing visible differs.
        blank: whether neither picture has outlines to compare.
        restyled: whether the pair is one scene in two styles, though outlines do not agree.
    """

    area: float
    largest: float
    place: Registration
    same: bool
    blank: bool
    restyled: bool = False

    @property
    def unclear(self) -> bool:
        """Whether outlines alone do not tell that both are the same picture."""
        disagree = self.place.agreement < CLEAR_AGREEMENT or self.place.redrawn
        return disagree and not (self.same or self.blank)


def measure(pair: Pair, before: Outlines, after: Outlines, place: Registration) -> Measured:
    """What differs between the two pictures of a pair, and where they lie on each other."""
    area, largest = changed_area(pair.before, pair.after)
    blank = before.featureless and after.featureless
    return Measured(area, largest, place, largest <= _INVISIBLE_LEVELS, blank)


def judge(pair: Pair, found: Measured) -> PairReport:
    """The report on a pair by itself."""
    shift, aligned = _alignment(pair, found)
    verdict, reason, advice = _judgement(pair, found, shift, aligned)
    width, height = pair.before.size
    if verdict == "good" and width * height < SMALL_SIDE**2:
        verdict = "usable"
        reason = f"The pictures are only {width} x {height} pixels"
        advice = (
            f"Use pictures of at least {SMALL_SIDE} x {SMALL_SIDE}, for large models of 512 x 512: "
            "smaller ones are enlarged, and their blur is learned as well."
        )
    return PairReport(pair.name, found.area, shift, aligned, verdict, reason, advice)


def _alignment(pair: Pair, found: Measured) -> tuple[tuple[int, int], bool]:
    """The shift in pixels, and whether before and after lie on each other."""
    place = found.place
    if found.same or found.blank:
        return (0, 0), True
    if place.agreement < LEAST_AGREEMENT:
        # Where the pictures have no outlines in common, the best shift means nothing.
        return (0, 0), found.restyled
    side = max(pair.before.size)
    shift = (round(place.dx * side), round(place.dy * side))
    if place.shift < _MEASURED_SHIFT:
        shift = (0, 0)
    return shift, place.shift + place.warp < (STYLE_SHIFT if found.restyled else LARGE_SHIFT)


def _judgement(
    pair: Pair, found: Measured, shift: tuple[int, int], aligned: bool
) -> tuple[Verdict, str, str]:
    """Verdict, reason and advice."""
    area, place = _percent(found.area), found.place
    if found.same:
        return (
            "bad",
            "Before and after are the same picture, so there is nothing to learn",
            "Put the edited picture in place of the after picture.",
        )
    if found.blank:
        return (
            "usable",
            f"{area} changes, but there are no outlines to tell the alignment by",
            "Look at the two pictures one above the other.",
        )
    if found.restyled and aligned:
        return (
            "usable",
            f"{area} changes, and the style with it: outlines are drawn anew, large shapes stay",
            "Make sure that nothing but the style differs: how the after pictures are drawn is "
            "learned as well.",
        )
    if place.agreement < LEAST_AGREEMENT and not found.restyled:
        return (
            "bad",
            "Before and after are different pictures: only "
            f"{place.agreement:.0%} of the outlines are in the same place",
            "As after picture, use an edited version of the before picture itself, not another "
            "picture of the person or scene.",
        )
    if place.shift + place.warp >= SLIGHT_SHIFT or place.warp > 0:
        reason = f"The after picture is {_displacement(place, shift, pair.before.width)}"
        if aligned:
            return "usable", reason, _undo_advice(place, shift)
        return "bad", f"{reason}, and training would learn that too", _undo_advice(place, shift)
    if place.agreement < CLEAR_AGREEMENT:
        return (
            "usable",
            f"{area} changes, and only {place.agreement:.0%} of the outlines stay",
            "Make sure that only the edit differs: what else differs is learned as well.",
        )
    if found.area < SMALL_AREA:
        return (
            "usable",
            f"Hardly anything changes: {found.area:.2%} of the picture, by {found.largest:.0f} of "
            "255 levels",
            "Crop both pictures alike, closer to the part that changes, or make it plainer.",
        )
    if found.area > 0.9:
        return (
            "good",
            f"Nearly all of the picture changes ({found.area:.0%}), and it is aligned",
            "",
        )
    return "good", f"{area} of the picture changes, and the rest is aligned", ""


def changed_area(before: Image.Image, after: Image.Image) -> tuple[float, float]:
    """The share of changed pixels of two RGB pictures of the same size, and the largest change,
    in levels of 255; see :func:`difference`."""
    found = difference(before, after)
    return float((found > CHANGED_LEVELS).mean()), float(found.max())


def difference(before: Image.Image, after: Image.Image) -> NDArray[np.float32]:
    """How much two RGB pictures of the same size differ, in levels of 255, [H, W].

    The long side is :data:`~pairedit_sdk.pairs.registration.WORK_SIDE`. Brightness is blurred by
    0.6 % and colour by 1.2 % of it, as JPEG files keep colour at half the resolution.
    """
    found: NDArray[np.float32] = np.abs(_soft(before) - _soft(after)).max(axis=2)
    return found


def _soft(image: Image.Image) -> NDArray[np.float32]:
    scale = WORK_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    kind = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    bands = image.resize(size, kind).convert("YCbCr").split()
    blurred = [
        band.filter(ImageFilter.GaussianBlur(blur))
        for band, blur in zip(bands, (1.5, 3.0, 3.0), strict=True)
    ]
    return np.stack([np.asarray(band, dtype=np.float32) for band in blurred], axis=2)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _displacement(place: Registration, shift: tuple[int, int], width: int) -> str:
    parts = []
    if place.stretch != 1:
        sides = ((place.wider, "wider", "narrower"), (place.taller, "taller", "flatter"))
        parts += [
            f"{abs(by):.1%} {more if by > 0 else less}"
            for by, more, less in sides
            if abs(by) > _LITTLE
        ]
    elif abs(place.zoom - 1) > _LITTLE:
        parts.append(f"{abs(place.zoom - 1):.1%} {'larger' if place.zoom > 1 else 'smaller'}")
    if place.angle:
        way = "clockwise" if place.angle > 0 else "anticlockwise"
        parts.append(f"turned {way} by about {abs(place.angle):.1f} degrees")
    if any(shift):
        length = math.hypot(*shift)
        parts.append(f"shifted {_towards(shift)} ({length / width:.1%} of the width)")
    return " and ".join(parts) or "slightly shifted"


def _towards(shift: tuple[int, int]) -> str:
    dx, dy = shift
    across = f"{abs(dx)} px {'right' if dx > 0 else 'left'}" if dx else ""
    down = f"{abs(dy)} px {'down' if dy > 0 else 'up'}" if dy else ""
    return " and ".join(part for part in (across, down) if part)


def _undo_advice(place: Registration, shift: tuple[int, int]) -> str:
    if place.stretch != 1:
        back = "Scale it back to the same width and height"
    elif abs(place.zoom - 1) > _LITTLE:
        back = "Scale it back to the same size"
    elif place.angle:
        back = "Turn it back"
    else:
        back = f"Move it {_towards((-shift[0], -shift[1])) or 'back'}"
    return f"{back}, then crop both pictures alike."
