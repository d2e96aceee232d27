"""Changes that no analogy of a training shows, in three groups that no figure may mix."""

from __future__ import annotations

import colorsys
import random

from pairedit_sdk.builtin.faces.canvas import BACKGROUND, CLOTH, HAIR, LIPS, Colour, colour_of
from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face
from pairedit_sdk.builtin.faces.tones import Tone

Change = tuple[str, str]

#: New values of an attribute that is known with many other values.
NEW_VALUES: tuple[Change, ...] = (
    ("hair_color", "blue"),
    ("background", "pink"),
    ("lipstick", "purple"),
    ("shirt_color", "yellow"),
)
#: Things that are in no analogy.
NEW_THINGS: tuple[Change, ...] = (
    ("glasses", "sunglasses"),
    ("hat", "top"),
    ("style", "sepia"),
    ("beard", "mustache"),
)
#: New forms of what is known in others.
NEW_FORMS: tuple[Change, ...] = (
    ("earrings", "pearl"),
    ("mouth", "laughing"),
    ("hair_style", "curly"),
    ("freckles", "yes"),
)
#: In RGB: a colour is held out if it is nearer than this to a held-out one of its attribute.
APART = 45.0
#: Degrees: a duotone or tint whose colour has such a hue is nearly sepia.
SEPIA_HUES = (5.0, 60.0)
_PALETTES = {"hair_color": HAIR, "background": BACKGROUND, "lipstick": LIPS, "shirt_color": CLOTH}


def is_held_out(name: str, value: str) -> bool:
    """Whether an attribute's value, by its name or as "#rrggbb", is held out."""
    if (name, value) in (*NEW_VALUES, *NEW_THINGS, *NEW_FORMS):
        return True
    if value in ("none", "no") or name not in _PALETTES:
        return False
    held = dict(NEW_VALUES)[name]
    palette = _PALETTES[name]
    return distance(colour_of(palette, value), palette[held]) < APART


def shows_held_out(face: Face) -> bool:
    """Whether a person has a held-out value, though it may not be what changes."""
    names = {name for name, _ in (*NEW_VALUES, *NEW_THINGS, *NEW_FORMS)}
    return any(is_held_out(name, getattr(face, name)) for name in names)


def without_held_out(face: Face, rng: random.Random) -> Face:
    """The person with other values in the place of held-out ones."""
    changed = {}
    for name, held in (*NEW_VALUES, *NEW_THINGS, *NEW_FORMS):
        if getattr(face, name) == held:
            values = {v: w for v, w in ATTRIBUTES[name].items() if not is_held_out(name, v)}
            changed[name] = rng.choices(list(values), weights=list(values.values()))[0]
    return face.with_(**changed) if changed else face


def is_like_sepia(tone: Tone) -> bool:
    """Whether a tone would show sepia: its middle colour, or its tint, is a brown."""
    if tone.kind not in ("duotone", "tint"):
        return False
    r, g, b = (part / 255 for part in colour_of({}, tone.colours[len(tone.colours) // 2]))
    hue, saturation, _ = colorsys.rgb_to_hsv(r, g, b)
    return SEPIA_HUES[0] <= hue * 360 <= SEPIA_HUES[1] and saturation > 0.08


def distance(one: Colour, other: Colour) -> float:
    """Between two colours in RGB."""
    return float(sum((x - y) ** 2 for x, y in zip(one, other, strict=True)) ** 0.5)
