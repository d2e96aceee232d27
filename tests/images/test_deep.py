from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.images.deep_png import write_deep_png
from pairedit_sdk.images.image import read_image
from pairedit_sdk.images.photo import Photo


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)


def tiff16(pixels: np.ndarray, order: str, packed: bool, extra: int | None = None) -> bytes:
    """A TIFF of one strip with 16 bits a channel."""
    height, width, count = pixels.shape
    strip = pixels.astype(f"{order}u2").tobytes()
    strip = zlib.compress(strip) if packed else strip
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, count, 0),
        (259, 3, 1, 8 if packed else 1), (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, count),
        (278, 4, 1, height), (279, 4, 1, len(strip)),
    ]  # fmt: skip
    tags += [(338, 3, 1, extra)] if extra is not None else []
    strip += bytes(len(strip) % 2)
    depths = struct.pack(f"{order}{count}H", *[16] * count)
    directory = struct.pack(f"{order}H", len(tags))
    for tag, kind, number, value in tags:
        if tag == 258:
            value = 8 + len(strip)
        held = struct.pack(f"{order}I", value)
        if kind == 3 and number == 1:
            held = struct.pack(f"{order}HH", value, 0)
        directory += struct.pack(f"{order}HHI", tag, kind, number) + held
    head = b"II*\0" if order == "<" else b"MM\0*"
    start = struct.pack(f"{order}I", 8 + len(strip) + len(depths))
    return head + start + strip + depths + directory + bytes(4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("clear", [False, True])
def test_a_16_bit_png_comes_back_exactly(tmp_path: Path, channels: int, clear: bool) -> None:
    pixels = values(300, 20, channels)
    alpha = values(300, 20) if clear else None
    photo = Photo(pixels, alpha, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    photo.save(tmp_path / "a.png")
    back = Photo.read(tmp_path / "a.png")
    assert np.array_equal(back.pixels, pixels)
    assert (back.alpha is None) if alpha is None else np.array_equal(back.alpha, alpha)
    assert (back.depth, back.exif) == (16, photo.exif)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("count", "extra"), [(3, None), (4, 2), (4, 0)])
def test_16_bit_tiffs_are_read_exactly(
    tmp_path: Path, order: str, packed: bool, count: int, extra: int | None
) -> None:
    pixels = values(40, 30, count)
    (tmp_path / "a.tif").write_bytes(tiff16(pixels, order, packed, extra))
    photo = Photo.read(tmp_path / "a.tif")
    assert np.array_equal(photo.pixels, pixels[..., :3])
    assert (photo.alpha is not None) == (extra == 2)
    if photo.alpha is not None:
        assert np.array_equal(photo.alpha, pixels[..., 3])
    stream = io.BytesIO((tmp_path / "a.tif").read_bytes())
    assert np.array_equal(Photo.read(stream).pixels, pixels[..., :3])


def test_16_bit_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = values(8, 12, 3)
    with (tmp_path / "a.png").open("wb") as file:
        write_deep_png(file, pixels, exif=exif.tobytes())
    photo = Photo.read(tmp_path / "a.png")
    assert np.array_equal(photo.pixels, np.rot90(pixels, -1))
    assert read_image(tmp_path / "a.png").size == photo.size == (8, 12)


def test_a_transparent_colour_of_16_bit(tmp_path: Path) -> None:
    pixels = values(4, 4, 3)
    with (tmp_path / "a.png").open("wb") as file:
        write_deep_png(file, pixels)
    data = (tmp_path / "a.png").read_bytes()
    said = b"tRNS" + pixels[1, 2].astype(">u2").tobytes()
    chunk = struct.pack(">I", 6) + said + struct.pack(">I", zlib.crc32(said))
    at = data.index(b"IDAT") - 4
    photo = Photo.read(io.BytesIO(data[:at] + chunk + data[at:]))
    assert photo.alpha is not None
    assert np.argwhere(photo.alpha == 0).tolist() == [[1, 2]]
    assert photo.alpha.max() == 65535


def test_16_bit_grey_of_a_tiff_stays(tmp_path: Path) -> None:
    photo = Photo(values(9, 7, 1))
    photo.save(tmp_path / "a.tif")
    assert np.array_equal(Photo.read(tmp_path / "a.tif").pixels, photo.pixels)


@pytest.mark.parametrize("suffix", ["tif", "jpg", "webp", "avif", "bmp"])
def test_other_formats_take_8_bit(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 16 * 16 * 3).round().astype(np.uint16).reshape(16, 16, 3)
    Photo(ramp).save(tmp_path / f"a.{suffix}")
    back = Photo.read(tmp_path / f"a.{suffix}")
    assert back.depth == 8
    assert np.abs(back.pixels.astype(int) - ramp / 257).max() < (0.51 if suffix in "tif bmp" else 6)


def test_16_bit_darks_of_a_linear_picture_are_seen(tmp_path: Path) -> None:
    from tests import colour_profiles as icc

    ramp = np.arange(0, 2048, dtype=np.uint16)[None, :, None].repeat(3, 2).repeat(2, 0)
    seen = np.asarray(Photo(ramp, profile=icc.colour()).seen())[0, :, 0]
    assert len(np.unique(seen)) > 45  # of 8 bit there would be 9
