"""From the model's change to the photograph: what is not changed stays bit for bit."""

import numpy as np
import pytest
import torch

from pairedit_sdk.editing.finishing import combined, cropped, finished, is_coloured, pasted, within
from pairedit_sdk.editing.region import Box
from pairedit_sdk.images.photo import Photo
from tests import colour_profiles as icc

GREY, RED = (0.5, 0.5, 0.5), (0.6, -0.4, -0.4)


def values(*shape, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top + 1, shape, dtype=dtype)


def change(colour, side=32):
    """Dx and Dz that differ in a square in the middle."""
    before = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    before = before.expand(1, 3, side, side).clone() * 0.2 - 0.1
    after = before.clone()
    after[..., 10:22, 10:22] += torch.tensor(colour)[:, None, None]
    return before, after


def photos():
    return {
        "RGB": Photo(values(51, 67, 3)),
        "RGBA": Photo(values(51, 67, 3), values(51, 67, seed=1)),
        "L": Photo(values(51, 67, 1)),
        "LA": Photo(values(51, 67, 1), values(51, 67, seed=1)),
        "L16": Photo(values(51, 67, 1, dtype=np.uint16)),
        "RGB16": Photo(values(51, 67, 3, dtype=np.uint16)),
        "P3": Photo(values(51, 67, 3), None, icc.colour(icc.P3, icc.curve(2.2))),
        "grey profile": Photo(values(51, 67, 1), None, icc.grey(icc.curve(1.8))),
    }


@pytest.mark.parametrize("kind", list(photos()))
@pytest.mark.parametrize("colour", [GREY, RED])
def test_black_of_a_mask_is_the_original(kind, colour):
    photo = photos()[kind]
    weights = np.zeros((51, 67), np.uint8)
    weights[20:40, 25:45] = 255
    weights[20:22] //= 2
    for detail in ("original", "off"):
        result = finished(photo, change(colour), detail, weights)
        original = photo if result.pixels.shape[2] == photo.pixels.shape[2] else photo.as_colour()
        black = weights == 0
        assert np.array_equal(result.pixels[black], original.pixels[black])
        assert not np.array_equal(result.pixels[~black], original.pixels[~black])
        assert result.pixels.dtype == photo.pixels.dtype
        assert result.alpha is photo.alpha
        assert result.profile is original.profile


@pytest.mark.parametrize("kind", list(photos()))
def test_far_from_a_change_the_original_stays(kind):
    photo = photos()[kind]
    result = finished(photo, change(GREY), "original", None)
    assert np.array_equal(result.pixels[:6], photo.pixels[:6])
    assert np.array_equal(result.pixels[:, -6:], photo.pixels[:, -6:])
    assert not np.array_equal(result.pixels, photo.pixels)


def test_without_a_change_it_is_the_very_photograph():
    photo = photos()["RGBA"]
    before, _ = change(GREY)
    assert finished(photo, (before, before), "original", None) is photo


@pytest.mark.parametrize("kind", ["L", "LA", "L16", "grey profile"])
def test_grey_takes_colour_from_a_change_of_colour_alone(kind):
    photo = photos()[kind]
    assert finished(photo, change(GREY), "original", None).pixels.shape[2] == 1
    result = finished(photo, change(RED), "original", None)
    assert result.pixels.shape[2] == 3
    assert result.profile is None
    middle = result.pixels[22:30, 28:40].astype(float).mean(axis=(0, 1))
    assert middle[0] > middle[1] + 0.2 * np.iinfo(photo.pixels.dtype).max


def test_colour_where_a_mask_forbids_it_leaves_grey_grey():
    weights = np.zeros((51, 67), np.uint8)
    weights[:5, :5] = 255
    assert finished(photos()["L"], change(RED), "original", weights).pixels.shape[2] == 1


def test_the_autoencoder_s_tint_is_no_colour():
    before, after = change((0.31, 0.29, 0.3))
    assert not is_coloured(before, after)
    assert is_coloured(*change(RED))


def test_the_change_of_a_photo_in_p3_is_the_one_of_its_colours():
    """The same scene in two profiles, edited, still looks the same."""
    side = 40
    scene = np.full((side, side, 3), 120, np.uint8)
    profile = icc.colour(icc.P3, icc.srgb_curve())
    own = Photo(scene).in_own_colours(torch.from_numpy(scene / 127.5 - 1).permute(2, 0, 1)[None])
    assert own.shape == (1, 3, side, side)
    edited = [
        finished(photo, change(RED), "original", None).seen()
        for photo in (Photo(scene), Photo(scene, None, profile))  # grey is one and the same in both
    ]
    off = np.abs(np.asarray(edited[0], int) - np.asarray(edited[1], int))
    assert off.max() <= 4


def test_a_mask_at_the_model_s_size():
    before, after = change(RED)
    weights = np.zeros((64, 64), np.uint8)
    weights[:, :32] = 1
    kept = within(weights, before, after)
    assert torch.equal(kept[..., :16], after[..., :16])
    assert torch.equal(kept[..., 18:], before[..., 18:])


def test_two_masks_are_multiplied():
    one, other = np.array([[0, 255, 255, 128]], np.uint8), np.array([[255, 255, 7, 128]], np.uint8)
    assert combined(one, other).tolist() == [[0, 255, 7, 64]]


def test_a_part_is_cut_out_and_put_back():
    photo = photos()["RGBA"]
    box = Box(7, 5, 30, 20)
    part = cropped(photo, box)
    assert part.size == (30, 20)
    assert np.array_equal(pasted(photo, part, box).pixels, photo.pixels)
    other = pasted(photo, part.with_pixels(255 - part.pixels), box)
    same = other.pixels == photo.pixels
    assert same[:5].all()
    assert same[25:].all()
    assert not same[5:25, 7:37].any()
    assert other.alpha is photo.alpha


def test_a_coloured_part_makes_the_whole_coloured():
    photo = photos()["L"]
    box = Box(7, 5, 30, 20)
    whole = pasted(photo, cropped(photo, box).as_colour(), box)
    assert np.array_equal(whole.pixels, photo.as_colour().pixels)
