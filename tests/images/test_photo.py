from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.image import read_image, resized, to_tensor
from pairedit_sdk.images.photo import Photo
from tests import colour_profiles as icc

FORMATS = ["png", "jpg", "webp", "avif", "tif", "bmp"]


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def soft(channels: int) -> np.ndarray:
    """A gradient, which lossy formats hold well."""
    ramp = np.linspace(40, 200, 32).round().astype(np.uint8)
    return np.repeat(np.add.outer(ramp // 2, ramp // 2)[..., None], channels, axis=2)


def camera() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x0131] = "Maker", 6, "Software"
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("clear", [False, True])
def test_a_photo_comes_back(tmp_path: Path, suffix: str, channels: int, clear: bool) -> None:
    pixels = soft(channels)
    alpha = np.full((32, 32), 255, dtype=np.uint8) if clear else None
    if alpha is not None:
        alpha[:8] = 0
    path = Photo(pixels, alpha).save(tmp_path / f"a.{suffix}")
    assert path is not None
    back = Photo.read(path)
    kept = 3 if suffix == "webp" or (suffix == "avif" and clear) else channels
    assert back.pixels.shape == (32, 32, kept)
    if alpha is not None and suffix in {"jpg", "bmp"}:
        assert back.alpha is None
        assert back.pixels[:7].min() > 250
    elif alpha is not None:
        assert back.alpha is not None
        assert np.array_equal(back.alpha, alpha)
    else:
        assert back.alpha is None
    off = np.abs(back.pixels[16:].astype(int) - pixels[16:])
    assert off.max() <= (0 if suffix in {"png", "tif", "bmp"} else 6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif"])
def test_profile_and_exif_come_back(tmp_path: Path, suffix: str) -> None:
    profile = icc.colour(icc.P3, icc.curve(2.2), "P3")
    source = tmp_path / "camera.jpg"
    Image.fromarray(soft(3)[:, :20]).save(source, exif=camera(), icc_profile=profile)
    photo = Photo.read(source)
    assert photo.size == (32, 20)  # turned
    photo.save(tmp_path / f"a.{suffix}")
    back = Photo.read(tmp_path / f"a.{suffix}")
    assert back.profile == profile
    assert (back.size, photo.exif is None, back.exif is None) == ((32, 20), False, False)
    if suffix in {"png", "jpg", "webp"}:
        assert back.exif == photo.exif
    exif = Image.Exif()
    exif.load(back.exif or b"")
    assert (exif[0x010F], exif[0x0131], exif.get(0x0112, 1)) == ("Maker", "Software", 1)
    assert exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("suffix", ["png", "jpg", "avif", "tif"])
def test_a_profile_of_grey_comes_back(tmp_path: Path, suffix: str) -> None:
    Photo(soft(1), profile=icc.grey()).save(tmp_path / f"a.{suffix}")
    back = Photo.read(tmp_path / f"a.{suffix}")
    assert (back.profile, back.pixels.shape[2]) == (icc.grey(), 1)


@pytest.mark.parametrize(("suffix", "clear"), [("webp", False), ("bmp", False), ("avif", True)])
def test_where_no_profile_can_stay_the_colours_become_srgb(
    tmp_path: Path, suffix: str, clear: bool
) -> None:
    alpha = np.full((32, 32), 255, dtype=np.uint8) if clear else None
    photo = Photo(soft(1), alpha, profile=icc.grey())
    photo.save(tmp_path / f"a.{suffix}")
    seen = np.asarray(read_image(tmp_path / f"a.{suffix}"), int)
    assert np.abs(seen - np.asarray(photo.seen(), int)).max() <= 4


PROFILES = [
    None,
    icc.colour(icc.P3, icc.curve(2.2)),
    icc.colour(name="Linear sRGB"),
    icc.grey(icc.curve(1.8)),
]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_model_sees_what_read_image_gives(
    tmp_path: Path, mode: str, profile: bytes | None
) -> None:
    image = Image.fromarray(values(300, 40, 4)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path, icc_profile=profile, exif=camera())
    photo = Photo.read(path)
    whole = read_image(path)
    assert photo.seen().tobytes() == whole.tobytes()
    for size in ((96, 16), (400, 64)):
        assert photo.seen(size).tobytes() == resized(whole, size).tobytes()


def test_parts_of_the_files_stay_as_they_are(tmp_path: Path) -> None:
    pixels = values(6, 5, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=PROFILES[1])
    photo = Photo.read(tmp_path / "a.png")
    assert photo.alpha is not None
    assert np.array_equal(photo.pixels, pixels[..., :3])
    assert np.array_equal(photo.alpha, pixels[..., 3])
    assert (photo.size, photo.height, photo.width, photo.depth) == ((5, 6), 6, 5, 8)


def test_a_damaged_or_foreign_profile_is_dropped(tmp_path: Path) -> None:
    for profile in (b"no profile at all", icc.grey()):
        Image.fromarray(values(4, 4, 3)).save(tmp_path / "a.png", icc_profile=profile)
        assert Photo.read(tmp_path / "a.png").profile is None
    # Grey in the greys of a colour profile is as sRGB has it.
    Image.new("L", (4, 4), 128).save(tmp_path / "a.jpg", icc_profile=icc.colour())
    photo = Photo.read(tmp_path / "a.jpg")
    assert photo.profile is None
    assert np.abs(photo.pixels.astype(int) - 188).max() <= 1


def test_own_colours_of_srgb_are_the_same() -> None:
    images = torch.rand(2, 3, 5, 4) * 2 - 1
    assert torch.equal(Photo(values(5, 4, 3)).in_own_colours(images), images)
    clipped = Photo(values(5, 4, 3)).in_own_colours(images * 3)
    assert float(clipped.abs().max()) == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("profile", PROFILES)
def test_own_colours_undo_what_a_model_sees(channels: int, profile: bytes | None) -> None:
    if profile and (channels == 1) != (b"GRAY" in profile[:30]):
        return
    photo = Photo(soft(channels), profile=profile)
    back = photo.in_own_colours(to_tensor(photo.seen()).repeat(2, 1, 1, 1))
    assert (back.shape, back.dtype) == ((2, channels, 32, 32), torch.float32)
    off = (back - photo.rows(0, 32)).abs().max() * 127.5
    assert float(off) < 2  # a step of 8 bit in sRGB is up to two of another curve


def test_rows_are_the_pixels() -> None:
    photo = Photo(np.array([[[0], [255]], [[51], [102]]], dtype=np.uint8))
    assert photo.rows(1, 2).tolist() == [[[pytest.approx(-0.6), pytest.approx(-0.2)]]]
    deep = Photo(np.array([[[0, 65535, 13107]]], dtype=np.uint16))
    assert deep.rows(0, 1).flatten().tolist() == [-1, 1, pytest.approx(-0.6)]


def test_grey_as_colour_looks_the_same() -> None:
    for profile in (None, icc.grey()):
        for pixels in (soft(1), soft(1).astype(np.uint16) * 257):
            grey = Photo(pixels, profile=profile)
            colour = grey.as_colour()
            assert (colour.pixels.shape, colour.profile) == ((32, 32, 3), None)
            assert colour.pixels.dtype == pixels.dtype
            off = np.asarray(colour.seen(), int) - np.asarray(grey.seen(), int)
            assert np.abs(off).max() <= 1
    photo = Photo(soft(3))
    assert photo.as_colour() is photo


def test_new_pixels_keep_the_rest() -> None:
    photo = Photo(soft(3), values(32, 32), icc.colour(), camera())
    changed = photo.with_pixels(photo.pixels[::-1].copy())
    assert changed.profile == photo.profile
    assert changed.alpha is photo.alpha
    with pytest.raises(UsageError, match=r"Expected uint8 \[32, 32, 3\]. Got uint8 \[32, 32, 1\]"):
        photo.with_pixels(soft(1))


def test_as_a_picture_of_pillow() -> None:
    modes = {(1, False): "L", (1, True): "LA", (3, False): "RGB", (3, True): "RGBA"}
    for (channels, clear), mode in modes.items():
        photo = Photo(soft(channels), values(32, 32) if clear else None, exif=camera())
        image = photo.image
        assert (image.mode, image.info["exif"]) == (mode, camera())
        deep = replace(photo, pixels=photo.pixels.astype(np.uint16) * 257)
        if clear:
            deep = replace(deep, alpha=values(32, 32).astype(np.uint16) * 257)
        wanted = "I;16" if mode == "L" else mode
        assert deep.image.mode == wanted
        if wanted == mode:
            assert deep.image.tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F", "YCbCr"])
def test_a_picture_of_pillow_as_a_photo(mode: str) -> None:
    image = Image.new(mode, (5, 4))
    image.info["exif"] = camera()
    photo = Photo.of(image)
    assert photo.size == (4, 5)  # turned
    assert photo.pixels.shape[2] == (1 if mode in {"1", "L", "LA", "I;16", "F"} else 3)
    assert (photo.alpha is not None) == (mode in {"LA", "RGBA"})
    assert photo.depth == (16 if mode in {"I;16", "F"} else 8)


def test_arrays_as_a_photo() -> None:
    assert Photo.of(values(4, 5)).pixels.shape == (4, 5, 1)
    clear = Photo.of(values(4, 5, 4))
    assert clear.alpha is not None
    assert (clear.pixels.shape, clear.alpha.shape) == ((4, 5, 3), (4, 5))
    unit = Photo.of(np.array([[0, 0.5, 1]], dtype=np.float32))
    assert unit.pixels[..., 0].tolist() == [[0, 32768, 65535]]
    swapped = np.array([[1, 256]], dtype=">u2")
    assert Photo.of(swapped).pixels.dtype == np.dtype(np.uint16)
    assert Photo.of(swapped).pixels[..., 0].tolist() == [[1, 256]]


@pytest.mark.parametrize(
    "wrong",
    ["a.png", None, np.zeros(3, np.uint8), np.zeros((2, 2, 2), np.uint8), np.zeros((0, 3, 3)),
     np.zeros((2, 2), np.int64), np.full((2, 2), 1.5), np.full((2, 2), np.nan)],
)  # fmt: skip
def test_what_is_no_picture_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"^Mask"):
        Photo.of(wrong, "Mask")


def test_a_damaged_picture_of_pillow_is_refused() -> None:
    held = io.BytesIO()
    Image.fromarray(values(200, 200, 3)).save(held, "PNG")
    with (
        Image.open(io.BytesIO(held.getvalue()[:5000])) as image,
        pytest.raises(InputError, match="Mask is damaged"),
    ):
        Photo.of(image, "Mask")


class Pipe(io.RawIOBase):
    """Takes bytes, and can neither be read nor sought in."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.taken += bytes(data)
        return len(data)


@pytest.mark.parametrize("suffix", [None, *FORMATS])
def test_into_a_pipe(suffix: str | None) -> None:
    pipe = Pipe()
    assert Photo(soft(3)).save(pipe, suffix) is None  # type: ignore[arg-type]
    with Image.open(io.BytesIO(pipe.taken)) as image:
        wanted = {None: "PNG", "jpg": "JPEG", "tif": "TIFF"}.get(suffix, str(suffix).upper())
        assert (image.format, image.size) == (wanted, (32, 32))


def test_refused_formats_and_sizes(tmp_path: Path) -> None:
    photo = Photo(soft(3))
    with pytest.raises(UsageError, match=r"Got 'gif'"):
        photo.save(io.BytesIO(), "gif")
    with pytest.raises(UsageError, match="HEIC is read and not written: say png or avif"):
        photo.save(io.BytesIO(), ".heic")
    wide = Photo(np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(UsageError, match=r"too large for WEBP. Expected sides of at most 16383"):
        wide.save(tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []
    assert photo.save(tmp_path / "a.out", "jpg") == tmp_path / "a.out"


def test_more_exif_than_a_jpeg_holds_is_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    photo = Photo(soft(3), exif=exif.tobytes())
    photo.save(tmp_path / "a.jpg")
    photo.save(tmp_path / "a.png")
    assert Photo.read(tmp_path / "a.jpg").exif is None
    assert Photo.read(tmp_path / "a.png").exif == photo.exif


def test_a_tiff_has_the_photos_size_whatever_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0100], exif[0x0101], exif[0x010F] = 4000, 3000, "Maker"
    Photo(soft(3), exif=exif.tobytes()).save(tmp_path / "a.tif")
    assert Photo.read(tmp_path / "a.tif").size == (32, 32)
