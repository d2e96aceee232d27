"""The picture of a :class:`~pairedit_sdk.builtin.faces.face.Face`: flat shapes and soft shading."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from pairedit_sdk.builtin.faces.canvas import (
    GOLD,
    INK,
    OVERSAMPLE,
    SHAPES,
    SKIN,
    Canvas,
    Colour,
    Points,
    colour_of,
    ellipse,
    mix,
)
from pairedit_sdk.builtin.faces.hair import draw_back_hair, draw_beard, draw_front_hair, hair_colour
from pairedit_sdk.builtin.faces.marks import draw_marks
from pairedit_sdk.builtin.faces.styles import in_style
from pairedit_sdk.builtin.faces.tones import in_tone
from pairedit_sdk.builtin.faces.wearing import draw_earrings, draw_glasses, draw_hat

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.face import Face


def draw_face(face: Face, size: int = 128) -> Image.Image:
    """Draw ``face`` as a ``size`` × ``size`` RGB picture."""
    back = colour_of("background", face.background)
    canvas = Canvas(size, back, face)
    canvas.shade(-0.1, -0.25, 1.5, 1.5, mix(back, (255, 255, 255), 0.7), 0.75)
    hair = hair_colour(face)
    outline = head_outline(face)
    draw_marks(canvas, face, behind=True)
    draw_back_hair(canvas, face, hair)
    _body(canvas, face)
    _head(canvas, face, outline)
    _age(canvas, face)
    _cheeks(canvas, face)
    draw_beard(canvas, face, outline, hair)
    with canvas.scaled(face.mouth_scale, 0.0, 0.32):
        _mouth(canvas, face)
    with canvas.scaled(face.nose_scale, 0.0, 0.08):
        _nose(canvas, face)
    _eyes(canvas, face, hair)
    draw_front_hair(canvas, face, outline, hair)
    with canvas.scaled(face.hat_size, 0.0, -0.3):
        draw_hat(canvas, face)
    with canvas.scaled(face.glasses_size, 0.0, -0.02):
        draw_glasses(canvas, face)
    draw_earrings(canvas, face)
    draw_marks(canvas, face, behind=False)
    return in_tone(in_style(canvas.image, face.style).reduce(OVERSAMPLE), face.tone)


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
        x = x * (1 + 0.24 * face.fullness * np.exp(-(((s - 0.5) / 0.42) ** 2)))
        y = y * (1 + 0.06 * face.fullness * lower)
    return np.stack([x, y], axis=1)


def _body(canvas: Canvas, face: Face) -> None:
    skin, cloth = SKIN[face.skin], colour_of("shirt_color", face.shirt_color)
    shadow = mix(skin, (70, 20, 10), 0.28)
    wide = 0.06 * face.fullness if face.chubby == "yes" else 0.0
    shoulders = np.array(
        [
            [-0.2, 0.62],
            [-0.48 - wide, 0.73],
            [-0.72 - wide, 0.86],
            [-0.86 - wide, 1.4],
            [0.86 + wide, 1.4],
            [0.72 + wide, 0.86],
            [0.48 + wide, 0.73],
            [0.2, 0.62],
        ]
    )
    if face.collar == "hooded":
        canvas.fill(ellipse(0, 0.72, 0.42, 0.22), mix(cloth, (0, 0, 0), 0.3))
    neck = np.array(
        [
            [-0.17 - wide / 2, 0.2],
            [0.17 + wide / 2, 0.2],
            [0.2 + wide / 2, 0.74],
            [-0.2 - wide / 2, 0.74],
        ]
    )
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
    fold = mix(skin, (80, 30, 20), min(0.8, 0.34 * face.ageing))
    for y, half in ((-0.27, 0.15), (-0.215, 0.18)):
        canvas.line(ellipse(0, y + 0.04, half, 0.05, 200, 340), fold, 0.014)
    for side in (-1, 1):
        canvas.line(
            ellipse(
                side * 0.105, 0.22, 0.085, 0.16, -60 if side > 0 else 180, 30 if side > 0 else 240
            ),
            fold,
            0.016,
        )
        canvas.line(ellipse(side * 0.175, 0.055, 0.085, 0.055, 35, 145), fold, 0.015)
        for dy in (-0.035, 0.0, 0.035):
            canvas.line(
                np.array([[side * 0.295, dy * 0.6 - 0.02], [side * 0.345, dy * 1.5 - 0.02]]),
                fold,
                0.012,
            )


def _cheeks(canvas: Canvas, face: Face) -> None:
    skin = SKIN[face.skin]
    if face.blush == "yes":
        for side in (-1, 1):
            canvas.shade(side * 0.225, 0.15, 0.16, 0.12, mix(skin, (240, 60, 80), 0.62), 0.95)
    if face.freckles == "yes":
        spots = mix(skin, (120, 50, 20), 0.5 if face.skin not in {"brown", "dark"} else 0.0)
        if face.skin in {"brown", "dark"}:
            spots = mix(skin, (0, 0, 0), 0.45)
        for x, y in (
            (0.12, 0.09),
            (0.17, 0.13),
            (0.22, 0.08),
            (0.25, 0.15),
            (0.29, 0.1),
            (0.2, 0.19),
            (0.14, 0.17),
            (0.045, 0.07),
        ):
            for side in (-1, 1):
                canvas.fill(ellipse(side * x, y, 0.0155, 0.0155), spots)


def lip_colour(face: Face) -> Colour:
    """The lipstick's, or what the skin makes it."""
    if face.lipstick != "none":
        return colour_of("lipstick", face.lipstick)
    return mix(SKIN[face.skin], (176, 56, 60), 0.42 if face.skin not in {"brown", "dark"} else 0.35)


def _mouth(canvas: Canvas, face: Face) -> None:
    lips, full = lip_colour(face), 1.0 if face.lipstick == "none" else 1.4
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
    k = {"small": 0.76, "medium": 1.0, "big": 1.3}[face.eye_size] * face.eye_scale
    iris = colour_of("eye_color", face.eye_color)
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
