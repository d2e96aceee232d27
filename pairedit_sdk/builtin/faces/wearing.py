"""What a drawn face wears: hats, glasses, earrings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pairedit_sdk.builtin.faces.canvas import GOLD, SHAPES, Canvas, Colour, colour_of, ellipse, mix

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.face import Face


def draw_hat(canvas: Canvas, face: Face) -> None:
    """A beanie, a cap or a top hat."""
    if face.hat == "none":
        return
    colour = colour_of("hat_color", face.hat_color)
    dark, light = mix(colour, (0, 0, 0), 0.35), mix(colour, (255, 255, 255), 0.35)
    if face.hat == "beanie":
        dome = ellipse(0, -0.3, 0.49, 0.46, 180, 360)
        canvas.fill(dome, colour)
        canvas.shade(-0.16, -0.55, 0.26, 0.2, light, 0.8, canvas.mask(dome))
        band = np.concatenate(
            [ellipse(0, -0.27, 0.5, 0.12, 180, 360), ellipse(0, -0.15, 0.5, 0.12, 360, 180)]
        )
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
        canvas.fill(
            np.concatenate(
                [
                    ellipse(0.02, -0.27, 0.52, 0.1, 180, 360),
                    ellipse(0.02, -0.24, 0.56, 0.055, 0, 180),
                ]
            ),
            dark,
        )
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


def draw_glasses(canvas: Canvas, face: Face) -> None:
    """Round or square glasses, or sunglasses."""
    if face.glasses == "none":
        return
    frame: Colour = (34, 32, 40)
    lenses = []
    for side in (-1, 1):
        cx, cy = side * 0.178, -0.02
        if face.glasses == "round":
            lens = ellipse(cx, cy, 0.135, 0.135)
        elif face.glasses == "square":
            lens = np.array(
                [[-0.14, -0.1], [0.14, -0.1], [0.14, 0.1], [-0.14, 0.1], [-0.14, -0.1], [0.0, -0.1]]
            ) + np.array([cx, cy])
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


def draw_earrings(canvas: Canvas, face: Face) -> None:
    """Gold rings or pearls."""
    for side in (-1, 1):
        x = side * (SHAPES[face.face_shape][0] + 0.045)
        if face.earrings == "gold":
            canvas.line(ellipse(x, 0.215, 0.062, 0.075), GOLD, 0.028)
        elif face.earrings == "pearl":
            canvas.fill(ellipse(x, 0.185, 0.056, 0.056), (246, 240, 236))
            canvas.shade(x + 0.015, 0.2, 0.045, 0.045, (150, 150, 170), 0.7)
            canvas.fill(ellipse(x - 0.018, 0.168, 0.014, 0.014), (255, 255, 255))
