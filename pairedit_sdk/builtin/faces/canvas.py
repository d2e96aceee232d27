"""An oversampled canvas in head coordinates, and the palette of the drawn faces.

Coordinates are in half image widths around the centre of the head, y down. Everything on the
head passes through one pose transform; everything is drawn three times too large and averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.face import Face

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

OVERSAMPLE = 3

SKIN: dict[str, Colour] = {
    "pale": (250, 224, 206),
    "light": (240, 198, 166),
    "tan": (217, 165, 120),
    "olive": (190, 148, 98),
    "brown": (146, 96, 62),
    "dark": (94, 60, 42),
}
HAIR: dict[str, Colour] = {
    "black": (38, 34, 40),
    "brown": (104, 64, 38),
    "blond": (232, 194, 100),
    "red": (190, 74, 32),
    "gray": (168, 168, 174),
    "blue": (66, 104, 200),
}
EYES: dict[str, Colour] = {"brown": (96, 58, 30), "blue": (64, 130, 214), "green": (64, 150, 84)}
LIPS: dict[str, Colour] = {"red": (206, 24, 44), "pink": (246, 96, 156), "purple": (128, 44, 150)}
CLOTH: dict[str, Colour] = {
    "red": (202, 52, 52),
    "blue": (54, 98, 190),
    "green": (60, 146, 90),
    "yellow": (240, 196, 62),
    "purple": (132, 82, 176),
    "black": (52, 52, 60),
    "white": (242, 242, 238),
}
BACKGROUND: dict[str, Colour] = {
    "white": (244, 243, 240),
    "gray": (172, 176, 184),
    "blue": (150, 192, 236),
    "green": (160, 212, 166),
    "yellow": (250, 226, 142),
    "pink": (248, 186, 202),
    "purple": (194, 172, 230),
    "orange": (250, 188, 130),
}
#: The palette of every attribute that is a colour.
PALETTES: dict[str, dict[str, Colour]] = {
    "hair_color": HAIR,
    "eye_color": EYES,
    "hat_color": CLOTH,
    "shirt_color": CLOTH,
    "lipstick": LIPS,
    "background": BACKGROUND,
}
SHAPES = {  # half width, half height, taper of the jaw, squareness
    "oval": (0.400, 0.530, 0.26, 1.0),
    "round": (0.440, 0.490, 0.12, 1.0),
    "square": (0.415, 0.505, 0.10, 0.78),
}
GOLD: Colour = (236, 186, 54)
INK: Colour = (44, 32, 36)


def from_hex(value: str) -> Colour:
    """The colour that "#rrggbb" writes."""
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def colour_of(attribute: str, value: str) -> Colour:
    """The colour of a name in the attribute's palette, or of "#rrggbb"."""
    return from_hex(value) if value[0] == "#" else PALETTES[attribute][value]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of ``b`` in ``a``."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def ellipse(
    cx: float, cy: float, rx: float, ry: float, start: float = 0, end: float = 360
) -> Points:
    """Points on an ellipse's arc, angles in degrees, clockwise from the right."""
    t = np.radians(np.linspace(start, end, 49))
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)


@lru_cache(maxsize=1)
def soft_disc() -> Image.Image:
    """White in the middle, falling off to black: 64 × 64, one channel."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    falloff = np.clip(1 - np.sqrt(x * x + y * y), 0, 1) ** 1.3
    return Image.fromarray((falloff * 255).astype(np.uint8))


class Canvas:
    """An oversampled picture that is drawn on in head coordinates."""

    def __init__(self, size: int, background: Colour, face: Face) -> None:
        self.side = size * OVERSAMPLE
        self.unit = self.side / 2
        self.image = Image.new("RGB", (self.side, self.side), background)
        self.pen = ImageDraw.Draw(self.image)
        self.cos = math.cos(face.tilt) * face.zoom
        self.sin = math.sin(face.tilt) * face.zoom
        self.origin = (face.shift_x, face.shift_y - 0.04)
        self.grown = 1.0
        self.about = np.zeros(2)

    @contextmanager
    def scaled(self, factor: float, x: float, y: float) -> Iterator[None]:
        """Whatever is drawn meanwhile is ``factor`` times as large, seen from (x, y)."""
        self.grown, self.about = factor, np.array([x, y])
        try:
            yield
        finally:
            self.grown = 1.0

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Head coordinates to pixels."""
        if self.grown != 1.0:
            points = self.about + (points - self.about) * self.grown
        x = self.cos * points[:, 0] - self.sin * points[:, 1] + self.origin[0]
        y = self.sin * points[:, 0] + self.cos * points[:, 1] + self.origin[1]
        pixels = np.stack([(x + 1) * self.unit, (y + 1) * self.unit], axis=1)
        return [(float(px), float(py)) for px, py in pixels]

    def fill(self, points: Points, colour: Colour) -> None:
        self.pen.polygon(self.place(points), fill=colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A rounded stroke; ``width`` in half image widths."""
        placed = self.place(points)
        pixels = max(1, round(width * self.grown * self.unit))
        self.pen.line(placed, fill=colour, width=pixels, joint="curve")
        radius = pixels / 2
        if radius > 1:
            for x, y in (placed[0], placed[-1]):
                self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def mask(self, points: Points) -> Image.Image:
        """The region inside a polygon, 0 or 255."""
        mask = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(mask).polygon(self.place(points), fill=255)
        return mask

    def shade(
        self,
        cx: float,
        cy: float,
        rx: float,
        ry: float,
        colour: Colour,
        strength: float,
        inside: Image.Image | None = None,
    ) -> None:
        """A soft round patch of colour, optionally only inside a mask."""
        ((x, y),) = self.place(np.array([[cx, cy]]))
        rx, ry = rx * self.grown, ry * self.grown
        w, h = max(2, round(2 * rx * self.unit)), max(2, round(2 * ry * self.unit))
        left, top = round(x - w / 2), round(y - h / 2)
        disc = soft_disc().resize((w, h), Image.Resampling.BILINEAR)
        disc = disc.point([round(v * strength) for v in range(256)])
        if inside is not None:
            disc = ImageChops.multiply(disc, inside.crop((left, top, left + w, top + h)))
        self.image.paste(colour, (left, top, left + w, top + h), disc)
