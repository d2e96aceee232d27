from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.errors import InputError
from pairedit_sdk.images import opening
from pairedit_sdk.images.image import read_image
from pairedit_sdk.images.opening import is_heic
from pairedit_sdk.images.photo import Photo

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(40)


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(opening, "imported", _missing)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})


def _missing(name: str) -> None:
    raise ImportError(name)


@pytest.mark.usefixtures("without_heif")
@pytest.mark.parametrize(
    ("name", "data"),
    [("a.heic", HEIC), ("a.jpg", HEIC), ("a.HEIF", HEIC.replace(b"heic", b"abcd"))],
)
def test_heic_without_the_extra_names_it(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (read_image, Photo.read):
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        assert str(caught.value).replace(str(tmp_path), "DIR") == (
            f"Picture 'DIR/{name}' is a HEIC picture, which takes the package pillow-heif. "
            "Expected a PNG, JPEG, WebP, AVIF, TIFF or BMP file, or that package. Install it with "
            "`pip install 'pairedit-sdk[heif]'`, or save the picture as JPEG."
        )


def test_heic_is_told_from_avif_by_its_brands() -> None:
    assert is_heic(HEIC)
    assert is_heic(HEIC.replace(b"ftypheic", b"ftypmif1"))
    assert not is_heic(HEIC.replace(b"heic", b"avif"))
    assert not is_heic(HEIC.replace(b"ftypheic", b"ftypavif"))
    assert not is_heic(b"")
    assert not is_heic(b"\xff\xd8\xff\xe0 not at all")


def test_heic_with_the_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    values = np.zeros((48, 64, 3), dtype=np.uint8)
    values[:, :32, 0] = 200
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    heif.from_pillow(Image.fromarray(values)).save(tmp_path / "a.heic", exif=exif.tobytes())
    photo = Photo.read(tmp_path / "a.heic")
    assert photo.size == read_image(tmp_path / "a.heic").size == (48, 64)
    assert np.abs(photo.pixels.astype(int) - np.rot90(values, -1)).mean() < 3
    assert photo.exif is not None
    again = Image.Exif()
    again.load(photo.exif)
    assert (again[0x010F], again.get(0x0112, 1)) == ("Maker", 1)


def test_a_stream_is_read_like_a_file() -> None:
    held = io.BytesIO()
    Image.new("RGB", (6, 4), "teal").save(held, "PNG")
    held.seek(0)
    assert Photo.read(held).size == (6, 4)
    for data, words in ((b"", "is empty"), (b"words", "of 5 bytes in no such format")):
        with pytest.raises(InputError, match=f"The picture from the stream .*{words}"):
            Photo.read(io.BytesIO(data))
    with pytest.raises(InputError, match="'a' is damaged"):
        Photo.read(io.BytesIO(held.getvalue()[:50]), "Picture 'a'")


def test_an_endless_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_STREAM_BYTES", 100)
    with pytest.raises(InputError, match=r"is too long. Expected at most 100 bytes"):
        Photo.read(io.BytesIO(bytes(101)))


def test_a_missing_file_in_a_folder_that_may_not_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(InputError, match=r"does not exist.*Check the path"):
        read_image(tmp_path / "a.png")
