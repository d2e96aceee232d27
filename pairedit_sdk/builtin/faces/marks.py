"""Marks on a drawn face: flat shapes of any colour, size and place, for changes without a name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pairedit_sdk.builtin.faces.canvas import Canvas, Points, colour_of, ellipse

if TYPE_CHECKING:
    pass

KINDS = (
    "disc", "ring", "square", "triangle", "star", "cross", "stripe", "drop", "zigzag", "dots",
)  # fmt: skip
#: Kinds that are a line and have no inside.
_LINES = ("ring", "zigzag")


@dataclass(frozen=True)
class Mark:
    """A flat shape.

    Attributes:
        kind: one of :data:`KINDS`.
        x, y: its middle in head coordinates, see :mod:`.canvas`.
        size: half its width.
        angle: in degrees.
        colour: "#rrggbb".
        outline: whether only its contour is drawn.
        mirrored: whether a second one is drawn at −x.
        behind: whether it is drawn before the head.
    """

    kind: str
    x: float
    y: float
    size: float
    angle: float = 0.0
    colour: str = "#d02020"
    outline: bool = False
    mirrored: bool = False
    behind: bool = False


def draw_marks(canvas: Canvas, marks: Sequence[Mark], behind: bool = False) -> None:
    """Draw those that lie before the head, or those ``behind`` it."""
    for mark in marks:
        if mark.behind is behind:
            for side in (1, -1) if mark.mirrored else (1,):
                _draw(canvas, mark, side)


def _draw(canvas: Canvas, mark: Mark, side: int) -> None:
    colour = colour_of({}, mark.colour)
    if mark.kind == "dots":
        for k in range(-2, 3):
            dot = _placed(ellipse(k * 0.45, 0, 0.16, 0.16), mark, side)
            canvas.fill(dot, colour)
        return
    points = _placed(_outline_of(mark.kind), mark, side)
    if mark.kind in _LINES or mark.outline:
        closed = points if mark.kind == "zigzag" else np.concatenate([points, points[:1]])
        canvas.line(closed, colour, max(0.022, 0.22 * mark.size))
    else:
        canvas.fill(points, colour)


def _placed(points: Points, mark: Mark, side: int) -> Points:
    """A shape of half width 1 where the mark says."""
    angle = math.radians(mark.angle)
    c, s = math.cos(angle), math.sin(angle)
    turned = points @ np.array([[c, s], [-s, c]]) * mark.size
    placed: Points = (turned + np.array([mark.x, mark.y])) * np.array([side, 1])
    return placed


def _outline_of(kind: str) -> Points:
    if kind in ("disc", "ring"):
        return ellipse(0, 0, 1, 1)
    if kind == "square":
        return np.array([[-1.0, -1.0], [1, -1], [1, 1], [-1, 1]])
    if kind == "stripe":
        return np.array([[-1.0, -0.2], [1, -0.2], [1, 0.2], [-1, 0.2]])
    if kind == "triangle":
        return np.array([[0.0, -1.0], [0.95, 0.75], [-0.95, 0.75]])
    if kind == "star":
        t = np.radians(np.arange(10) * 36 - 90)
        r = np.where(np.arange(10) % 2, 0.45, 1.0)
        return np.stack([r * np.cos(t), r * np.sin(t)], axis=1)
    if kind == "cross":
        w = 0.32
        return np.array(
            [
                [-w, -1.0], [w, -1], [w, -w], [1, -w], [1, w], [w, w],
                [w, 1], [-w, 1], [-w, w], [-1, w], [-1, -w], [-w, -w],
            ]
        )  # fmt: skip
    if kind == "drop":
        return np.concatenate([ellipse(0, 0.35, 0.65, 0.65, -30, 210), np.array([[0.0, -1.0]])])
    return np.stack([np.linspace(-1, 1, 7), np.array([0.3, -0.3] * 3 + [0.3])], axis=1)  # zigzag
