"""Whether a drawn face shows something that is kept back from every analogy of the training."""

from __future__ import annotations

import colorsys
import math

from pairedit_sdk.builtin.faces.analogies import NEW_THINGS, NEW_VALUES, UNSEEN
from pairedit_sdk.builtin.faces.canvas import PALETTES, Colour, colour_of, from_hex
from pairedit_sdk.builtin.faces.colours import is_hex
from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.builtin.faces.tones import Tone

#: A colour this near to one that is kept back is kept back too; distance in RGB of 0 … 255.
NEAR = 75.0
#: Hues in degrees, from and to, of a picture in brown, which sepia is.
BROWN = (5.0, 60.0)
_COLOURS = [(name, PALETTES[name][value]) for name, value in NEW_VALUES]


def apart(one: Colour, other: Colour) -> float:
    """Distance of two colours in RGB of 0 … 255."""
    return math.dist(one, other)


def is_brown(colour: str) -> bool:
    """Whether the hue of "#rrggbb" is in :data:`BROWN`."""
    return BROWN[0] <= 360 * colorsys.rgb_to_hsv(*from_hex(colour))[0] <= BROWN[1]


def kept_back(name: str, value: object) -> bool:
    """Whether no change of the training may begin or end with this value of an attribute."""
    if (name, value) in UNSEEN:
        return True
    if isinstance(value, Tone):
        return any(map(is_brown, value.colours[len(value.colours) // 2 :][:1]))
    if not is_hex(value):
        return False
    found = colour_of(name, str(value))
    return any(n == name and apart(found, colour) <= NEAR for n, colour in _COLOURS)


def shows_kept_back(face: Face) -> bool:
    """Whether a face has a value or a thing that is kept back, whatever the change is of.

    Forms (:data:`~pairedit_sdk.builtin.faces.analogies.NEW_FORMS`) do not count: people may have
    them before and after a change alike.
    """
    if any(getattr(face, name) == value for name, value in (*NEW_VALUES, *NEW_THINGS)):
        return True
    if any(kept_back(name, getattr(face, name)) for name, _ in _COLOURS if _mixed(face, name)):
        return True
    return face.tone is not None and kept_back("tone", face.tone)


def _mixed(face: Face, name: str) -> bool:
    return is_hex(getattr(face, name))
