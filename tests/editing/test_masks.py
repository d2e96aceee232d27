"""Masks: black stays untouched, and what cannot be meant is refused."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pairedit_sdk.editing.masks import mask_weights, seen_weights
from pairedit_sdk.errors import InputError, UsageError


def disc(side=200, radius=60):
    image = Image.new("L", (side, side))
    middle = side / 2
    ImageDraw.Draw(image).ellipse([middle - radius, middle - radius, middle + radius,
                                   middle + radius], fill=255)  # fmt: skip
    return image


@pytest.mark.parametrize("size", [(200, 200), (801, 800), (77, 78)])
def test_the_feather_lies_inside_and_never_touches_black(size):
    mask = disc()
    weights = mask_weights(mask, size)
    assert weights.shape == (size[1], size[0])
    assert weights.dtype == np.uint8
    black = np.asarray(mask.resize(size, Image.Resampling.NEAREST)) == 0
    assert (weights[black] == 0).all()
    assert weights[size[1] // 2, size[0] // 2] == 255
    row = weights[size[1] // 2, : size[0] // 2].astype(int)
    assert (np.diff(row) >= 0).all()


def test_a_mask_of_white_is_white_to_its_borders():
    assert (mask_weights(Image.new("L", (50, 40), 255), (101, 80)) == 255).all()


@pytest.mark.parametrize("radius", [1, 3, 8])
def test_a_spot_smaller_than_the_feather_is_not_lost(radius):
    """The feather of a large photograph is wider than an eye."""
    weights = mask_weights(disc(1000, radius), (1000, 1000))
    assert weights[500, 500] >= 128
    assert (weights[np.asarray(disc(1000, radius)) == 0] == 0).all()


def test_grey_levels_are_taken_as_they_are():
    ramp = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (48, 1))
    assert np.array_equal(mask_weights(ramp, (64, 48)), ramp)
    larger = mask_weights(ramp, (640, 480))
    assert np.abs(np.diff(larger.astype(int), axis=1)).max() <= 5


@pytest.mark.parametrize("size", [(128, 128), (77, 77), (40, 40)])
def test_black_of_a_grey_mask_stays_black_at_another_size(size):
    soft = np.zeros((64, 64), np.uint8)
    soft[16:48, 16:48] = np.linspace(90, 255, 32).astype(np.uint8)
    black = np.asarray(Image.fromarray(soft).resize(size, Image.Resampling.NEAREST)) == 0
    weights = mask_weights(soft, size)
    assert (weights[black] == 0).all()
    assert weights.max() > 200


def test_transparency_is_black():
    hole = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    hole.paste((255, 255, 255, 255), (10, 10, 30, 30))
    weights = mask_weights(hole, (40, 40))
    assert weights[20, 20] == 255
    assert weights[5, 5] == 0
    dark = np.zeros((40, 40, 4), np.uint8)
    dark[..., 3] = np.linspace(0, 255, 40).astype(np.uint8)
    dark[:5, :, :3] = 255
    assert (mask_weights(dark, (40, 40))[6:] == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_every_mode_is_taken(mode):
    mask = disc()
    if mode == "I;16":
        mask = Image.fromarray(np.asarray(mask).astype(np.uint16) * 257)
    else:
        mask = mask.convert(mode)
    assert np.array_equal(mask_weights(mask, (200, 200)), mask_weights(disc(), (200, 200)))


def test_a_path_is_taken(tmp_path):
    disc().save(tmp_path / "m.png")
    assert np.array_equal(
        mask_weights(tmp_path / "m.png", (200, 200)), mask_weights(disc(), (200, 200))
    )


def test_what_cannot_be_meant_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"other proportions.*80 x 40 pixels.*Got 50 x 50"):
        mask_weights(disc(50, 20), (80, 40))
    with pytest.raises(UsageError, match=r"black all over.*Invert it"):
        mask_weights(Image.new("L", (40, 40)), (40, 40))
    (tmp_path / "m.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"m\.png"):
        mask_weights(tmp_path / "m.png", (40, 40))
    with pytest.raises(UsageError, match="The mask is no picture"):
        mask_weights(3, (40, 40))


def test_proportions_may_be_off_by_rounding():
    assert mask_weights(disc(100), (333, 331)).shape == (331, 333)


def test_the_model_sees_whatever_is_not_black():
    weights = np.zeros((300, 400), np.uint8)
    weights[150, 200] = 1
    seen = seen_weights(weights, (40, 32))
    assert seen.shape == (1, 1, 32, 40)
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    assert seen[0, 0, 16, 20] == 1
    assert seen.sum() <= 16


@pytest.mark.parametrize("kind", ["dot", "nearly black"])
def test_a_mask_of_which_nothing_is_left_is_refused(kind):
    """It would be the original, without a word."""
    mask = np.full((400, 400), 5 if kind == "nearly black" else 0, np.uint8)
    mask[101, 101] = 255 if kind == "dot" else 5
    with pytest.raises(UsageError, match=r"too small or too dark.*Make those parts larger"):
        mask_weights(mask, (40, 40))
