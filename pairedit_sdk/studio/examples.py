"""Drawn pictures to try the page with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

from pairedit_sdk.builtin.faces.example_pairs import EXAMPLES
from pairedit_sdk.builtin.faces.numbered import face_at

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.builtin.faces.face import Face

#: Edits that an analogy is drawn for. Their faces are none of the pairs that ship.
ANALOGIES = ("glasses", "hat")
SPLIT, SIZE = "studio", 256


def example_analogy(name: str) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Pictures a, a′ and b: a face before and after a change, and another face before it.

    Args:
        name: one of :data:`ANALOGIES`.
    """
    faces = _suitable(name)
    (before, after), (other, _) = next(faces), next(faces)
    return before.draw(SIZE), after.draw(SIZE), other.draw(SIZE)


def _suitable(name: str) -> Iterator[tuple[Face, Face]]:
    example = EXAMPLES[name]
    for number in count():
        face = face_at(number, SPLIT)
        if example.suits(face) and example.shows(face):
            yield example.pair(face)
