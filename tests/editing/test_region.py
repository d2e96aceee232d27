"""Regions: boxes, their context, and how they are found."""

import numpy as np
import pytest
import torch

from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.editing.region import Box, as_box, changed_box, fading, in_context
from pairedit_sdk.errors import UsageError


@pytest.mark.parametrize(
    "region", [[1, 2, 3], [1, 2, 3, 4, 5], [0, 0, 0, 4], [0, 0, 4, 0], [-1, 0, 4, 4], "face",
               "1,2,3,4", [None] * 4, 7]
)  # fmt: skip
def test_what_is_no_box_is_refused(region):
    with pytest.raises(UsageError, match=r"x, y, width and height.*--region"):
        as_box(region)
    with pytest.raises(UsageError, match=r"The region"):
        EditOptions(region=region)


def test_four_numbers_are_a_box():
    assert as_box([1, 2, 3, 4]) == as_box(np.array([1, 2, 3, 4])) == Box(1, 2, 3, 4)
    assert EditOptions(region=(1, 2, 3, 4)).region == Box(1, 2, 3, 4)
    assert EditOptions(region="auto").region == "auto"


def test_numbers_that_are_not_whole_are_refused():
    with pytest.raises(UsageError, match="four whole numbers"):
        as_box([0.5, 0, 10, 10])


def test_context_ends_at_the_picture():
    assert in_context(Box(40, 40, 20, 10), (200, 100)) == Box(30, 35, 40, 20)
    assert in_context(Box(0, 90, 20, 10), (200, 100)) == Box(0, 85, 30, 15)
    assert in_context(Box(0, 0, 200, 100), (200, 100)) == Box(0, 0, 200, 100)


@pytest.mark.parametrize("box", [Box(0, 0, 201, 10), Box(150, 0, 51, 10), Box(0, 500, 10, 10)])
def test_a_box_outside_the_picture_is_refused(box):
    with pytest.raises(UsageError, match=r"outside the picture.*at most 200.*at most 100"):
        in_context(box, (200, 100))


def changed(top, left, side, strength=1.0, size=(96, 128)):
    before = torch.zeros(1, 3, *size)
    after = before.clone()
    after[..., top : top + side, left : left + side] = strength
    return before, after


def test_the_box_of_a_change_holds_it_and_little_more():
    before, after = changed(40, 60, 12)
    box = changed_box(before, after, (1280, 960))
    assert box.x <= 600
    assert box.y <= 400
    assert box.x + box.width >= 720
    assert box.y + box.height >= 520
    assert box.width < 240
    assert box.height < 240


def test_faint_changes_elsewhere_do_not_count():
    before, after = changed(40, 60, 12)
    alone = changed_box(before, after, (1280, 960))
    after[..., :8, :8] = 0.1
    assert changed_box(before, after, (1280, 960)) == alone


def test_without_a_change_or_with_one_all_over_there_is_no_box():
    before, after = changed(0, 0, 128)
    assert changed_box(before, before, (1280, 960)) is None
    assert changed_box(before, after, (1280, 960)) is None


def test_what_is_put_back_fades_to_nothing_within_the_context():
    size = (200, 100)
    box = Box(60, 40, 40, 20)
    around = in_context(box, size)
    share = fading(box, around, size)
    assert share.shape == (around.height, around.width)
    inside = share[10:30, 20:60]
    assert (inside == 255).all()
    assert share[0].max() <= 3
    assert share[-1].max() <= 3
    assert share[:, 0].max() <= 3
    assert share[:, -1].max() <= 3


def test_nothing_fades_at_the_picture_s_own_border():
    size = (200, 100)
    box = Box(0, 80, 40, 20)
    share = fading(box, in_context(box, size), size)
    assert (share[-20:, :40] == 255).all()
    assert share[0].max() <= 3
