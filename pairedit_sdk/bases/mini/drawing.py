"""The picture of a :class:`~pairedit_sdk.bases.mini.faces.Face`: flat shapes and soft shading.

Coordinates are in half image widths around the centre of the head, y down. Everything on the
head passes through one pose transform; everything is drawn three times too large and averaged.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

if TYPE_CHECKING:
    from pairedit_sdk.bases.mini.faces import Face

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

OVERSAMPLE = 3

SKIN: dict[str, Colour] = {
    "pale": (250, 224, 206), "light": (240, 198, 166), "tan": (217, 165, 120),
    "olive": (190, 148, 98), "brown": (146, 96, 62), "dark": (94, 60, 42),
}  # fmt: skip
HAIR: dict[str, Colour] = {
    "black": (38, 34, 40), "brown": (104, 64, 38), "blond": (232, 194, 100),
    "red": (190, 74, 32), "gray": (168, 168, 174), "blue": (66, 104, 200),
}  # fmt: skip
EYES: dict[str, Colour] = {"brown": (96, 58, 30), "blue": (64, 130, 214), "green": (64, 150, 84)}
LIPS: dict[str, Colour] = {"red": (206, 24, 44), "pink": (246, 96, 156), "purple": (128, 44, 150)}
CLOTH: dict[str, Colour] = {
    "red": (202, 52, 52), "blue": (54, 98, 190), "green": (60, 146, 90), "yellow": (240, 196, 62),
    "purple": (132, 82, 176), "black": (52, 52, 60), "white": (242, 242, 238),
}  # fmt: skip
BACKGROUND: dict[str, Colour] = {
    "white": (244, 243, 240), "gray": (172, 176, 184), "blue": (150, 192, 236),
    "green": (160, 212, 166), "yellow": (250, 226, 142), "pink": (248, 186, 202),
    "purple": (194, 172, 230), "orange": (250, 188, 130),
}  # fmt: skip
SHAPES = {  # half width, half height, taper of the jaw, squareness
    "oval": (0.400, 0.530, 0.26, 1.0),
    "round": (0.440, 0.490, 0.12, 1.0),
    "square": (0.415, 0.505, 0.10, 0.78),
}
GOLD: Colour = (236, 186, 54)
INK: Colour = (44, 32, 36)


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
def _soft_disc() -> Image.Image:
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

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Head coordinates to pixels."""
        x = self.cos * points[:, 0] - self.sin * points[:, 1] + self.origin[0]
        y = self.sin * points[:, 0] + self.cos * points[:, 1] + self.origin[1]
        pixels = np.stack([(x + 1) * self.unit, (y + 1) * self.unit], axis=1)
        return [(float(px), float(py)) for px, py in pixels]

    def fill(self, points: Points, colour: Colour) -> None:
        self.pen.polygon(self.place(points), fill=colour)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A rounded stroke; ``width`` in half image widths."""
        placed = self.place(points)
        pixels = max(1, round(width * self.unit))
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
        self, cx: float, cy: float, rx: float, ry: float, colour: Colour, strength: float,
        inside: Image.Image | None = None,
    ) -> None:  # fmt: skip
        """A soft round patch of colour, optionally only inside a mask."""
        ((x, y),) = self.place(np.array([[cx, cy]]))
        w, h = max(2, round(2 * rx * self.unit)), max(2, round(2 * ry * self.unit))
        left, top = round(x - w / 2), round(y - h / 2)
        disc = _soft_disc().resize((w, h), Image.Resampling.BILINEAR)
        disc = disc.point([round(v * strength) for v in range(256)])
        if inside is not None:
            disc = ImageChops.multiply(disc, inside.crop((left, top, left + w, top + h)))
        self.image.paste(colour, (left, top, left + w, top + h), disc)


def draw_face(face: Face, size: int = 128) -> Image.Image:
    """Draw ``face`` as a ``size`` × ``size`` RGB picture."""
    back = BACKGROUND[face.background]
    canvas = Canvas(size, back, face)
    canvas.shade(-0.1, -0.25, 1.5, 1.5, mix(back, (255, 255, 255), 0.7), 0.75)
    hair = hair_colour(face)
    outline = head_outline(face)
    _back_hair(canvas, face, hair)
    _body(canvas, face)
    _head(canvas, face, outline)
    _age(canvas, face)
    _cheeks(canvas, face)
    _beard(canvas, face, outline, hair)
    _mouth(canvas, face)
    _nose(canvas, face)
    _eyes(canvas, face, hair)
    _front_hair(canvas, face, outline, hair)
    _hat(canvas, face)
    _glasses(canvas, face)
    _earrings(canvas, face)
    return _style(canvas.image, face.style).reduce(OVERSAMPLE)


def hair_colour(face: Face) -> Colour:
    """Age greys the hair, so that "old" is a change of the whole picture."""
    colour = HAIR[face.hair_color]
    return mix(colour, (214, 214, 218), 0.72) if face.age == "old" else colour


def head_outline(face: Face) -> Points:
    """The contour of the face, 73 points clockwise from the right ear."""
    half_width, half_height, taper, power = SHAPES[face.face_shape]
    t = np.radians(np.linspace(0, 360, 73))
    c, s = np.cos(t), np.sin(t)
    x = half_width * np.sign(c) * np.abs(c) ** power
    y = half_height * np.sign(s) * np.abs(s) ** power
    lower = np.clip(s, 0, 1)
    x = x * (1 - taper * lower**2)
    if face.chubby == "yes":
        x = x * (1 + 0.24 * np.exp(-(((s - 0.5) / 0.42) ** 2)))
        y = y * (1 + 0.06 * lower)
    return np.stack([x, y], axis=1)


def _back_hair(canvas: Canvas, face: Face, colour: Colour) -> None:
    dark = mix(colour, (0, 0, 0), 0.28)
    width = SHAPES[face.face_shape][0] + 0.11
    if face.hair_style == "long":
        top = ellipse(0, -0.1, width, 0.56, 180, 360)
        sides = np.array([[width + 0.05, 0.45], [width + 0.02, 0.86], [0.3, 0.9], [-0.3, 0.9],
                          [-width - 0.02, 0.86], [-width - 0.05, 0.45]])  # fmt: skip
        canvas.fill(np.concatenate([top, sides]), dark)
        for x in (-width + 0.02, -width - 0.01, width - 0.02, width + 0.01):
            canvas.line(np.array([[x, 0.0], [x * 1.06, 0.45], [x * 1.02, 0.8]]), colour, 0.02)
    elif face.hair_style == "bob":
        canvas.fill(ellipse(0, 0.0, width + 0.06, 0.6), dark)
        for x in (-width, width):
            canvas.line(ellipse(0, 0, x * 1.05, 0.5, -20, 45), colour, 0.02)
    elif face.hair_style == "curly":
        for k in range(13):
            t = math.radians(150 + k * 20)
            x, y = (width + 0.06) * math.cos(t), -0.16 + 0.5 * math.sin(t)
            canvas.fill(ellipse(x, y, 0.17, 0.17), dark if k % 2 else mix(dark, colour, 0.4))
    elif face.hair_style == "bun" and face.hat == "none":
        canvas.fill(ellipse(0, -0.68, 0.2, 0.18), dark)
        canvas.fill(ellipse(-0.02, -0.7, 0.17, 0.15), colour)
        canvas.line(ellipse(0, -0.68, 0.1, 0.08, 190, 330), mix(colour, (255, 255, 255), 0.3), 0.02)


def _body(canvas: Canvas, face: Face) -> None:
    skin, cloth = SKIN[face.skin], CLOTH[face.shirt_color]
    shadow = mix(skin, (70, 20, 10), 0.28)
    wide = 0.06 if face.chubby == "yes" else 0.0
    shoulders = np.array([
        [-0.2, 0.62], [-0.48 - wide, 0.73], [-0.72 - wide, 0.86], [-0.86 - wide, 1.4],
        [0.86 + wide, 1.4], [0.72 + wide, 0.86], [0.48 + wide, 0.73], [0.2, 0.62],
    ])  # fmt: skip
    if face.collar == "hooded":
        canvas.fill(ellipse(0, 0.72, 0.42, 0.22), mix(cloth, (0, 0, 0), 0.3))
    neck = np.array([[-0.17 - wide / 2, 0.2], [0.17 + wide / 2, 0.2], [0.2 + wide / 2, 0.74],
                     [-0.2 - wide / 2, 0.74]])  # fmt: skip
    canvas.fill(shoulders, cloth)
    canvas.fill(neck, mix(skin, shadow, 0.45))
    dark, light = mix(cloth, (0, 0, 0), 0.22), mix(cloth, (255, 255, 255), 0.22)
    skin_low = mix(skin, shadow, 0.3)
    if face.collar == "v-neck":
        v = np.array([[-0.26, 0.66], [0.0, 1.0], [0.26, 0.66]])
        canvas.fill(v, skin_low)
        canvas.line(v, dark, 0.035)
    elif face.collar == "hooded":
        canvas.fill(ellipse(0, 0.68, 0.22, 0.1), skin_low)
        canvas.line(ellipse(0, 0.66, 0.3, 0.2, 15, 165), dark, 0.07)
        for x in (-0.1, 0.1):
            canvas.line(np.array([[x, 0.84], [x * 1.2, 1.02]]), light, 0.022)
    else:
        canvas.fill(ellipse(0, 0.67, 0.25, 0.12), skin_low)
        canvas.line(ellipse(0, 0.66, 0.25, 0.13, 5, 175), dark, 0.03)
    canvas.shade(-0.6, 0.95, 0.3, 0.3, light, 0.5, canvas.mask(shoulders))
    canvas.shade(0.0, 0.52, 0.3, 0.2, shadow, 0.75, canvas.mask(neck))
    if face.necklace == "yes":
        for point in ellipse(0, 0.62, 0.24, 0.2, 20, 160)[::6]:
            canvas.fill(ellipse(point[0], point[1], 0.026, 0.026), GOLD)
        canvas.fill(ellipse(0, 0.845, 0.045, 0.05), (90, 200, 214))


def _head(canvas: Canvas, face: Face, outline: Points) -> None:
    skin = SKIN[face.skin]
    shadow = mix(skin, (96, 26, 16), 0.22)
    for side in (-1, 1):
        x = side * (SHAPES[face.face_shape][0] + 0.02)
        canvas.fill(ellipse(x, 0.03, 0.075, 0.115), mix(skin, shadow, 0.6))
        canvas.fill(ellipse(x + side * 0.008, 0.03, 0.045, 0.075), shadow)
    canvas.fill(outline, skin)
    inside = canvas.mask(outline)
    canvas.shade(0.34, 0.12, 0.3, 0.75, shadow, 0.62, inside)
    canvas.shade(0.0, 0.56, 0.6, 0.26, shadow, 0.7, inside)
    canvas.shade(-0.13, -0.22, 0.36, 0.36, mix(skin, (255, 255, 255), 0.55), 0.5, inside)
    if face.chubby == "yes":
        canvas.line(ellipse(0, 0.36, 0.2, 0.13, 35, 145), mix(skin, shadow, 0.9), 0.018)


def _age(canvas: Canvas, face: Face) -> None:
    if face.age != "old":
        return
    skin = SKIN[face.skin]
    fold = mix(skin, (80, 30, 20), 0.34)
    for y, half in ((-0.27, 0.15), (-0.215, 0.18)):
        canvas.line(ellipse(0, y + 0.04, half, 0.05, 200, 340), fold, 0.014)
    for side in (-1, 1):
        canvas.line(ellipse(side * 0.105, 0.22, 0.085, 0.16, -60 if side > 0 else 180,
                            30 if side > 0 else 240), fold, 0.016)  # fmt: skip
        canvas.line(ellipse(side * 0.175, 0.055, 0.085, 0.055, 35, 145), fold, 0.015)
        for dy in (-0.035, 0.0, 0.035):
            canvas.line(np.array([[side * 0.295, dy * 0.6 - 0.02],
                                  [side * 0.345, dy * 1.5 - 0.02]]),
                        fold, 0.012)  # fmt: skip


def _cheeks(canvas: Canvas, face: Face) -> None:
    skin = SKIN[face.skin]
    if face.blush == "yes":
        for side in (-1, 1):
            canvas.shade(side * 0.225, 0.15, 0.16, 0.12, mix(skin, (240, 60, 80), 0.62), 0.95)
    if face.freckles == "yes":
        spots = mix(skin, (120, 50, 20), 0.5 if face.skin not in {"brown", "dark"} else 0.0)
        if face.skin in {"brown", "dark"}:
            spots = mix(skin, (0, 0, 0), 0.45)
        for x, y in ((0.12, 0.09), (0.17, 0.13), (0.22, 0.08), (0.25, 0.15), (0.29, 0.1),
                     (0.2, 0.19), (0.14, 0.17), (0.045, 0.07)):  # fmt: skip
            for side in (-1, 1):
                canvas.fill(ellipse(side * x, y, 0.0155, 0.0155), spots)


def _beard(canvas: Canvas, face: Face, outline: Points, hair: Colour) -> None:
    if face.beard in {"full", "stubble"}:
        jaw = outline[3:34]
        edge = np.array([[-0.3, 0.2], [-0.17, 0.2], [0.0, 0.17], [0.17, 0.2], [0.3, 0.2]])
        if face.beard == "full":
            jaw = jaw * np.array([1.03, 1.06])
            region = np.concatenate([jaw, edge])
            canvas.fill(region, hair)
            inside = canvas.mask(region)
            canvas.shade(0.0, 0.58, 0.55, 0.2, mix(hair, (0, 0, 0), 0.45), 0.8, inside)
            canvas.shade(-0.2, 0.3, 0.16, 0.14, mix(hair, (255, 255, 255), 0.35), 0.5, inside)
        else:
            region = np.concatenate([jaw, edge])
            shade = Image.new("L", canvas.image.size, 0)
            ImageDraw.Draw(shade).polygon(canvas.place(region), fill=96)
            canvas.image.paste(mix(hair, (40, 40, 50), 0.5), (0, 0), shade)
    elif face.beard == "mustache":
        for side in (-1, 1):
            curve = np.array([[0, 0.2], [side * 0.08, 0.185], [side * 0.17, 0.215],
                              [side * 0.215, 0.2], [side * 0.19, 0.265], [side * 0.1, 0.28],
                              [0, 0.245]])  # fmt: skip
            canvas.fill(curve, hair)
            canvas.line(curve[[1, 2, 3]], mix(hair, (255, 255, 255), 0.25), 0.012)


def _mouth(canvas: Canvas, face: Face) -> None:
    skin = SKIN[face.skin]
    lips = mix(skin, (176, 56, 60), 0.42 if face.skin not in {"brown", "dark"} else 0.35)
    full = 1.0
    if face.lipstick != "none":
        lips, full = LIPS[face.lipstick], 1.4
    dark = mix(lips, (40, 0, 10), 0.5)
    y = 0.32
    x = np.linspace(-1, 1, 25)
    if face.mouth == "laughing":
        upper = np.stack([x * 0.17, y - 0.045 + 0.01 * np.cos(x * math.pi)], axis=1)
        lower = np.stack([x * 0.17, y - 0.045 + 0.15 * (1 - x**2) ** 0.7], axis=1)
        hole = np.concatenate([upper, lower[::-1]])
        canvas.fill(hole, (92, 18, 30))
        teeth = np.stack([x * 0.15, y - 0.04 + 0.042 * (1 - x**2) ** 0.4], axis=1)
        canvas.fill(np.concatenate([upper * np.array([0.9, 1]), teeth[::-1]]), (252, 250, 246))
        canvas.shade(0, y + 0.08, 0.1, 0.06, (232, 104, 112), 0.9, canvas.mask(hole))
        canvas.line(np.concatenate([upper, lower[::-1], upper[:1]]), lips, 0.022 * full)
        return
    bend, half = {"neutral": (0.0, 0.125), "smiling": (0.085, 0.175), "sad": (-0.07, 0.135)}[
        face.mouth
    ]
    middle = y + bend * (0.5 - x**2)
    body = (1 - x**2) ** 0.75
    bow = 1 - 0.35 * np.exp(-((x / 0.16) ** 2))
    upper = np.stack([x * half, middle - 0.034 * full * body * bow], axis=1)
    lower = np.stack([x * half, middle + 0.045 * full * body], axis=1)
    canvas.fill(np.concatenate([upper, lower[::-1]]), lips)
    canvas.line(np.stack([x * half, middle], axis=1), dark, 0.016)
    canvas.shade(-0.02, y + bend * 0.5 + 0.022, 0.06, 0.018, mix(lips, (255, 255, 255), 0.6), 0.6)


def _nose(canvas: Canvas, face: Face) -> None:
    skin = SKIN[face.skin]
    shadow = mix(skin, (90, 24, 12), 0.36)
    k = 1.0 if face.nose == "small" else 1.75
    canvas.shade(0.025 * k, 0.05, 0.05 * k, 0.17, shadow, 0.5)
    if face.nose == "big":
        canvas.fill(ellipse(0, 0.13, 0.082, 0.066), mix(skin, shadow, 0.22))
        for side in (-1, 1):
            canvas.fill(ellipse(side * 0.078, 0.145, 0.04, 0.036), mix(skin, shadow, 0.4))
            canvas.fill(ellipse(side * 0.045, 0.172, 0.024, 0.013), mix(shadow, INK, 0.45))
    canvas.line(ellipse(0, 0.135, 0.05 * k, 0.04 * k, 25, 155), shadow, 0.018)
    canvas.shade(-0.012, 0.1, 0.03 * k, 0.04 * k, mix(skin, (255, 255, 255), 0.7), 0.7)


def _eyes(canvas: Canvas, face: Face, hair: Colour) -> None:
    skin = SKIN[face.skin]
    k = {"small": 0.76, "medium": 1.0, "big": 1.3}[face.eye_size]
    iris = EYES[face.eye_color]
    for side in (-1, 1):
        cx, cy = side * 0.175, -0.03
        canvas.shade(cx, cy, 0.15 * k, 0.1 * k, mix(skin, (90, 30, 20), 0.4), 0.5)
        eye = ellipse(cx, cy, 0.09 * k, 0.06 * k)
        canvas.fill(eye, (252, 250, 248))
        inside = canvas.mask(eye)
        gx = cx + face.gaze * 0.024 * k
        disc = Image.new("L", canvas.image.size, 0)
        pen = ImageDraw.Draw(disc)
        pen.polygon(canvas.place(ellipse(gx, cy, 0.054 * k, 0.054 * k)), fill=255)
        canvas.image.paste(iris, (0, 0), ImageChops.multiply(disc, inside))
        canvas.fill(ellipse(gx, cy, 0.026 * k, 0.026 * k), (18, 14, 18))
        canvas.fill(ellipse(gx - 0.018 * k, cy - 0.02 * k, 0.014 * k, 0.014 * k), (255, 255, 255))
        canvas.line(ellipse(cx, cy, 0.093 * k, 0.062 * k, 185, 355), INK, 0.024)
        thick = 0.05 if face.eyebrows == "thick" else 0.02
        brow = mix(hair, INK, 0.35) if face.hair_style != "bald" else mix(hair, INK, 0.5)
        arch = ellipse(cx + side * 0.005, cy - 0.075, 0.115, 0.075, 205, 335)
        canvas.line(arch, brow, thick)


def _front_hair(canvas: Canvas, face: Face, outline: Points, hair: Colour) -> None:
    if face.hair_style == "bald":
        if face.hat == "none":
            canvas.shade(-0.12, -0.38, 0.14, 0.08, (255, 255, 255), 0.55)
        return
    light = mix(hair, (255, 255, 255), 0.3)
    grow = 1.2 if face.hair_style == "curly" else 1.1
    top = outline[34:72] * np.array([1.06, grow])  # from the left temple over the top to the right
    if face.hair_style in {"long", "bob"}:  # parted in the middle
        line = np.array([[0.4, -0.02], [0.3, -0.2], [0.16, -0.31], [0.0, -0.42], [-0.16, -0.31],
                         [-0.3, -0.2], [-0.4, -0.02]])  # fmt: skip
    elif face.hair_style == "bun":
        line = ellipse(0, 0.02, 0.37, 0.42, 350, 190)
    elif face.hair_style == "curly":
        line = ellipse(0, 0.0, 0.37, 0.31, 350, 190)
    else:  # a side parting
        line = np.array([[0.4, -0.06], [0.355, -0.2], [0.2, -0.27], [-0.02, -0.26], [-0.2, -0.34],
                         [-0.34, -0.2], [-0.4, -0.06]])  # fmt: skip
    region = np.concatenate([top, line])
    canvas.fill(region, hair)
    inside = canvas.mask(region)
    canvas.shade(-0.14, -0.44, 0.26, 0.12, light, 0.95, inside)
    canvas.shade(0.34, -0.2, 0.22, 0.35, mix(hair, (0, 0, 0), 0.45), 0.7, inside)
    if face.hair_style == "curly":
        for k in range(9):
            t = math.radians(188 + k * 20.5)
            x, y = 0.37 * math.cos(t), -0.08 + 0.42 * math.sin(t)
            canvas.fill(ellipse(x, y, 0.115, 0.115), hair if k % 2 else mix(hair, light, 0.35))


def _hat(canvas: Canvas, face: Face) -> None:
    if face.hat == "none":
        return
    colour = CLOTH[face.hat_color]
    dark, light = mix(colour, (0, 0, 0), 0.35), mix(colour, (255, 255, 255), 0.35)
    if face.hat == "beanie":
        dome = ellipse(0, -0.3, 0.49, 0.46, 180, 360)
        canvas.fill(dome, colour)
        canvas.shade(-0.16, -0.55, 0.26, 0.2, light, 0.8, canvas.mask(dome))
        band = np.concatenate([ellipse(0, -0.27, 0.5, 0.12, 180, 360),
                               ellipse(0, -0.15, 0.5, 0.12, 360, 180)])  # fmt: skip
        canvas.fill(band, dark)
        for x in np.linspace(-0.44, 0.44, 10):
            y = -0.27 - 0.12 * math.sqrt(max(0.0, 1 - (x / 0.5) ** 2))
            canvas.line(np.array([[x, y + 0.02], [x, y + 0.1]]), colour, 0.014)
        canvas.fill(ellipse(0, -0.77, 0.1, 0.1), light)
    elif face.hat == "cap":
        dome = ellipse(0, -0.28, 0.48, 0.45, 180, 360)
        canvas.fill(dome, colour)
        canvas.shade(-0.16, -0.52, 0.24, 0.2, light, 0.8, canvas.mask(dome))
        canvas.line(ellipse(0, -0.28, 0.2, 0.44, 190, 350), dark, 0.012)
        canvas.fill(np.concatenate([ellipse(0.02, -0.27, 0.52, 0.1, 180, 360),
                                    ellipse(0.02, -0.24, 0.56, 0.055, 0, 180)]), dark)  # fmt: skip
        canvas.fill(ellipse(0, -0.73, 0.035, 0.025), dark)
    else:
        crown = np.array([[-0.33, -0.34], [-0.37, -0.93], [0.37, -0.93], [0.33, -0.34]])
        canvas.fill(crown, colour)
        canvas.shade(-0.2, -0.66, 0.16, 0.34, light, 0.7, canvas.mask(crown))
        canvas.fill(
            np.array([[-0.335, -0.42], [-0.345, -0.55], [0.345, -0.55], [0.335, -0.42]]), dark
        )
        canvas.fill(ellipse(0, -0.33, 0.6, 0.085), colour)
        canvas.line(ellipse(0, -0.33, 0.58, 0.075, 10, 170), dark, 0.02)


def _glasses(canvas: Canvas, face: Face) -> None:
    if face.glasses == "none":
        return
    frame: Colour = (34, 32, 40)
    lenses = []
    for side in (-1, 1):
        cx, cy = side * 0.178, -0.02
        if face.glasses == "round":
            lens = ellipse(cx, cy, 0.135, 0.135)
        elif face.glasses == "square":
            lens = np.array([[-0.14, -0.1], [0.14, -0.1], [0.14, 0.1], [-0.14, 0.1], [-0.14, -0.1],
                             [0.0, -0.1]]) + np.array([cx, cy])  # fmt: skip
        else:
            t = np.radians(np.linspace(0, 360, 49))
            x = 0.15 * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.6
            y = (
                np.where(np.sin(t) > 0, 0.125, 0.085)
                * np.sign(np.sin(t))
                * np.abs(np.sin(t)) ** 0.7
            )
            lens = np.stack([cx + x, cy + y], axis=1)
        lenses.append(lens)
    for side, lens in zip((-1, 1), lenses, strict=True):
        if face.glasses == "sunglasses":
            canvas.fill(lens, (30, 28, 38))
            canvas.shade(
                side * 0.178 - 0.04, -0.07, 0.1, 0.05, (150, 160, 196), 0.9, canvas.mask(lens)
            )
        else:
            canvas.line(lens, frame, 0.032)
        canvas.line(np.array([[side * 0.31, -0.05], [side * 0.43, -0.07]]), frame, 0.028)
    canvas.line(ellipse(0, -0.03, 0.045, 0.03, 190, 350), frame, 0.028)


def _earrings(canvas: Canvas, face: Face) -> None:
    for side in (-1, 1):
        x = side * (SHAPES[face.face_shape][0] + 0.045)
        if face.earrings == "gold":
            canvas.line(ellipse(x, 0.215, 0.062, 0.075), GOLD, 0.028)
        elif face.earrings == "pearl":
            canvas.fill(ellipse(x, 0.185, 0.056, 0.056), (246, 240, 236))
            canvas.shade(x + 0.015, 0.2, 0.045, 0.045, (150, 150, 170), 0.7)
            canvas.fill(ellipse(x - 0.018, 0.168, 0.014, 0.014), (255, 255, 255))


def _style(image: Image.Image, style: str) -> Image.Image:
    if style == "sepia":
        return ImageOps.colorize(
            ImageOps.grayscale(image), (46, 28, 16), (255, 238, 204), (176, 128, 82)
        )
    if style == "night":
        side = image.size[0]
        dimmed = ImageChops.multiply(image, Image.new("RGB", image.size, (84, 96, 160)))
        glow = _soft_disc().resize((round(side * 1.5), round(side * 1.5)))
        left = round(side * -0.62)
        lamp = Image.new("L", image.size, 0)
        lamp.paste(glow.point(lambda v: round(v * 0.8)), (left, left + round(side * 0.12)))
        warm = ImageChops.multiply(image, Image.new("RGB", image.size, (255, 206, 150)))
        return Image.composite(warm, dimmed, lamp)
    if style == "sketch":
        gray = ImageOps.grayscale(image).reduce(2)
        blurred = gray.filter(ImageFilter.GaussianBlur(gray.size[0] / 64))
        light = np.asarray(gray, np.float32)
        soft = np.asarray(blurred, np.float32)
        lines = np.clip(light / np.maximum(soft, 1.0), 0, 1) ** 2.2
        tone = 0.72 + 0.28 * light / 255
        paper = np.array([252, 249, 242], np.float32)
        drawn = (lines * tone)[..., None] * paper
        return Image.fromarray(drawn.astype(np.uint8)).resize(image.size)
    return image
