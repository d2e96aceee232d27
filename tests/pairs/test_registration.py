from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageOps

from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.pairs.registration import agreement, outlines, register

FACE = Face(hair_style="curly", necklace="yes", mouth="laughing", shift_x=0.03, tilt=0.05)


def moved(image: Image.Image, dx: int, dy: int) -> Image.Image:
    """The content carried to the right and down; the border repeats."""
    pixels = np.pad(np.asarray(image), ((32, 32), (32, 32), (0, 0)), mode="edge")
    height, width = image.height, image.width
    return Image.fromarray(pixels[32 - dy : 32 - dy + height, 32 - dx : 32 - dx + width])


def test_a_picture_agrees_with_itself() -> None:
    same = outlines(FACE.draw(128))
    found = register(same, same)
    assert found.agreement == pytest.approx(1, abs=1e-4)
    assert found.shift < 1e-4
    assert found.warp == 0


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (4, 3), (-9, 6), (20, -15)])
def test_shift_is_found_in_sign_and_size(shift: tuple[int, int]) -> None:
    before = FACE.draw(128)
    found = register(
        outlines(before), outlines(moved(FACE.with_(glasses="round").draw(128), *shift))
    )
    assert (found.dx * 128, found.dy * 128) == pytest.approx(shift, abs=0.3)
    assert (found.zoom, found.angle) == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"hair_style": "bald"},
        {"background": "pink"},
        {"style": "night"},
        {"hat": "top"},
        {"skin": "dark"},
    ],
)
def test_large_edits_do_not_move_the_picture(change: dict[str, str]) -> None:
    found = register(outlines(FACE.draw(128)), outlines(FACE.with_(**change).draw(128)))
    assert found.shift * 128 < 0.2
    assert found.warp == 0
    assert found.agreement > 0.55


def test_shift_is_a_share_of_the_long_side_of_any_shape() -> None:
    wide = FACE.draw(300).crop((0, 60, 300, 210))
    found = register(outlines(wide), outlines(moved(wide, 9, -6)))
    assert (found.dx * 300, found.dy * 300) == pytest.approx((9, -6), abs=0.6)


def test_zoom_and_turn_are_found_where_the_outlines_disagree() -> None:
    before = FACE.draw(256)
    larger = before.resize((282, 282)).crop((13, 13, 269, 269))
    found = register(outlines(before), outlines(larger))
    assert found.zoom == pytest.approx(1.1, abs=0.013)
    assert found.warp == pytest.approx(0.05, abs=0.007)
    turned = before.rotate(-3, Image.Resampling.BICUBIC, fillcolor=before.getpixel((0, 0)))
    found = register(outlines(before), outlines(turned))
    assert found.angle == pytest.approx(3, abs=0.75)
    assert found.zoom == 1


def test_colour_and_contrast_do_not_matter() -> None:
    before = FACE.draw(128)
    found = agreement(outlines(before), outlines(ImageOps.invert(before)))
    assert found.agreement > 0.95
    assert found.shift < 1e-3


def test_strangers_do_not_agree() -> None:
    from pairedit_sdk.builtin.faces.numbered import face_at

    faces = [outlines(face_at(k, "strangers").draw(128)) for k in range(8)]
    assert all(register(a, b).agreement < 0.5 for a, b in pairwise(faces))


def test_nothing_to_compare() -> None:
    flat, face = outlines(Image.new("RGB", (64, 64), "red")), outlines(FACE.draw(64))
    assert flat.featureless
    assert not face.featureless
    assert register(flat, flat).agreement == register(flat, face).agreement == 0
    assert outlines(Image.new("RGB", (1, 1))).featureless
    assert outlines(Image.new("RGB", (2000, 4))).featureless
