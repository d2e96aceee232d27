"""Photographs at their own size: what an edit does not concern is kept, bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.editing.edit_image import edit_image, sweep
from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.editing.edit_photos import made_with, rows_at_once
from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.photo import Photo
from tests import colour_profiles as icc


def values(*shape, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top + 1, shape, dtype=dtype)


def camera():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    return exif.tobytes()


def photo(kind="RGB", height=97, width=131):
    deep = kind.endswith("16")
    dtype = np.uint16 if deep else np.uint8
    pixels = values(height, width, 1 if kind[0] == "L" else 3, dtype=dtype)
    alpha = values(height, width, dtype=dtype, seed=1) if "A" in kind else None
    profile = icc.colour(icc.P3, icc.curve(2.2)) if kind == "P3" else None
    return Photo(pixels, alpha, profile, camera())


KINDS = ["RGB", "RGBA", "L", "LA", "L16", "RGB16", "RGBA16", "P3"]


def done(model, given, edits, **settings):
    """The photo of edit_image, which says no more than edit_images does."""
    (edited,) = edit_images(model, [given], edits, **settings)
    if edited.error:
        raise edited.error
    return edited.photo


def same(one, other):
    return (
        np.array_equal(one.pixels, other.pixels)
        and (one.alpha is other.alpha or np.array_equal(one.alpha, other.alpha))
        and one.profile == other.profile
        and tags(one) == tags(other)
    )


def tags(photo):
    """EXIF data, in whatever order of bytes."""
    exif = Image.Exif()
    exif.load(photo.exif)
    return dict(exif)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(97, 131), (33, 200), (7, 5), (1, 1)])
def test_scale_0_is_the_original(painting, paint, kind, size):
    given = photo(kind, *size)
    assert same(done(painting, given, paint @ 0), given)
    assert same(done(painting, given, paint @ 0, region=(0, 0, *size[::-1])), given)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(kind, ".png") for kind in KINDS]
    + [(kind, ".tif") for kind in KINDS if kind not in {"RGB16", "RGBA16"}],
)
def test_scale_0_is_the_original_in_its_file(painting, paint, tmp_path, kind, suffix):
    photo(kind).save(tmp_path / f"a{suffix}")
    (edited,) = edit_images(painting, [tmp_path / f"a{suffix}"], paint @ 0)
    again = Photo.read(edited.save(tmp_path / f"b{suffix}"))
    assert same(again, photo(kind))


def half_mask(given):
    mask = np.zeros((given.height, given.width), np.uint8)
    mask[:, : given.width // 2] = 255
    return mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("detail", ["original", "off"])
@pytest.mark.parametrize("region", [None, (20, 20, 70, 50), "auto"])
def test_black_of_a_mask_is_the_original(painting, paint, kind, detail, region):
    given = photo(kind)
    mask = half_mask(given)
    result = done(painting, given, paint, mask=mask, region=region, detail=detail)
    original = given if result.pixels.shape[2] == given.pixels.shape[2] else given.as_colour()
    assert np.array_equal(result.pixels[mask == 0], original.pixels[mask == 0])
    assert not np.array_equal(result.pixels, original.pixels)
    assert result.pixels.dtype == given.pixels.dtype
    assert result.alpha is given.alpha
    assert result.exif == given.exif


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_file_has_is_kept(painting, paint, kind):
    painting.colour = (0.4, 0.4, 0.4)
    given = photo(kind)
    result = done(painting, given, paint)
    assert same(replace(result, pixels=given.pixels), given)
    assert result.pixels.shape == given.pixels.shape
    assert not np.array_equal(result.pixels, given.pixels)


def test_grey_takes_colour_only_from_an_edit_of_colour(painting, paint):
    for detail in ("original", "off"):
        painting.colour = (0.4, 0.4, 0.4)
        for kind in ("L", "LA", "L16"):
            assert done(painting, photo(kind), paint, detail=detail).pixels.shape[2] == 1
        painting.colour = (0.6, -0.3, -0.3)
        for region in (None, (20, 20, 70, 50)):
            result = done(painting, photo("LA"), paint, detail=detail, region=region)
            assert result.pixels.shape[2] == 3
            assert result.alpha is not None


def test_edit_image_gives_modes_and_info(painting, paint):
    painting.colour = (0.4, 0.4, 0.4)
    for kind, mode in (("RGB", "RGB"), ("RGBA", "RGBA"), ("L", "L"), ("LA", "LA"),
                       ("L16", "I;16"), ("P3", "RGB")):  # fmt: skip
        result = edit_image(painting, photo(kind), paint)
        assert result.mode == mode
        assert result.info["exif"] == camera()
        assert result.info.get("icc_profile") == photo(kind).profile


def test_nothing_outside_the_region_s_context_changes(painting, paint):
    given = photo()
    result = done(painting, given, paint, region=(40, 30, 30, 20))
    changed = (result.pixels != given.pixels).any(axis=2)
    assert changed[30:50, 40:70].any()
    changed[20:60, 25:85] = False
    assert not changed.any()


def test_the_region_is_seen_larger(painting, paint):
    painting.disc = (0.5, 0.5, 0.2)  # of the part, then
    flat = Photo(np.full((400, 400, 3), 120, np.uint8))
    for region, middle in (((300, 300, 40, 40), 320), (None, 200)):
        changed = (done(painting, flat, paint, region=region).pixels != 120).any(axis=2)
        rows = np.flatnonzero(changed.any(axis=1))
        assert abs((rows[0] + rows[-1]) / 2 - middle) <= 2
    for radius, seen in ((0.2, [1]), (0.1, [1, 1])):  # too large for a closer look, and small
        painting.disc = (0.5, 0.5, radius)
        painting.seen.clear()
        done(painting, flat, paint, region="auto")
        assert painting.seen == seen


def test_auto_without_an_effect_is_the_original(painting, paint):
    painting.colour = (0.0, 0.0, 0.0)
    given = photo()
    assert same(done(painting, given, paint, region="auto"), given)
    assert same(done(painting, given, paint @ 0, region="auto"), given)


def test_auto_on_a_change_all_over_is_the_edit_without_a_region(painting, paint):
    painting.disc = (0.5, 0.5, 2.0)
    given = photo()
    assert same(done(painting, given, paint, region="auto"), done(painting, given, paint))


@pytest.mark.parametrize("region", ["face", (1, 2, 3), (0, 0, 0, 9), (0, 0, 132, 9), (9, 90, 9, 9)])
def test_a_region_that_does_not_fit_is_refused(painting, paint, region):
    with pytest.raises(UsageError, match="The region"):
        edit_image(painting, photo(), paint, region=region)


@pytest.mark.parametrize("region", [None, "auto", (0, 0, 20, 20)])
def test_a_mask_that_does_not_fit_is_refused(painting, paint, tmp_path, region):
    for mask, sentence in ((np.zeros((97, 131), np.uint8), "black all over"),
                           (np.full((97, 97), 255, np.uint8), "other proportions")):  # fmt: skip
        with pytest.raises(UsageError, match=sentence):
            edit_image(painting, photo(), paint, mask=mask, region=region)
    with pytest.raises(InputError, match=r"no\.png"):
        edit_image(painting, photo(), paint, mask=tmp_path / "no.png", region=region)
    assert painting.seen == []  # the model has not run


def test_a_mask_that_meets_neither_region_nor_change_leaves_the_original(painting, paint):
    given = photo()
    mask = np.zeros((97, 131), np.uint8)
    mask[80:, 110:] = 255
    assert same(done(painting, given, paint, mask=mask, region=(0, 0, 30, 30)), given)
    assert same(done(painting, given, paint, mask=mask), given)


def test_a_sweep_is_each_scale_by_itself(painting, paint):
    given = photo()
    for settings in ({}, {"region": (20, 20, 70, 50)}, {"mask": half_mask(given)}):
        found = sweep(painting, given, paint, [0, 0.5, 1], **settings)
        alone = [edit_image(painting, given, paint @ s, **settings) for s in (0, 0.5, 1)]
        for one, other in zip(found, alone, strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other))
        assert np.array_equal(np.asarray(found[0]), given.pixels)


@pytest.mark.parametrize("region", [None, "auto", (4, 4, 16, 16)])
def test_a_sweep_of_no_scales_is_no_picture(painting, paint, region):
    assert sweep(painting, photo(), paint, [], region=region) == []


def test_how_a_picture_was_made_names_no_path(painting, paint, tmp_path):
    painting.name = str(tmp_path)
    options = EditOptions(seed=3).resolved(paint @ 0.5)
    note = made_with(painting, paint @ 0.5, options)
    assert note["edits"] == [{"name": "paint", "scale": 0.5}]
    assert note["model"] == tmp_path.name
    assert note["seed"] == 3
    assert str(Path(tmp_path).parent) not in json.dumps(note)
    for settings in ({}, {"region": (20, 20, 30, 30)}, {"mask": half_mask(photo())}):
        result = done(painting, photo(), paint @ 0.5, seed=3, **settings)
        assert result.made == note


def test_the_room_for_rows(painting, paint):
    plain = EditOptions().resolved(paint @ 1.0)
    few = EditOptions(n_avg=100).resolved(paint @ 1.0)
    assert rows_at_once(painting, (64, 64), paint @ 1.0, plain) > 10
    assert rows_at_once(painting, (640, 640), paint @ 1.0, few) == 1
