"""Flat shapes on a drawn face or behind it: what no attribute of it draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pairedit_sdk.builtin.faces.canvas import Canvas, Points, ellipse, from_hex
from pairedit_sdk.builtin.faces.colours import is_hex

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.face import Face

KINDS = (
    "disc", "ring", "square", "triangle", "star", "cross", "stripe", "drop", "zigzag", "dots",
)  # fmt: skip
#: These are strokes or rows: filled or not, they look the same.
OPEN = frozenset({"ring", "cross", "stripe", "zigzag", "dots"})


@dataclass(frozen=True)
class Mark:
    """One shape in head coordinates (half image widths around the head's centre, y down).

    Args:
        kind: one of :data:`KINDS`.
        x: of its centre.
        y: of its centre.
        size: half its width; a stripe is that long to both sides.
        colour: "#rrggbb".
        angle: in degrees, clockwise.
        filled: or only its outline.
        mirrored: a second one stands at −x, turned the other way.
        behind: drawn before the person, who hides what is behind.
        count: how many dots a row has.

    Raises:
        ValueError: another kind or colour, a size of nothing, or fewer than 3 or more than 6 dots.
    """

    kind: str
    x: float
    y: float
    size: float
    colour: str
    angle: float = 0.0
    filled: bool = True
    mirrored: bool = False
    behind: bool = False
    count: int = 3

    def __post_init__(self) -> None:
        wanted = {
            "kind": (self.kind in KINDS, f"one of {', '.join(KINDS)}"),
            "colour": (is_hex(self.colour), "#rrggbb"),
            "size": (self.size > 0, "more than 0"),
            "count": (3 <= self.count <= 6, "3 to 6"),
        }
        for name, (right, expected) in wanted.items():
            if not right:
                raise ValueError(f"Mark.{name}: expected {expected}; got {getattr(self, name)!r}")


def draw_marks(canvas: Canvas, face: Face, behind: bool) -> None:
    """Draw those of the face's marks that are behind it, or the others."""
    for mark in face.marks:
        if mark.behind == behind:
            for side in (1, -1) if mark.mirrored else (1,):
                _draw(canvas, mark, side)


def _draw(canvas: Canvas, mark: Mark, side: int) -> None:
    colour, width = from_hex(mark.colour), max(0.03, 0.2 * mark.size)

    def placed(points: Points) -> Points:
        t = np.radians(mark.angle)
        turn = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
        at = points * mark.size @ turn + np.array([mark.x, mark.y])
        both: Points = at * np.array([side, 1])
        return both

    if mark.kind == "dots":
        for x in np.linspace(-1, 1, mark.count):
            canvas.fill(placed(ellipse(float(x), 0, 0.8 / mark.count, 0.8 / mark.count)), colour)
    elif mark.kind == "stripe":
        canvas.fill(placed(np.array([[-1, -0.18], [1, -0.18], [1, 0.18], [-1, 0.18]])), colour)
    elif mark.kind == "zigzag":
        x = np.linspace(-1, 1, 7)
        canvas.line(placed(np.stack([x, 0.28 * (-1.0) ** np.arange(7)], axis=1)), colour, width)
    elif mark.kind == "cross":
        for line in ([[-1, 0], [1, 0]], [[0, -1], [0, 1]]):
            canvas.line(placed(np.array(line, dtype=float)), colour, 1.6 * width)
    elif mark.filled and mark.kind not in OPEN:
        canvas.fill(placed(_outline(mark.kind)), colour)
    else:
        outline = placed(_outline(mark.kind))
        canvas.line(np.concatenate([outline, outline[:2]]), colour, width)


def _outline(kind: str) -> Points:
    """The contour of a closed shape of half width 1, around 0."""
    if kind == "square":
        return np.array([[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]])
    if kind == "triangle":
        return ellipse(0, 0, 1, 1, -90, 270)[:48:16]
    if kind == "star":
        t = np.radians(-90 + 36 * np.arange(10))
        radius = np.where(np.arange(10) % 2, 0.42, 1.0)
        return np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)
    if kind == "drop":
        return np.concatenate([[[0.0, -1.1]], ellipse(0, 0.35, 0.62, 0.62, -30, 210)])
    return ellipse(0, 0, 1, 1)
