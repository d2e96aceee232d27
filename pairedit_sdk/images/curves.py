"""Curves over the steps of a training, drawn with Pillow: panels over one axis of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.plots import BACKGROUND, FAINT, INK

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
#: Told apart by those who see few colours as well.
COLOURS: tuple[Colour, ...] = ((0, 100, 170), (213, 94, 0), (0, 140, 100), (150, 80, 150))
GRID: Colour = (228, 228, 232)
#: Width of the picture, heights of a large and a small panel, and the margins, in pixels.
WIDTH, TALL, LOW = 1200, 380, 150
LEFT, RIGHT, TOP, HEADING, BOTTOM = 96, 36, 28, 56, 64
#: Everything is drawn so many times larger and then shrunk, which makes lines smooth.
FINER = 2
#: A running mean is over a tenth of the steps, but over no more than so many.
LONGEST_MEAN = 200
#: Values that differ by more than this factor are shown on a logarithmic axis.
WIDE = 8.0


@dataclass(frozen=True)
class Curve:
    """Values at steps.

    Attributes:
        label: in words.
        steps: ascending.
        values: finite, as many.
        kind: "noisy" is shown as light points with their running mean, "line" as it is, and
            "marks" as points, each with its value.
    """

    label: str
    steps: Sequence[float]
    values: Sequence[float]
    kind: str = "noisy"


@dataclass(frozen=True)
class Panel:
    """Curves on one axis of values.

    Attributes:
        heading: what is shown.
        curves: one or more.
        height: in pixels.
        holds: values that the axis shows whatever the curves' own are.
    """

    heading: str
    curves: Sequence[Curve]
    height: int = TALL
    holds: Sequence[float] = ()


def window_of(count: int) -> int:
    """How many of ``count`` values a running mean takes together, an odd number."""
    return min(count // 10, LONGEST_MEAN) | 1


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and its neighbours, ``window`` in all; at the ends there are fewer."""
    half = window // 2
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for k in range(len(values)):
        first, end = max(0, k - half), min(len(values), k + half + 1)
        means.append((sums[end] - sums[first]) / (end - first))
    return means


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many: multiples of 1, 2 or 5 times a power
    of ten."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The same for a logarithmic axis: powers of ten, and 2 and 5 times these where there are few
    of them."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), tuple(map(float, range(1, 10)))):
        found = [f * 10.0**e for e in exponents for f in factors]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) >= 3:
            return found
    return found


def number(value: float) -> str:
    """A tick's value as it is written: 0.002, 1e-5, 150, 10k."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    if abs(value) < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.4g}"


def chart(panels: Sequence[Panel], title: str, subtitle: str = "") -> Image.Image:
    """The panels below each other on a white sheet, over one axis of steps.

    Args:
        panels: one or more, with one or more values each.
        title: of the whole.
        subtitle: a line below it.

    Raises:
        UsageError: there is nothing to show.
    """
    from PIL import Image

    steps = [step for panel in panels for curve in panel.curves for step in curve.steps]
    if not steps:
        raise UsageError("There is no curve to show", expected="at least one value")
    first, last = min(steps), max(steps)
    head = TOP + 40 + (30 if subtitle else 0)
    height = head + sum(HEADING + panel.height for panel in panels) + BOTTOM
    sheet = Image.new("RGB", (WIDTH * FINER, height * FINER), BACKGROUND)
    pen = _Pen(sheet)
    pen.text((LEFT, TOP), title, 26, INK)
    pen.text((LEFT, TOP + 40), subtitle, 16, FAINT)
    top = head
    # From 0, unless a run's beginning is missing.
    across = _Axis(0 if first < 0.1 * last else first - 1, last, LEFT, WIDTH - RIGHT)
    for panel in panels:
        top += HEADING
        _draw(pen, panel, across, top)
        top += panel.height
    for step in ticks(across.low, across.high, 8):
        if step == int(step):
            pen.text((across.at(step), top + 8), number(step), 15, FAINT, "ma")
    pen.text(((LEFT + WIDTH - RIGHT) / 2, top + 32), "step", 15, FAINT, "ma")
    return sheet.resize((WIDTH, height), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class _Axis:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


class _Pen:
    """Draws in the sheet's final pixels, whatever it is enlarged by."""

    def __init__(self, sheet: Image.Image) -> None:
        from PIL import ImageDraw

        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(sheet)

    def text(
        self, at: tuple[float, float], words: str, size: int, colour: Colour, anchor: str = "la"
    ) -> None:
        spot = (at[0] * FINER, at[1] * FINER)
        self._draw.text(spot, words, fill=colour, font=_font(size * FINER), anchor=anchor)

    def width(self, words: str, size: int) -> float:
        return float(_font(size * FINER).getlength(words)) / FINER

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        self._draw.line(
            [(x * FINER, y * FINER) for x, y in points],
            fill=colour,
            width=max(1, round(width * FINER)),
            joint="curve",
        )

    def dot(self, at: tuple[float, float], radius: float, colour: Colour) -> None:
        x, y = at
        box = [(v + d * radius) * FINER for d in (-1, 1) for v in (x, y)]
        self._draw.ellipse(box, fill=colour)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _draw(pen: _Pen, panel: Panel, across: _Axis, top: float) -> None:
    up = _values_axis(panel, top)
    few = 3 if panel.height < TALL else 6
    for value in log_ticks(up.low, up.high) if up.log else ticks(up.low, up.high, few):
        y = up.at(value)
        pen.line([(across.start, y), (across.end, y)], GRID, 1)
        pen.text((across.start - 10, y), number(value), 15, FAINT, "rm")
    pen.line([(across.start, top + panel.height), (across.end, top + panel.height)], FAINT, 1)
    pen.text((across.start, top - 12), panel.heading, 18, INK, "ls")
    colours = {curve.label: COLOURS[k % len(COLOURS)] for k, curve in enumerate(panel.curves)}
    for curve in panel.curves:
        if curve.kind == "noisy":
            size = 2.0 if len(curve.steps) <= WIDTH else 1.3
            for step, value in zip(curve.steps, curve.values, strict=True):
                pen.dot((across.at(step), up.at(value)), size, _light(colours[curve.label]))
    for curve in panel.curves:
        _curve(pen, curve, across, up, colours[curve.label])
    if len(panel.curves) > 1 or panel.curves[0].kind == "noisy":
        _legend(pen, panel, colours, across.end, top - 12)


def _curve(pen: _Pen, curve: Curve, across: _Axis, up: _Axis, colour: Colour) -> None:
    values = curve.values
    if curve.kind == "noisy":
        values = running_mean(values, window_of(len(values)))
    points = [(across.at(s), up.at(v)) for s, v in zip(curve.steps, values, strict=True)]
    thin = curve.kind == "marks"
    if len(points) > 1:
        pen.line(points, _light(colour) if thin else colour, 1.5 if thin else 2.5)
    if thin or len(points) == 1:
        for point in points:
            pen.dot(point, 5, colour)
    if thin and len(points) <= 12:
        for (x, y), value in zip(points, values, strict=True):
            words = f"{value:.2f}"
            half = pen.width(words, 14) / 2
            x = min(max(x, across.start + half), across.end - half)
            pen.text((x, y - 10), words, 14, INK, "ms")


def _legend(
    pen: _Pen, panel: Panel, colours: dict[str, Colour], right: float, baseline: float
) -> None:
    for curve in reversed(panel.curves):
        right -= pen.width(curve.label, 15)
        pen.text((right, baseline), curve.label, 15, INK, "ls")
        pen.line([(right - 36, baseline - 6), (right - 8, baseline - 6)], colours[curve.label], 3)
        right -= 64


def _values_axis(panel: Panel, top: float) -> _Axis:
    values = [*(v for curve in panel.curves for v in curve.values), *panel.holds]
    low, high = min(values), max(values)
    start, end = top + panel.height, top
    noisy = any(curve.kind == "noisy" for curve in panel.curves)
    if noisy and low > 0 and high > WIDE * low:
        room = (high / low) ** 0.06
        return _Axis(low / room, high * room, start, end, log=True)
    marked = any(curve.kind == "marks" for curve in panel.curves)
    room = (0.25 if marked else 0.1) * (high - low) or abs(high) * 0.5 or 1.0
    if (low >= 0 and low <= 2 * (high - low)) or low == high > 0:
        return _Axis(0.0, high + room, start, end)  # near 0, or with nothing else to be seen by
    return _Axis(low - (0.1 * (high - low) or room), high + room, start, end)


def _light(colour: Colour) -> Colour:
    red, green, blue = (round(255 - 0.3 * (255 - part)) for part in colour)
    return red, green, blue
