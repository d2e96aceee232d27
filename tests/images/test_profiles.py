from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pairedit_sdk.images.icc import colour_space, kind, srgb
from pairedit_sdk.images.image import read_image
from pairedit_sdk.images.profiles import from_srgb, grey_levels, is_srgb, is_usable, to_srgb
from tests import colour_profiles as icc


def encoded(light: np.ndarray) -> np.ndarray:
    """sRGB's curve, of light in 0 … 1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def test_only_what_a_profile_does_makes_it_srgb() -> None:
    assert is_srgb(srgb())
    assert is_srgb(icc.colour(tone=icc.srgb_curve(), name="Something else"))
    assert not is_srgb(icc.colour(name="GIMP built-in Linear sRGB"))
    assert not is_srgb(icc.colour(icc.P3, icc.srgb_curve(), "sRGB"))
    assert not is_srgb(icc.colour(tone=icc.curve(2.2)))  # near sRGB but for the darkest tones
    assert is_srgb(icc.grey(icc.srgb_curve()))
    assert not is_srgb(icc.grey(icc.curve(1.8), "sRGB"))
    assert not is_srgb(b"no profile at all")


def test_a_linear_profile_that_calls_itself_srgb_is_honoured(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.repeat(values[..., None], 3, axis=2))
    image.save(tmp_path / "a.png", icc_profile=icc.colour(name="GIMP built-in Linear sRGB"))
    right = encoded(values / 255) * 255
    seen = np.asarray(read_image(tmp_path / "a.png"), float)[..., 1]
    assert np.abs(seen - right).max() < 1.5
    assert np.abs(values - right).mean() > 35  # what taking it by its name was off


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_grey_profile_is_honoured(tmp_path: Path, mode: str) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(values).convert(mode if mode != "I;16" else "L")
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    image.save(tmp_path / "a.png", icc_profile=icc.grey())
    seen = np.asarray(read_image(tmp_path / "a.png"), int)
    assert np.abs(seen[..., 0] - encoded(values / 255) * 255).max() <= 0.51
    assert np.array_equal(seen[..., 0], seen[..., 2])


def test_a_palette_and_grey_with_a_profile_of_colour_are_converted(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([128, 128, 128])
    image.save(tmp_path / "p.png", icc_profile=icc.colour())
    Image.new("L", (8, 8), 128).save(tmp_path / "l.jpg", icc_profile=icc.colour())
    for name in ("p.png", "l.jpg"):
        red, green, blue = read_image(tmp_path / name).getpixel((0, 0))  # type: ignore[misc]
        assert max(abs(v - 188) for v in (red, green, blue)) <= 1


def test_a_transparent_colour_is_found_before_colours_change(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (128, 128, 128))
    image.putpixel((0, 0), (10, 20, 30))
    image.save(tmp_path / "a.png", icc_profile=icc.colour(), transparency=(10, 20, 30))
    seen = read_image(tmp_path / "a.png")
    assert seen.getpixel((0, 0)) == (255, 255, 255)
    assert abs(seen.getpixel((1, 0))[0] - 188) <= 1  # type: ignore[index]


def test_curves_and_matrix_agree_with_littlecms() -> None:
    profile = icc.colour(icc.P3, icc.curve(2.2))
    colours = np.random.default_rng(0).integers(0, 256, (1, 500, 3), dtype=np.uint8)
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGB", "RGB"
    )
    expected = np.asarray(transform.apply(Image.fromarray(colours)), float)[0]
    found = from_srgb(colours[0] / 255, profile, grey=False) * 255
    off = np.abs(found - expected)
    assert off.mean() < 0.3  # half of it is littlecms' rounding
    assert off.max() < 3  # in the darkest colours, where it counts in 8 bit
    space = colour_space(profile)
    assert space is not None
    back = space.values(space.light(found / 255)) * 255
    assert np.abs(back - found).max() < 0.01


def test_curves_of_a_table_and_of_the_other_forms() -> None:
    table = b"curv\0\0\0\0" + (3).to_bytes(4, "big") + b"\0\0\x40\0\xff\xff"
    space = colour_space(icc.grey(table))
    assert space is not None
    assert space.light(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 0.25, 1], abs=1e-4)
    forms = {
        0: ((2.0,), 0.25),
        1: ((2.0, 1.0, 0.0), 0.25),
        2: ((2.0, 0.5, 0.0, 0.5), 0.5625),
        4: ((2.0, 0.5, 0.0, 1.0, 0.6, 0.5, 0.0), 0.5),
    }
    for form, (values, half) in forms.items():
        tone = b"para\0\0\0\0" + form.to_bytes(2, "big") + b"\0\0" + icc.numbers(values)
        space = colour_space(icc.grey(tone))
        assert space is not None
        assert float(space.light(np.array(0.5))) == pytest.approx(half, abs=1e-4)


def test_damaged_profiles_say_nothing() -> None:
    whole = icc.colour()
    image = Image.new("RGB", (2, 2), (128, 128, 128))
    for data in (b"", b"no profile", whole[:200], whole[:140] + bytes(300)):
        assert colour_space(data) is None
        assert grey_levels(data) is None
        assert not is_usable(data)
        assert to_srgb(image, data) is image
    assert kind(b"no profile") == ""
    flat = b"curv\0\0\0\0" + (2).to_bytes(4, "big") + b"\x10\0\x10\0"
    assert colour_space(icc.grey(flat)) is None


def test_a_profile_of_another_kind_of_picture_is_left_alone() -> None:
    image = Image.new("RGB", (2, 2), (128, 128, 128))
    assert to_srgb(image, icc.grey()) is image


def test_grey_of_a_colour_is_its_luminance() -> None:
    colours = np.array([[1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [0.0, 1.0, 0.0]])
    grey = from_srgb(colours, None, grey=True)
    assert grey.shape == (3, 1)
    assert grey[:, 0] == pytest.approx([1, 0.5, float(encoded(np.array(0.7169)))], abs=1e-3)
    linear = from_srgb(colours, icc.grey(), grey=True)
    assert linear[:, 0] == pytest.approx([1, 0.2140, 0.7169], abs=1e-3)
