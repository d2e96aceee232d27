"""Drawn faces: a record of attributes, its caption and its picture, all deterministic.

A :class:`Face` is a frozen record, drawn by :mod:`pairedit_sdk.builtin.faces.drawing`. With
``face.with_(glasses="round")`` one attribute changes: drawing both faces gives an edit's truth.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from pairedit_sdk.builtin.faces.colours import is_hex

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.builtin.faces.marks import Mark
    from pairedit_sdk.builtin.faces.tones import Tone

#: Every attribute with its values and how often :func:`sample_face` draws each of them.
ATTRIBUTES: dict[str, dict[str, float]] = {
    "age": {"young": 0.65, "old": 0.35},
    "chubby": {"no": 0.7, "yes": 0.3},
    "skin": {"pale": 1, "light": 1, "tan": 1, "olive": 1, "brown": 1, "dark": 1},
    "face_shape": {"oval": 1, "round": 1, "square": 1},
    "hair_style": {"short": 3, "long": 3, "bob": 2, "curly": 3, "bun": 2, "bald": 1.5},
    "hair_color": {"black": 1, "brown": 1, "blond": 1, "red": 1, "gray": 0.6, "blue": 0.6},
    "eyebrows": {"thin": 1, "thick": 1},
    "eye_color": {"brown": 1, "blue": 1, "green": 1},
    "eye_size": {"small": 1, "medium": 1.4, "big": 1},
    "nose": {"small": 1, "big": 1},
    "mouth": {"neutral": 3, "smiling": 3, "laughing": 1.5, "sad": 1.5},
    "lipstick": {"none": 3, "red": 1, "pink": 1, "purple": 0.7},
    "glasses": {"none": 3, "round": 1.2, "square": 1.2, "sunglasses": 1},
    "beard": {"none": 4, "stubble": 1, "mustache": 1, "full": 1.2},
    "hat": {"none": 4, "cap": 1, "beanie": 1.2, "top": 0.8},
    "hat_color": {"red": 1, "blue": 1, "green": 1, "yellow": 1, "purple": 1, "black": 1},
    "earrings": {"none": 3, "gold": 1, "pearl": 1},
    "freckles": {"no": 0.75, "yes": 0.25},
    "blush": {"no": 0.75, "yes": 0.25},
    "necklace": {"no": 0.75, "yes": 0.25},
    "shirt_color": {
        "red": 1, "blue": 1, "green": 1, "yellow": 1, "purple": 1, "black": 1, "white": 1,
    },
    "collar": {"round": 1, "v-neck": 1, "hooded": 0.8},
    "background": {
        "white": 1, "gray": 1, "blue": 1, "green": 1, "yellow": 1, "pink": 1, "purple": 1,
        "orange": 1,
    },
    "style": {"photo": 0.82, "sketch": 0.06, "night": 0.06, "sepia": 0.06},
}  # fmt: skip
#: Attributes that can be any colour, "#rrggbb", beside those that have a name.
COLOURS = frozenset(
    {"hair_color", "eye_color", "hat_color", "shirt_color", "lipstick", "background"}
)
#: How much of something is drawn, 1 being what it is without: the least and the most.
LEVELS: dict[str, tuple[float, float]] = {
    "ageing": (0.0, 2.0),
    "fullness": (0.0, 2.0),
    "hat_size": (0.5, 1.6),
    "glasses_size": (0.5, 1.6),
    "eye_scale": (0.5, 1.8),
    "nose_scale": (0.5, 2.0),
    "mouth_scale": (0.5, 1.8),
}
#: What a field of a :class:`Face` can hold.
Value: TypeAlias = "str | float | tuple[Mark, ...] | Tone | None"


@dataclass(frozen=True)
class Face:
    """One drawn person. The strings are values of :data:`ATTRIBUTES`; the floats are the pose.

    The colours (:data:`COLOURS`) are a name or "#rrggbb". ``ageing`` to ``mouth_scale`` are
    factors, of what "old" and "chubby" draw, of the size of what is worn, and of the features;
    :data:`LEVELS` has their ranges. ``marks`` are drawn on the face or behind it; ``tone`` changes
    the whole picture.

    ``shift_x``, ``shift_y`` are in half image widths, ``tilt`` in radians, ``zoom`` is a factor,
    ``gaze`` is −1 (left) to 1 (right).
    """

    age: str = "young"
    chubby: str = "no"
    skin: str = "light"
    face_shape: str = "oval"
    hair_style: str = "short"
    hair_color: str = "brown"
    eyebrows: str = "thin"
    eye_color: str = "brown"
    eye_size: str = "medium"
    nose: str = "small"
    mouth: str = "neutral"
    lipstick: str = "none"
    glasses: str = "none"
    beard: str = "none"
    hat: str = "none"
    hat_color: str = "red"
    earrings: str = "none"
    freckles: str = "no"
    blush: str = "no"
    necklace: str = "no"
    shirt_color: str = "blue"
    collar: str = "round"
    background: str = "gray"
    style: str = "photo"
    shift_x: float = 0.0
    shift_y: float = 0.0
    tilt: float = 0.0
    zoom: float = 1.0
    gaze: float = 0.0
    ageing: float = 1.0
    fullness: float = 1.0
    hat_size: float = 1.0
    glasses_size: float = 1.0
    eye_scale: float = 1.0
    nose_scale: float = 1.0
    mouth_scale: float = 1.0
    marks: tuple[Mark, ...] = ()
    tone: Tone | None = None

    def __post_init__(self) -> None:
        for name, values in ATTRIBUTES.items():
            value = getattr(self, name)
            if value not in values and not (name in COLOURS and is_hex(value)):
                colour = " or #rrggbb" if name in COLOURS else ""
                raise ValueError(
                    f"Face.{name}: expected one of {', '.join(values)}{colour}; got {value!r}"
                )
        for name, (least, most) in LEVELS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"Face.{name}: expected {least} to {most}; got {getattr(self, name)!r}"
                )

    def with_(self, **changes: Value) -> Face:
        """The same face with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def draw(self, size: int = 128) -> Image.Image:
        """The picture, ``size`` × ``size`` RGB."""
        from pairedit_sdk.builtin.faces.drawing import draw_face

        return draw_face(self, size)


def sample_face(rng: random.Random, **fixed: str | float) -> Face:
    """A random face; ``fixed`` attributes are taken as given (their draws are still consumed)."""
    drawn: dict[str, str | float] = {
        name: rng.choices(list(values), weights=list(values.values()))[0]
        for name, values in ATTRIBUTES.items()
    }
    drawn["shift_x"] = round(rng.uniform(-0.05, 0.05), 3)
    drawn["shift_y"] = round(rng.uniform(-0.04, 0.04), 3)
    drawn["tilt"] = round(rng.uniform(-0.09, 0.09), 3)
    drawn["zoom"] = round(rng.uniform(0.95, 1.06), 3)
    drawn["gaze"] = round(rng.uniform(-1, 1), 2)
    return Face(**{**drawn, **fixed})  # type: ignore[arg-type]


def visible(face: Face, attribute: str) -> bool:
    """Whether the attribute's value can be told from the picture.

    The colour of a hat that is not worn, or of the hair of a clean-shaven bald head, cannot; nor
    can colours in a pencil sketch.
    """
    if attribute == "hat_color":
        seen = face.hat != "none"
    elif attribute == "hair_color":
        seen = (face.hair_style != "bald" or face.beard == "full") and face.age == "young"
    elif attribute == "hair_style":
        seen = face.hat == "none" or face.hair_style in {"long", "bob", "curly"}
    elif attribute in {"eye_color", "eye_size"}:
        seen = face.glasses != "sunglasses"
    elif attribute == "eyebrows":
        seen = face.glasses != "sunglasses" and face.hat not in {"cap", "beanie"}
    elif attribute == "lipstick":
        seen = face.beard not in {"mustache"}
    elif attribute in {"chubby", "face_shape"}:
        seen = face.beard != "full"
    else:
        seen = True
    colours = {
        "skin",
        "hair_color",
        "eye_color",
        "hat_color",
        "shirt_color",
        "background",
        "lipstick",
        "blush",
        "earrings",
        "freckles",
    }
    if attribute in colours and face.style != "photo":
        return False
    return seen
