"""Pictures side by side with words: a strip, and a collage of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from pairedit_sdk.errors import UsageError, counted

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BACKGROUND = (255, 255, 255)
INK = (40, 40, 44)
FAINT = (110, 110, 116)

#: Pictures whose longer side is beyond this are shrunk for the sheet.
LARGEST_CELL = 512


class _Sizes(NamedTuple):
    """Lengths in pixels, all in proportion to the pictures."""

    label: int
    title: int
    gap: int
    narrowest: int
    margin: int


def strip(
    images: Sequence[Image.Image],
    labels: Sequence[str],
    *,
    title: str | None = None,
    largest: int = LARGEST_CELL,
) -> Image.Image:
    """Pictures in one row, each under its label: a :func:`collage` of one row."""
    return collage([images], labels, title=title, largest=largest)


def collage(
    rows: Sequence[Sequence[Image.Image]],
    column_labels: Sequence[str],
    row_labels: Sequence[str] | None = None,
    *,
    title: str | None = None,
    largest: int = LARGEST_CELL,
) -> Image.Image:
    """Pictures in rows and columns, labels above the columns and left of the rows.

    Args:
        rows: equally long rows of pictures of any sizes; each is centred in its cell.
        column_labels: one for each column; long ones are broken into lines.
        row_labels: one for each row, or None for no labels.
        title: a heading above all.
        largest: pixels; pictures with a longer side are shrunk to it.

    Returns:
        An RGB picture on white.

    Raises:
        UsageError: there is no picture, or the labels are not as many as the pictures.
    """
    from PIL import Image, ImageDraw

    _check(rows, column_labels, row_labels)
    cells = [[_shrunk(image, largest) for image in row] for row in rows]
    sizes = _sizes(max(max(image.size) for row in cells for image in row))
    font, title_font = _font(sizes.label), _font(sizes.title)
    widths = [
        max(sizes.narrowest, *(row[k].width for row in cells)) for k in range(len(column_labels))
    ]
    heights = [max(image.height for image in row) for row in cells]

    columns = [_Text(text, font, w) for text, w in zip(column_labels, widths, strict=True)]
    sides = [_Text(text, font, 2 * max(widths)) for text in row_labels or []]
    side_width = max((side.width for side in sides), default=0)
    left = sizes.margin + (side_width + 2 * sizes.gap if side_width else 0)
    right = left + sum(widths) + sizes.gap * (len(widths) - 1)
    heading = _Text(title or "", title_font, right - sizes.margin)
    labels_top = sizes.margin + (heading.height + sizes.gap if heading.lines else 0)
    labels_bottom = labels_top + max(column.height for column in columns)
    top = labels_bottom + sizes.gap
    bottom = top + sum(heights) + sizes.gap * (len(heights) - 1)

    sheet = Image.new("RGB", (right + sizes.margin, bottom + sizes.margin), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    heading.write(draw, sheet.width / 2, sizes.margin, INK)
    xs = [left + sum(widths[:k]) + sizes.gap * k for k in range(len(widths))]
    ys = [top + sum(heights[:k]) + sizes.gap * k for k in range(len(heights))]
    for x, width, column in zip(xs, widths, columns, strict=True):
        # Labels stand on their pictures, whatever the number of their lines.
        column.write(draw, x + width / 2, labels_bottom - column.height, FAINT)
    for y, height, row in zip(ys, heights, cells, strict=True):
        for x, width, image in zip(xs, widths, row, strict=True):
            sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    for y, height, side in zip(ys, heights, sides, strict=False):
        side.write(draw, sizes.margin + side_width / 2, y + (height - side.height) / 2, FAINT)
    return sheet


class _Text:
    """Words broken into lines no wider than ``width`` pixels; a single wider word is cut short."""

    def __init__(self, text: str, font: Font, width: int) -> None:
        self.font = font
        self.lines: list[str] = []
        for word in text.split():
            if self.lines and font.getlength(f"{self.lines[-1]} {word}") <= width:
                self.lines[-1] += f" {word}"
            else:
                self.lines.append(word)
        self.lines = [_cut(line, font, width) for line in self.lines]
        self.line_height = round(font.getbbox("Ag")[3] * 1.2)
        self.width = ceil(max((font.getlength(line) for line in self.lines), default=0))
        self.height = self.line_height * len(self.lines)

    def write(
        self, draw: ImageDraw.ImageDraw, centre: float, top: float, colour: tuple[int, int, int]
    ) -> None:
        """Write the lines, centred at ``centre``, from ``top`` down."""
        for k, line in enumerate(self.lines):
            spot = (centre, top + k * self.line_height)
            draw.text(spot, line, fill=colour, font=self.font, anchor="ma")


def _cut(text: str, font: Font, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _check(
    rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], row_labels: Sequence[str] | None
) -> None:
    if not rows or not rows[0]:
        raise UsageError("There is no picture to show", expected="at least one")
    for k, row in enumerate(rows):
        if len(row) != len(columns):
            raise UsageError(
                f"Row {k + 1} of the sheet does not fit its labels",
                expected=f"{counted(len(columns), 'picture')}, one for each label",
                got=str(len(row)),
            )
    if row_labels is not None and len(row_labels) != len(rows):
        raise UsageError(
            "The row labels do not fit the rows", expected=str(len(rows)), got=str(len(row_labels))
        )


def _sizes(cell: int) -> _Sizes:
    label = max(11, round(cell * 0.085))
    return _Sizes(
        label=label,
        title=max(14, round(label * 1.35)),
        gap=max(4, round(cell * 0.045)),
        margin=max(8, round(cell * 0.1)),
        narrowest=3 * label,
    )


def _font(size: int) -> Font:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _shrunk(image: Image.Image, largest: int) -> Image.Image:
    from PIL import Image

    image = image.convert("RGB")
    if max(image.size) > largest:
        image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return image
