"""Are these good pairs? A verdict on each, the reason in a sentence, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pairedit_sdk.pairs.direction import change, opposed
from pairedit_sdk.pairs.registration import (
    WORK_SIDE,
    Outlines,
    Registration,
    agreement,
    outlines,
    register,
)

if TYPE_CHECKING:
    from pairedit_sdk.pairs.pair_set import Pair, PairSet

Verdict = Literal["good", "usable", "bad"]

#: A pixel has changed when brightness or colour, blurred, differ by more than this of 255 levels.
CHANGED_LEVELS = 8
#: Less than this share of changed pixels is hardly anything.
SMALL_AREA = 0.001
#: A largest difference of no more levels than this is nothing: saving as JPEG again does as much.
_INVISIBLE_LEVELS = 3

#: Displacements, as shares of the long side, from which on a pair is only usable, and bad.
SLIGHT_SHIFT, LARGE_SHIFT = 0.006, 0.01
#: A shorter one is within the error of the measurement where the edit is large: taken as none.
_MEASURED_SHIFT = 0.003

#: Agreement of the outlines: real and drawn pairs have 0.55 to 1, strangers mostly below 0.35.
CLEAR_AGREEMENT, LEAST_AGREEMENT = 0.5, 0.4
#: A stranger's after picture fits better by this when two targets are exchanged.
_EXCHANGE_GAIN = 0.15
#: Below this a pair's own agreement is weak enough to look for a better partner.
_SUSPICIOUS = 0.75

#: More pairs than this add little.
ENOUGH_PAIRS = 6


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


def check_pairs(pairs: PairSet) -> list[PairReport]:
    """Check every pair alone and against the others, in the order of the set.

    Up to two pairs cannot tell which side is before. From three on a swapped pair is found where
    the change looks clearly opposite, which is not always.

    Alone: whether anything changes, and whether before and after are the same picture and lie on
    each other. Against the others: whether after pictures are exchanged between pairs and, from
    three pairs on, whether the before and after of one pair are the wrong way round.
    """
    sides = [(outlines(pair.before), outlines(pair.after)) for pair in pairs]
    found = [register(before, after) for before, after in sides]
    reports = [
        _alone(pair, *side, place) for pair, side, place in zip(pairs, sides, found, strict=True)
    ]
    for index, partner in _exchanged(sides, found, reports).items():
        reports[index] = _exchange_report(reports[index], reports[partner].name)
    _compare_directions(pairs, reports)
    for index, pair in enumerate(pairs):
        if pair.after_size is not None:
            note = (
                f"The after picture is {pair.after_size[0]} x {pair.after_size[1]}, and is brought "
                f"to the size of the before picture, {pair.before.width} x {pair.before.height}."
            )
            advice = f"{reports[index].advice} {note}".strip()
            reports[index] = replace(reports[index], advice=advice)
    if len(reports) > ENOUGH_PAIRS:
        note = (
            f"These are {len(reports)} pairs: {ENOUGH_PAIRS} are usually enough, and of more, each "
            "is seen less often, so give them more steps."
        )
        # Said once, at the first pair beyond, because it concerns the set and not a pair.
        last = reports[ENOUGH_PAIRS]
        reports[ENOUGH_PAIRS] = replace(last, advice=f"{last.advice} {note}".strip())
    return reports


def worth_training(reports: Sequence[PairReport]) -> bool:
    """Whether there are pairs and none of them is bad."""
    return bool(reports) and all(report.verdict != "bad" for report in reports)


def changed_area(before: Image.Image, after: Image.Image) -> tuple[float, float]:
    """The share of changed pixels of two RGB pictures of the same size, and the largest change.

    Brightness is blurred by 0.6 % and colour by 1.2 % of the long side, as JPEG files keep colour
    at half the resolution. The largest change is in levels of 255.
    """
    first, second = _soft(before), _soft(after)
    difference = np.abs(first - second).max(axis=2)
    return float((difference > CHANGED_LEVELS).mean()), float(difference.max())


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


def _alone(pair: Pair, before: Outlines, after: Outlines, place: Registration) -> PairReport:
    """The report on a pair by itself."""
    area, largest = changed_area(pair.before, pair.after)
    side = max(pair.before.size)
    shift = (round(place.dx * side), round(place.dy * side))
    if place.shift < _MEASURED_SHIFT:
        shift = (0, 0)
    displaced = place.shift + place.warp
    same = largest <= _INVISIBLE_LEVELS
    if same or (before.featureless and after.featureless):
        shift, aligned = (0, 0), True
    elif place.agreement < LEAST_AGREEMENT:
        # Where the pictures have nothing in common, the best shift means nothing.
        shift, aligned = (0, 0), False
    else:
        aligned = displaced < LARGE_SHIFT
    verdict: Verdict = "good"
    reason, advice = f"{_percent(area)} of the picture changes, and the rest is aligned", ""
    if same:
        verdict = "bad"
        reason = "Before and after are the same picture, so there is nothing to learn"
        advice = "Put the edited picture in place of the after picture."
    elif before.featureless and after.featureless:
        verdict = "usable"
        reason = f"{_percent(area)} changes, but there are no outlines to tell the alignment by"
        advice = "Look at the two pictures one above the other."
    elif place.agreement < LEAST_AGREEMENT:
        verdict = "bad"
        reason = (
            "Before and after are different pictures: only "
            f"{place.agreement:.0%} of the outlines are in the same place"
        )
        advice = (
            "As after picture, use an edited version of the before picture itself, not another "
            "picture of the person or scene."
        )
    elif displaced >= SLIGHT_SHIFT:
        verdict = "usable" if aligned else "bad"
        reason = f"The after picture is {_displacement(place, shift, pair.before.width)}"
        reason += "" if aligned else ", and training would learn that too"
        advice = _undo_advice(place, shift)
    elif place.agreement < CLEAR_AGREEMENT:
        verdict = "usable"
        reason = f"{_percent(area)} changes, and only {place.agreement:.0%} of the outlines stay"
        advice = "Make sure that only the edit differs: what else differs is learned as well."
    elif area < SMALL_AREA:
        verdict = "usable"
        reason = (
            f"Hardly anything changes: {area:.2%} of the picture, by {largest:.0f} of 255 levels"
        )
        advice = "Crop both pictures alike, closer to the part that changes, or make it plainer."
    elif area > 0.9:
        reason = f"Nearly all of the picture changes ({area:.0%}), and it is aligned"
    return PairReport(pair.name, area, shift, aligned, verdict, reason, advice)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _displacement(place: Registration, shift: tuple[int, int], width: int) -> str:
    parts = []
    if place.zoom != 1:
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
    if place.zoom != 1:
        back = "Scale it back to the same size"
    elif place.angle:
        back = "Turn it back"
    else:
        back = f"Move it {_towards((-shift[0], -shift[1])) or 'back'}"
    return f"{back}, then crop both pictures alike."


def _exchanged(
    sides: Sequence[tuple[Outlines, Outlines]],
    found: Sequence[Registration],
    reports: Sequence[PairReport],
) -> dict[int, int]:
    """For pairs that agree poorly: the pair whose after picture fits their before picture."""
    partners = {}
    for i, (before, _) in enumerate(sides):
        if found[i].agreement >= _SUSPICIOUS:
            continue
        fits = [
            -1.0
            if j == i or after.picture.size != before.picture.size
            else _in_place(agreement(before, after))
            for j, (_, after) in enumerate(sides)
        ]
        j = int(np.argmax(fits))
        own = agreement(sides[j][0], sides[j][1]).agreement
        # A before picture used in several pairs fits all their after pictures: no exchange.
        better = fits[j] >= max(CLEAR_AGREEMENT, found[i].agreement + _EXCHANGE_GAIN)
        if better and (fits[j] >= own + _EXCHANGE_GAIN or reports[i].verdict == "bad"):
            partners[i] = j
    return partners


def _in_place(place: Registration) -> float:
    return place.agreement if place.shift < LARGE_SHIFT else -1.0


def _exchange_report(report: PairReport, other: str) -> PairReport:
    return replace(
        report,
        shift=(0, 0),
        aligned=False,
        verdict="bad",
        reason=f"Its after picture belongs to another pair: its before picture fits the after "
        f"picture of '{other}'",
        advice=f"Exchange the after pictures of '{report.name}' and '{other}', or name the files "
        "so that they match.",
    )


def _compare_directions(pairs: PairSet, reports: list[PairReport]) -> None:
    changes = [
        change(pair.before, pair.after) if report.verdict != "bad" else None
        for pair, report in zip(pairs, reports, strict=True)
    ]
    for index in opposed(changes, sure=True):
        reports[index] = replace(
            reports[index],
            verdict="bad",
            reason="Before and after seem to be swapped: it changes the opposite way to the other "
            "pairs",
            advice="Exchange its before and after pictures.",
        )
    for index in opposed(changes, sure=False):
        if reports[index].verdict == "good":
            reports[index] = replace(
                reports[index],
                verdict="usable",
                reason=f"{reports[index].reason}, but perhaps the opposite way to the other pairs",
                advice="See whether before and after are swapped.",
            )
