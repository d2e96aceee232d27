"""The small pairs that ship as examples: a few drawn faces, each before and after one change.

Run ``python -m pairedit_sdk.builtin.faces.example_pairs FOLDER`` to draw them again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face, visible
from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.images.files import write_image

SPLIT = "examples"
PAIRS = 3
SIZE = 128
CANDIDATES = 80

#: What the three faces of an edit should differ in, so that only the edit is common to them.
VARIED = (
    "skin", "hair_style", "hair_color", "face_shape", "eye_color", "beard", "age", "background",
    "shirt_color", "collar", "glasses", "mouth", "lipstick",
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One edit as it is shown.

    Args:
        before: attributes set before the change.
        after: attributes that the change sets.
        only: of the other attributes, the values that a face may have to be chosen.
        copied: attributes that the change sets to the value of another one of the same face.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    copied: Mapping[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> tuple[str, ...]:
        """The attributes that the change sets."""
        return (*self.after, *self.copied)

    def pair(self, face: Face) -> tuple[Face, Face]:
        """``face`` before and after the change."""
        before = face.with_(**self.before)
        copies = {name: getattr(before, source) for name, source in self.copied.items()}
        return before, before.with_(**self.after, **copies)

    def shows(self, face: Face) -> bool:
        """Whether the change can be told: its attributes from the picture after it, and those
        that replace another value from the one before, too."""
        before, after = self.pair(face)
        return all(visible(after, name) for name in self.changed) and all(
            visible(before, name) for name in self.after
        )

    def suits(self, face: Face) -> bool:
        """Whether the change can be shown on ``face``, and plainly: nothing hides the head."""
        if face.style != "photo" or face.hat != "none" or face.glasses == "sunglasses":
            return False
        if face.beard != "none" and face.lipstick != "none":
            return False
        return all(getattr(face, name) in values for name, values in self.only.items())


def _but(attribute: str, *unwanted: str) -> frozenset[str]:
    return frozenset(ATTRIBUTES[attribute]) - set(unwanted)


_NO_FULL_BEARD = {"beard": _but("beard", "full")}
_FREE_LIPS = {"beard": _but("beard", "full", "mustache")}
_OWN_COLOUR = {
    "hair_style": _but("hair_style", "bald"),
    "hair_color": frozenset({"black", "brown", "blond"}),
}

EXAMPLES: dict[str, Example] = {
    "glasses": Example({"glasses": "none"}, {"glasses": "round"}),
    "smile": Example({"mouth": "neutral"}, {"mouth": "smiling"}, _FREE_LIPS),
    "hat": Example({"hat_color": "red"}, {"hat": "beanie"}),
    "age": Example({"age": "young"}, {"age": "old"}, _OWN_COLOUR),
    "chubby": Example({"chubby": "no"}, {"chubby": "yes"}, _NO_FULL_BEARD),
    "lipstick": Example({"lipstick": "none"}, {"lipstick": "red"}, _FREE_LIPS),
    "earrings": Example({"earrings": "none"}, {"earrings": "gold"}),
    "hair-color": Example({"age": "young"}, {"hair_color": "red"}, _OWN_COLOUR),
}


def example_faces(name: str, count: int = PAIRS) -> list[tuple[Face, Face]]:
    """The faces of edit ``name``, before and after."""
    # Every edit shows people of its own, so that no face is in two of the sets.
    return varied_faces(EXAMPLES[name], list(EXAMPLES).index(name) * 10_000, count)


def varied_faces(example: Example, start: int, count: int = PAIRS) -> list[tuple[Face, Face]]:
    """Faces before and after a change, as different from each other as can be.

    Of the first candidates that suit, the first is taken, then again and again the one whose
    nearest neighbour among those taken is the farthest.

    Args:
        example: the change.
        start: where in the split of examples the search begins.
        count: how many.
    """
    candidates: list[tuple[Face, Face]] = []
    index = start
    while len(candidates) < CANDIDATES:
        face = face_at(index, SPLIT)
        index += 1
        if example.suits(face) and example.shows(face):
            candidates.append(example.pair(face))
    chosen = [candidates.pop(0)]
    while len(chosen) < count:
        best = max(candidates, key=lambda c: min(_distance(c[0], other) for other, _ in chosen))
        candidates.remove(best)
        chosen.append(best)
    return chosen


def _distance(a: Face, b: Face) -> int:
    return sum(getattr(a, name) != getattr(b, name) for name in VARIED)


def write_example_pairs(folder: str | Path) -> list[Path]:
    """Draw every edit's pairs: ``FOLDER/EDIT/source/N.png`` and ``FOLDER/EDIT/target/N.png``.

    Returns:
        The files written.
    """
    written = []
    for name in EXAMPLES:
        for number, pair in enumerate(example_faces(name), start=1):
            for side, face in zip(("source", "target"), pair, strict=True):
                path = Path(folder) / name / side / f"{number}.png"
                written.append(write_image(face.draw(SIZE), path))
    return written


if __name__ == "__main__":
    print(f"{len(write_example_pairs(sys.argv[1]))} pictures in {sys.argv[1]}")
