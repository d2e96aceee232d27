"""Random changes of drawn faces: any colour, the named values, degrees, marks and tones.

What the picture after a change shows and the one before does not tell is the same for every
person of the change, so that it follows from one pair: the colour of a hat that is put on, say.
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from pairedit_sdk.builtin.faces.analogies import SEEN
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.coarse import coarse_caption
from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Value
from pairedit_sdk.builtin.faces.held_out import is_brown, kept_back
from pairedit_sdk.builtin.faces.marks import KINDS, OPEN, Mark
from pairedit_sdk.builtin.faces.tones import Tone

#: What is there when nothing is; a change from a value to it is the change backwards.
PLAIN: dict[str, str] = {
    name: plain
    for name, values in VALUES.items()
    for plain in ("none", "no", "young", "medium", "neutral")
    if plain in values
}
Choices = Mapping[str, tuple[Value, ...]]
_BARE: Choices = {"hat": ("none",), "hair_style": ("short", "long", "bob", "bun")}
_AROUND: Choices = {"hair_style": ("long", "bob")}
#: How often each kind of tone is drawn.
_TONES = {
    "duotone": 3, "tint": 2, "saturation": 1, "contrast": 1, "brightness": 1,
    "vignette": 1, "blur": 1,
}  # fmt: skip
_THINGS = ("glasses", "hat", "beard", "earrings", "necklace")
_HATS: Choices = {"hat": ("cap", "beanie")}


@dataclass(frozen=True)
class Change:
    """One change of any person.

    Args:
        after: what is set.
        before: what a person has before it; one of the values is drawn for each person.
        both: what a person has before and after, likewise.
    """

    after: Mapping[str, Value]
    before: Choices = field(default_factory=dict)
    both: Choices = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """What is said of it, coarsely."""
        return coarse_caption(next(iter(self.after.items())))

    @property
    def names(self) -> set[str]:
        """Everything that it sets or needs."""
        return {*self.after, *self.before, *self.both}


def any_colour(rng: random.Random) -> str:
    """A colour as "#rrggbb": hue and lightness even, one in eight grey."""
    saturation = 0.0 if rng.random() < 0.125 else rng.uniform(0.2, 1)
    return _hex(rng.random(), saturation, rng.uniform(0.15, 1))


def _hex(hue: float, saturation: float, value: float) -> str:
    parts = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def allowed_colour(name: str, rng: random.Random) -> str:
    """Any colour that is not kept back for this attribute."""
    while kept_back(name, colour := any_colour(rng)):
        pass
    return colour


def colour_change(rng: random.Random) -> Change:
    """Hair, hat, shirt, lipstick, background or eyes to any colour."""
    needs: dict[str, Choices] = {
        "hair_color": {"age": ("young",), **_BARE},
        "hat_color": _HATS,
        "shirt_color": {},
        "lipstick": {"beard": ("none", "stubble", "full")},
        "background": {},
        "eye_color": {"eye_size": ("medium", "big")},
    }
    name = rng.choice(list(needs))
    return Change({name: allowed_colour(name, rng)}, both=needs[name])


def named_change(rng: random.Random) -> Change:
    """A value that has a name, or backwards what is there without it."""
    by_name: dict[str, list[str]] = {}
    for name, value in SEEN:
        if name != "style":
            by_name.setdefault(name, []).append(value)
    # By the attribute first: colours have most of the values, and things are what is hard.
    name = rng.choices(list(by_name), [2 if n in _THINGS else 1 for n in by_name])[0]
    value = rng.choice(by_name[name])
    plain = PLAIN.get(name)
    seen = tuple(v for v in ATTRIBUTES[name] if not kept_back(name, v))
    hair = {"hair_color": (rng.choice([v for v in VALUES["hair_color"] if v != "blue"]),)}
    both: dict[str, tuple[Value, ...]] = {}
    if name == "hat":
        both = {"hat_color": (rng.choice(VALUES["hat_color"]),)}
    elif name == "hat_color":
        both = {**_HATS}
    elif name == "hair_style":
        both = {**hair, "hat": ("none",)}
    elif name == "hair_color":
        both = {**_BARE, "age": ("young",)}
    elif name in ("beard", "age"):
        both = {**_BARE}
    elif name in ("eye_color", "eye_size"):
        both = {"glasses": ("none", "round", "square")}
    if plain is None:
        return Change({name: value}, {name: tuple(v for v in seen if v != value)}, both)
    if rng.random() < 0.65:
        return Change({name: value}, {name: (plain,)}, both)
    if name == "hat":  # what it has hidden is the same for all
        both = {**_AROUND, "eyebrows": (rng.choice(VALUES["eyebrows"]),)}
    elif name == "beard":
        both |= {"chubby": ("no",), "face_shape": (rng.choice(VALUES["face_shape"]),)}
    elif name == "age":
        both |= hair
    taken = tuple(v for v in seen if v != plain)
    return Change({name: plain}, {name: (value,) if rng.random() < 0.5 else taken}, both)


def degree_change(rng: random.Random) -> Change:
    """How old, how chubby, how large: from one level to another, up or down."""
    levels: dict[str, tuple[float, float, float, Choices]] = {
        "ageing": (0.0, 1.6, 0.6, {"age": ("old",), **_BARE}),
        "fullness": (0.0, 1.7, 0.7, {"chubby": ("yes",), "beard": ("none", "stubble")}),
        "hat_size": (0.84, 1.35, 0.2, _HATS),
        "glasses_size": (0.75, 1.4, 0.25, {"glasses": ("round", "square")}),
        "eye_scale": (0.65, 1.5, 0.35, {"glasses": ("none", "round", "square")}),
        "nose_scale": (0.6, 1.8, 0.5, {}),
        "mouth_scale": (0.6, 1.55, 0.4, {}),
    }
    name = rng.choice(list(levels))
    least, most, step, both = levels[name]
    low = rng.uniform(least, most - step)
    ends = [round(low, 2), round(rng.uniform(low + step, most), 2)]
    if rng.random() < 0.5:
        ends.reverse()
    if name == "hat_size":
        both = {**both, **_AROUND, "eyebrows": (rng.choice(VALUES["eyebrows"]),)}
    return Change({name: ends[1]}, {name: (ends[0],)}, both)


def marks_change(rng: random.Random) -> Change:
    """One or two marks that are put on or, one time in three, taken away."""
    marks = tuple(any_mark(rng) for _ in range(rng.choice((1, 1, 2))))
    if rng.random() < 1 / 3:
        return Change({"marks": ()}, {"marks": (marks,)})
    return Change({"marks": marks}, {"marks": ((),)})


def any_mark(rng: random.Random) -> Mark:
    """A mark at a place where no moustache, sunglasses or top hat is taken for it."""
    place = rng.choice(("forehead", "cheek", "chin", "beside", "around", "shirt"))
    kind, size, x, y = rng.choice(KINDS), rng.uniform(0.08, 0.14), 0.0, 0.0
    behind = place in ("beside", "around")
    if place == "forehead":
        x, y = rng.uniform(-0.15, 0.15), rng.uniform(-0.33, -0.24)
    elif place == "cheek":
        x, y = rng.choice((-1, 1)) * rng.uniform(0.22, 0.29), rng.uniform(0.14, 0.26)
        size = rng.uniform(0.07, 0.11)
    elif place == "chin":
        x, y = rng.uniform(-0.1, 0.1), rng.uniform(0.46, 0.54)
    elif place == "shirt":
        x, y, size = rng.uniform(-0.5, 0.5), rng.uniform(0.82, 0.88), rng.uniform(0.09, 0.16)
    elif place == "beside":
        x, y = rng.choice((-1, 1)) * rng.uniform(0.68, 0.8), rng.uniform(-0.75, 0.4)
        size = rng.uniform(0.12, 0.24)
    else:  # around the head, which covers its middle
        kind, size = rng.choice(("disc", "ring", "star", "square")), rng.uniform(0.72, 0.9)
        y = rng.uniform(-0.15, 0.0)
    if kind in ("stripe", "zigzag", "dots"):
        size *= 1.35
    return Mark(
        kind,
        round(x, 3),
        round(y, 3),
        round(size, 3),
        any_colour(rng),
        angle=float(rng.choice((0, 0, rng.randint(-90, 90)))),
        filled=kind not in OPEN and rng.random() < 0.75,
        mirrored=place in ("cheek", "beside") and rng.random() < 0.5,
        behind=behind,
        count=rng.randint(3, 6),
    )


def tone_change(rng: random.Random) -> Change:
    """A tone, night or a sketch; backwards where the picture before tells what comes back."""
    if rng.random() < 0.2:
        style = rng.choice(("night", "night", "sketch"))
        if style == "night" and rng.random() < 0.3:
            return Change({"style": "photo"}, {"style": (style,)})
        return Change({"style": style}, {"style": ("photo",)})
    tone = any_tone(rng)
    if tone.kind in ("tint", "vignette") and rng.random() < 0.3:
        return Change({"tone": None}, {"tone": (tone,)})
    return Change({"tone": tone}, {"tone": (None,)})


def any_tone(rng: random.Random) -> Tone:
    """A tone that shows and is not brown as sepia is."""
    kind = rng.choices(list(_TONES), weights=list(_TONES.values()))[0]
    if kind in ("duotone", "tint"):
        while True:
            hue = rng.random()
            if kind == "tint":
                colours: tuple[str, ...] = (
                    _hex(hue, rng.uniform(0.35, 0.75), rng.uniform(0.8, 1)),
                )
            else:
                dark = _hex(hue + rng.uniform(-0.15, 0.15), rng.random(), rng.uniform(0, 0.3))
                middle = _hex(hue, rng.uniform(0.3, 0.9), rng.uniform(0.5, 0.8))
                light = _hex(hue + rng.uniform(-0.15, 0.15), rng.uniform(0, 0.4), 1.0)
                colours = (dark, middle, light)
            if not is_brown(colours[len(colours) // 2]):
                return Tone(kind, colours=colours)
    low, high = {
        "saturation": ((0, 0.35), (1.8, 3)),
        "contrast": ((0.3, 0.6), (1.4, 1.8)),
        "brightness": ((0.4, 0.7), (1.3, 1.7)),
        "vignette": ((0.6, 1.0), (0.6, 1.0)),
        "blur": ((0.007, 0.012), (0.012, 0.018)),
    }[kind]
    return Tone(kind, round(rng.uniform(*rng.choice((low, high))), 3))
