from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.metadata import cleaned_exif, made_text, read_made, xmp_packet

MADE = {"edits": [{"name": "glasses <&> é", "scale": 0.8}], "model": "mini", "seed": 3}


def camera(order: str, *, behind: bytes = b"") -> tuple[bytes, bytes]:
    """EXIF data of a camera, and the thumbnail in them: orientation 6, a maker's note, a size."""
    thumbnail = b"\xff\xd8a small picture\xff\xd9"
    note = b"maker's own"

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        held = struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
        return struct.pack(f"{order}HHI", tag, kind, count) + held

    first, inner = 8, 8 + 2 + 2 * 12 + 4
    second = inner + 2 + 3 * 12 + 4
    end = second + 2 + 2 * 12 + 4
    data = b"II*\0" if order == "<" else b"MM\0*"
    data += struct.pack(f"{order}I", first)
    data += struct.pack(f"{order}H", 2) + entry(0x0112, 3, 1, 6) + entry(0x8769, 4, 1, inner)
    data += struct.pack(f"{order}I", second)
    data += struct.pack(f"{order}H", 3) + entry(0x927C, 7, len(note), end)
    data += entry(0xA002, 3, 1, 512) + entry(0xA003, 4, 1, 384) + bytes(4)
    data += struct.pack(f"{order}H", 2) + entry(0x0201, 4, 1, end + len(note))
    data += entry(0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return b"Exif\0\0" + data + note + thumbnail + behind, thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("behind", [b"", b"something behind"])
def test_orientation_and_thumbnail_go_and_the_rest_stays(order: str, behind: bytes) -> None:
    data, thumbnail = camera(order, behind=behind)
    cleaned = cleaned_exif(data, (384, 512))
    assert cleaned is not None
    assert thumbnail not in cleaned
    assert cleaned.endswith(behind or b"maker's own")
    exif = Image.Exif()
    exif.load(cleaned)
    assert exif[0x0112] == 1
    inner = exif.get_ifd(0x8769)
    assert (inner[0x927C], inner[0xA002], inner[0xA003]) == (b"maker's own", 384, 512)
    assert not exif.get_ifd(0x0201)
    assert cleaned_exif(cleaned, (384, 512)) == cleaned
    assert cleaned_exif(data[6:]) == cleaned_exif(data)


def test_damaged_exif_is_left_out() -> None:
    data, _ = camera("<")
    for cut in (b"", b"Exif\0\0", b"Exif\0\0no tiff in here", data[:20], data[:50]):
        assert cleaned_exif(cut) is None
    circle = bytearray(data)
    struct.pack_into("<I", circle, 6 + 8 + 2 + 24, 8)  # the second directory is the first one
    assert cleaned_exif(bytes(circle)) is not None


@pytest.mark.parametrize("suffix", ["tif", "avif"])
def test_exif_that_pillow_cannot_write_anew_is_left_out(tmp_path: Path, suffix: str) -> None:
    from pairedit_sdk.images.photo import Photo

    data = bytearray(cleaned_exif(camera("<")[0]) or b"")
    struct.pack_into("<HHII", data, 6 + 8 + 2, 0x0112, 5, 2**31, 2**31)
    photo = Photo(Photo.of(Image.new("RGB", (8, 8))).pixels, exif=bytes(data))
    photo.save(tmp_path / f"a.{suffix}")
    assert Photo.read(tmp_path / f"a.{suffix}").size == (8, 8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif"])
def test_what_was_made_is_read_back(tmp_path: Path, suffix: str) -> None:
    from pairedit_sdk.images.photo import Photo

    photo = Photo.of(Image.new("RGB", (16, 16)))
    photo = Photo(photo.pixels, made=MADE)
    path = tmp_path / f"a.{suffix}"
    photo.save(path)
    assert read_made(path) == MADE
    assert read_made(io.BytesIO(path.read_bytes())) == MADE
    photo.save(path, metadata=False)
    assert read_made(path) is None
    assert b"glasses" not in path.read_bytes()


def test_others_pictures_say_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert read_made(tmp_path / "a.png") is None
    for text in ("no json", "[1]", "[" * 100_000):
        image = Image.new("RGB", (4, 4))
        image.save(tmp_path / "a.jpg", xmp=xmp_packet(text)[:60_000])
        assert read_made(tmp_path / "a.jpg") is None
    with pytest.raises(InputError, match="does not exist"):
        read_made(tmp_path / "b.png")


def test_no_folder_goes_into_a_picture() -> None:
    made = {"model": "/home/anna/models/mini", "edits": ["C:\\Users\\anna\\hat", "~/hat", "../hat"]}
    assert made_text(made) == '{"model": "mini", "edits": ["hat", "hat", "hat"]}'
    hub = {"model": "black-forest-labs/FLUX.1-dev"}
    assert made_text(hub) == '{"model": "black-forest-labs/FLUX.1-dev"}'


@pytest.mark.parametrize("value", [Path("a"), b"bytes", math.nan, {1: 2}, {"a": [object()]}])
def test_only_plain_values_go_into_a_picture(value: Any) -> None:
    with pytest.raises(UsageError, match=r"how it was made, pairedit.x.*Expected texts"):
        made_text({"x": value})
