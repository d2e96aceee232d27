"""Are these good pairs? A verdict on each, the reason in a sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pairedit_sdk.errors import counted
from pairedit_sdk.pairs.direction import Change, change, opposed
from pairedit_sdk.pairs.mixed import region, unlike_all_others
from pairedit_sdk.pairs.pair_report import CLEAR_AGREEMENT, LARGE_SHIFT, PairReport, judge, measure
from pairedit_sdk.pairs.registration import Outlines, Registration, agreement, outlines, register
from pairedit_sdk.pairs.shapes import Shapes, in_another_style, shapes_of

if TYPE_CHECKING:
    from pairedit_sdk.pairs.pair_set import PairSet

__all__ = ["PairReport", "SetReport", "check_pairs", "check_set", "worth_training"]

#: A stranger's after picture fits better by this when two targets are exchanged.
_EXCHANGE_GAIN = 0.15
#: Below this a pair's own agreement is weak enough to look for a better partner.
_SUSPICIOUS = 0.75

#: More pairs than this add little.
ENOUGH_PAIRS = 6

_ONE_EDIT = (
    "An edit is learned from pairs that all show one and the same change: train different ones "
    "each by itself."
)


@dataclass(frozen=True)
class SetReport:
    """What was found about all pairs.

    Args:
        pairs: the report on each, in the order of the set.
        advice: what to do about the set as a whole, in sentences.
    """

    pairs: list[PairReport]
    advice: list[str]

    @property
    def worth_training(self) -> bool:
        """Whether there are pairs and none of them is bad."""
        return worth_training(self.pairs)

    def all_advice(self) -> list[str]:
        """All advice in lines, with the names of the pairs that it is for; each is given once."""
        names: dict[str, list[str]] = {}
        for report in self.pairs:
            if report.advice:
                names.setdefault(report.advice, []).append(report.name)
        lines = [f"{', '.join(those)}: {advice}" for advice, those in names.items()]
        return [*lines, *self.advice]


def check_pairs(pairs: PairSet) -> list[PairReport]:
    """Check every pair alone and against the others, in the order of the set.

    Alone: whether anything changes, and whether before and after show the same picture and are
    aligned. Against the others: whether after pictures are exchanged between pairs and, from three
    pairs on, whether before and after of one pair are swapped. Not every swapped pair is found:
    only one whose change is clearly opposite to that of the others.
    """
    return check_set(pairs).pairs


def check_set(pairs: PairSet) -> SetReport:
    """As :func:`check_pairs`, with advice on the set as a whole."""
    sides = [(outlines(pair.before), outlines(pair.after)) for pair in pairs]
    found = [measure(pair, *side, register(*side)) for pair, side in zip(pairs, sides, strict=True)]
    unclear = [index for index, one in enumerate(found) if one.unclear]
    shapes = [(shapes_of(one), shapes_of(two)) for one, two in sides] if unclear else []
    for index in in_another_style(shapes, unclear):
        found[index] = replace(found[index], restyled=True)
    reports = [judge(pair, one) for pair, one in zip(pairs, found, strict=True)]
    partners = _exchanged(sides, [one.place for one in found], reports)
    partners = _exchanged_in_style(shapes, reports) | partners
    for index, partner in partners.items():
        reports[index] = _exchange_report(reports[index], reports[partner].name)
    changes = _compare_directions(pairs, reports)
    _note_sizes(pairs, reports)
    return SetReport(reports, _set_advice(pairs, changes))


def worth_training(reports: Sequence[PairReport]) -> bool:
    """Whether there are pairs and none of them is bad."""
    return bool(reports) and all(report.verdict != "bad" for report in reports)


def _note_sizes(pairs: PairSet, reports: list[PairReport]) -> None:
    for index, pair in enumerate(pairs):
        if pair.after_size is not None:
            note = (
                f"The after picture is {pair.after_size[0]} x {pair.after_size[1]}, and is brought "
                f"to the size of the before picture, {pair.before.width} x {pair.before.height}."
            )
            advice = f"{reports[index].advice} {note}".strip()
            reports[index] = replace(reports[index], advice=advice)


def _set_advice(pairs: PairSet, changes: Sequence[Change | None]) -> list[str]:
    """What concerns no single pair."""
    advice = []
    alone = unlike_all_others(
        [
            None if one is None else (one, region(pair.before, pair.after))
            for pair, one in zip(pairs, changes, strict=True)
        ]
    )
    if len(alone) == len(pairs):
        advice.append(f"These pairs seem to show different edits. {_ONE_EDIT}")
    elif alone:
        names = " and ".join(f"'{pairs[index].name}'" for index in alone)
        seem = "seems" if len(alone) == 1 else "seem"
        advice.append(f"{names} {seem} to show another edit than the other pairs. {_ONE_EDIT}")
    if len(pairs) > ENOUGH_PAIRS:
        advice.append(
            f"These are {counted(len(pairs), 'pair')}: {ENOUGH_PAIRS} are usually enough, and of "
            "more, each is seen less often, so give them more steps."
        )
    return advice


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


def _exchanged_in_style(
    shapes: Sequence[tuple[Shapes, Shapes]], reports: Sequence[PairReport]
) -> dict[int, int]:
    """For bad pairs: the pair whose after picture is its before picture in another style."""
    bad = [k for k, report in enumerate(reports) if report.verdict == "bad"]
    return {
        k: j
        for k in bad
        for j in bad
        if shapes
        and j != k
        and shapes[k][0].same_scene(shapes[j][1])
        and not shapes[k][0].same_scene(shapes[k][1])
        and not shapes[j][0].same_scene(shapes[j][1])
    }


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


def _compare_directions(pairs: PairSet, reports: list[PairReport]) -> list[Change | None]:
    """What the pairs that are not bad change; one that runs against the others is reported."""
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
    return [
        None if report.verdict == "bad" else one
        for one, report in zip(changes, reports, strict=True)
    ]
