"""Hair and beards of a drawn face."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from pairedit_sdk.builtin.faces.canvas import (
    SHAPES,
    Canvas,
    Colour,
    Points,
    colour_of,
    ellipse,
    mix,
)

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.face import Face


def hair_colour(face: Face) -> Colour:
    """Age greys the hair, so that "old" is a change of the whole picture."""
    colour = colour_of("hair_color", face.hair_color)
    if face.age != "old":
        return colour
    return mix(colour, (214, 214, 218), min(0.95, 0.72 * face.ageing))


def draw_back_hair(canvas: Canvas, face: Face, colour: Colour) -> None:
    """What falls behind the head."""
    dark = mix(colour, (0, 0, 0), 0.28)
    width = SHAPES[face.face_shape][0] + 0.11
    if face.hair_style == "long":
        top = ellipse(0, -0.1, width, 0.56, 180, 360)
        sides = np.array(
            [
                [width + 0.05, 0.45],
                [width + 0.02, 0.86],
                [0.3, 0.9],
                [-0.3, 0.9],
                [-width - 0.02, 0.86],
                [-width - 0.05, 0.45],
            ]
        )
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


def draw_front_hair(canvas: Canvas, face: Face, outline: Points, hair: Colour) -> None:
    """What falls over the head."""
    if face.hair_style == "bald":
        if face.hat == "none":
            canvas.shade(-0.12, -0.38, 0.14, 0.08, (255, 255, 255), 0.55)
        return
    light = mix(hair, (255, 255, 255), 0.3)
    grow = 1.2 if face.hair_style == "curly" else 1.1
    top = outline[34:72] * np.array([1.06, grow])  # from the left temple over the top to the right
    if face.hair_style in {"long", "bob"}:  # parted in the middle
        line = np.array(
            [
                [0.4, -0.02],
                [0.3, -0.2],
                [0.16, -0.31],
                [0.0, -0.42],
                [-0.16, -0.31],
                [-0.3, -0.2],
                [-0.4, -0.02],
            ]
        )
    elif face.hair_style == "bun":
        line = ellipse(0, 0.02, 0.37, 0.42, 350, 190)
    elif face.hair_style == "curly":
        line = ellipse(0, 0.0, 0.37, 0.31, 350, 190)
    else:  # a side parting
        line = np.array(
            [
                [0.4, -0.06],
                [0.355, -0.2],
                [0.2, -0.27],
                [-0.02, -0.26],
                [-0.2, -0.34],
                [-0.34, -0.2],
                [-0.4, -0.06],
            ]
        )
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


def draw_beard(canvas: Canvas, face: Face, outline: Points, hair: Colour) -> None:
    """A full beard or stubble along the jaw, or a mustache."""
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
            curve = np.array(
                [
                    [0, 0.2],
                    [side * 0.08, 0.185],
                    [side * 0.17, 0.215],
                    [side * 0.215, 0.2],
                    [side * 0.19, 0.265],
                    [side * 0.1, 0.28],
                    [0, 0.245],
                ]
            )
            canvas.fill(curve, hair)
            canvas.line(curve[[1, 2, 3]], mix(hair, (255, 255, 255), 0.25), 0.012)
