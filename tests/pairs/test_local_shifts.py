from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.pairs.local_shifts import LEAST_SHARE, between, find_warp
from pairedit_sdk.pairs.registration import outlines

FACE = Face(hair_style="curly", necklace="yes", mouth="laughing")
BEFORE = FACE.draw(256)
AFTER = FACE.with_(glasses="round").draw(256)


def warped(across: float, down: float, angle: float) -> Image.Image:
    """The after picture enlarged and turned clockwise about the middle."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    a, b, d, e = cos / across, sin / across, -sin / down, cos / down
    matrix = (a, b, 128 - 128 * (a + b), d, e, 128 - 128 * (d + e))
    return AFTER.transform((256, 256), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("across", "down", "angle"),
    [(1, 1, 0), (1, 1, 1), (1, 1, -1.5), (1.02, 1, 0), (1, 0.98, 0), (1.02, 1.02, 0)],
)
def test_a_slight_warp_is_measured(across: float, down: float, angle: float) -> None:
    found = find_warp(outlines(BEFORE).votes, outlines(warped(across, down, angle)).votes)
    assert found is not None
    assert (found.across, found.down) == pytest.approx((across, down), abs=0.006)
    assert found.angle == pytest.approx(angle, abs=0.3)
    border = math.hypot(max(abs(across - 1), abs(down - 1)), math.radians(angle)) / 2
    assert found.border == pytest.approx(border, abs=0.003)


def test_a_shift_alone_is_no_warp() -> None:
    votes = outlines(BEFORE).votes
    found = find_warp(votes, np.roll(votes, (3, -2), axis=(0, 1)))
    assert found is not None
    assert found.border < 0.001
    assert found.share > 0.95


def test_parts_that_go_their_own_ways() -> None:
    votes = outlines(BEFORE).votes
    quarters = [part for half in np.vsplit(votes, 2) for part in np.hsplit(half, 2)]
    ways = [(4, 4), (-4, 3), (-3, -5), (5, -4)]
    moved = [np.roll(part, way, (0, 1)) for part, way in zip(quarters, ways, strict=True)]
    found = find_warp(votes, np.block([moved[:2], moved[2:]]))
    assert found is not None
    assert found.share < LEAST_SHARE


def test_parts_that_tell_nothing() -> None:
    votes = outlines(BEFORE).votes
    assert find_warp(votes, np.zeros_like(votes)) is None
    assert find_warp(votes[:40], votes[:40]) is None


def test_the_top_of_a_parabola() -> None:
    assert between(0.0, 1.0, 0.0) == 0
    assert between(0.0, 1.0, 0.5) == pytest.approx(1 / 6)
    assert between(1.0, 1.0, 1.0) == 0
