from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.plots import collage, strip

RED, GREEN, BLUE = (200, 0, 0), (0, 160, 0), (0, 0, 200)


def _flat(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, colour)


def _box(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a colour; every pixel inside must have it."""
    found = (np.asarray(sheet) == colour).all(axis=-1)
    ys, xs = np.nonzero(found)
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    assert found[top:bottom, left:right].all()
    return int(left), int(top), int(right), int(bottom)


def _ink(sheet: Image.Image, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Columns of a region that are not white, in the sheet's coordinates."""
    region = np.asarray(sheet)[top:bottom, left:right]
    return np.nonzero((region < 200).any(axis=(0, 2)))[0] + left


def test_strip_keeps_the_pictures_and_leaves_a_white_gap_and_margin() -> None:
    sheet = strip([_flat(RED), _flat(GREEN), _flat(BLUE)], ["a", "b", "c"])
    boxes = [_box(sheet, colour) for colour in (RED, GREEN, BLUE)]
    assert all((r - x, b - y) == (64, 64) for x, y, r, b in boxes)
    assert len({y for _, y, _, _ in boxes}) == 1
    gaps = [boxes[k + 1][0] - boxes[k][2] for k in range(2)]
    assert gaps[0] == gaps[1] >= 3
    margin = boxes[0][0]
    assert margin == sheet.width - boxes[-1][2] == sheet.height - boxes[-1][3] >= 5
    corners = [(0, 0), (sheet.width - 1, sheet.height - 1), (boxes[0][2] + 1, boxes[0][1] + 5)]
    assert {sheet.getpixel(xy) for xy in corners} == {(255, 255, 255)}


def test_labels_are_centred_above_their_pictures() -> None:
    sheet = strip([_flat(RED, (120, 60)), _flat(GREEN, (120, 60))], ["before", "+1"])
    for colour in (RED, GREEN):
        left, top, right, _ = _box(sheet, colour)
        ink = _ink(sheet, left, 0, right, top)
        assert len(ink)
        assert (ink.min() + ink.max() + 1) / 2 == pytest.approx((left + right) / 2, abs=2)


def test_title_makes_room_and_is_centred() -> None:
    plain, titled = (strip([_flat(RED, (256, 64))], ["a"], title=t) for t in (None, "Glasses"))
    extra = titled.height - plain.height
    assert extra > 20
    assert titled.width == plain.width
    ink = _ink(titled, 0, 0, titled.width, extra)
    assert (ink.min() + ink.max() + 1) / 2 == pytest.approx(titled.width / 2, abs=2)


def test_collage_puts_rows_and_columns_where_they_belong() -> None:
    white = _flat((250, 250, 250))
    sheet = collage([[_flat(RED), white], [white, _flat(BLUE)]], ["x", "y"], ["first", "second"])
    red, blue = _box(sheet, RED), _box(sheet, BLUE)
    assert blue[0] > red[2]
    assert blue[1] > red[3]
    for box in (red, blue):
        ink = _ink(sheet, 0, box[1], red[0], box[3])
        assert len(ink)
        assert ink.max() < red[0]


def test_pictures_of_different_sizes_are_centred_in_their_cells() -> None:
    sheet = collage([[_flat(RED, (80, 40))], [_flat(BLUE, (40, 80))]], ["both"])
    red, blue = _box(sheet, RED), _box(sheet, BLUE)
    assert (red[0] + red[2]) / 2 == pytest.approx((blue[0] + blue[2]) / 2, abs=1)
    assert (red[2] - red[0], red[3] - red[1]) == (80, 40)
    assert (blue[2] - blue[0], blue[3] - blue[1]) == (40, 80)


def test_large_pictures_are_shrunk_and_the_originals_left_alone() -> None:
    image = _flat(RED, (600, 300))
    sheet = strip([image], ["big"], largest=200)
    left, top, right, bottom = _box(sheet, RED)
    assert (right - left, bottom - top) == (200, 100)
    assert image.size == (600, 300)


def test_a_long_label_is_broken_and_a_long_word_is_cut_so_that_neither_widens_the_sheet() -> None:
    short = strip([_flat(RED), _flat(BLUE)], ["a", "b"])
    broken = strip([_flat(RED), _flat(BLUE)], ["a", "a young person with long red hair"])
    cut = strip([_flat(RED), _flat(BLUE)], ["a", "w" * 60])
    assert broken.width == cut.width == short.width
    assert broken.height > short.height == cut.height
    left, top, right, _ = _box(cut, BLUE)
    ink = _ink(cut, 0, 0, cut.width, top)
    assert left <= ink[ink > left - 2].min()
    assert ink.max() <= right


def test_pictures_with_transparency_and_in_grey_are_taken() -> None:
    sheet = strip([Image.new("L", (64, 64), 9), Image.new("RGBA", (64, 64), BLUE)], ["l", "a"])
    assert sheet.mode == "RGB"
    assert _box(sheet, (9, 9, 9))[2] < _box(sheet, BLUE)[0]


def test_the_same_sheet_twice() -> None:
    first, second = (strip([_flat(RED)], ["a"], title="t").tobytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("rows", "columns", "row_labels", "message"),
    [
        ([], ["a"], None, "There is no picture to show. Expected at least one."),
        ([[]], [], None, "There is no picture to show. Expected at least one."),
        ([[RED]], ["a", "b"], None,
         "Row 1 of the sheet does not fit its labels. Expected 2 pictures, one for each label. "
         "Got 1."),
        ([[RED], [RED, BLUE]], ["a"], None,
         "Row 2 of the sheet does not fit its labels. Expected 1 picture, one for each label. "
         "Got 2."),
        ([[RED]], ["a"], ["x", "y"], "The row labels do not fit the rows. Expected 1. Got 2."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    rows: list[list[tuple[int, int, int]]],
    columns: list[str],
    row_labels: list[str] | None,
    message: str,
) -> None:
    with pytest.raises(UsageError) as raised:
        collage([[_flat(c) for c in row] for row in rows], columns, row_labels)
    assert str(raised.value) == message
