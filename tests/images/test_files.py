from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.files import FORMATS, picture_path, write_image


@pytest.mark.parametrize("suffix", [*FORMATS, ".PNG", ".JpG"])
def test_format_follows_the_extension(tmp_path: Path, suffix: str) -> None:
    path = write_image(Image.new("RGB", (24, 16), "teal"), tmp_path / "new" / f"a{suffix}")
    with Image.open(path) as image:
        assert (image.format, image.size) == (FORMATS[suffix.lower()], (24, 16))
    assert [p.name for p in path.parent.iterdir()] == [f"a{suffix}"]


def test_png_keeps_every_value(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    path = write_image(Image.fromarray(values), tmp_path / "a")
    assert path == tmp_path / "a.png"
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), values)


@pytest.mark.parametrize("name", ["a.gif", "a.v2", "a.safetensors"])
def test_other_extensions_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"no picture format. Expected one of .png, .jpg"):
        picture_path(name)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a folder. Expected the name of a picture file"):
        picture_path(tmp_path)


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = write_image(Image.new("RGB", (8, 8), "red"), tmp_path / "a.jpg")
    before = path.read_bytes()
    with pytest.raises(OSError, match="RGBA"):
        write_image(Image.new("RGBA", (8, 8)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.jpg"]


def test_heic_is_not_written() -> None:
    with pytest.raises(UsageError, match=r"read and not written.*Say a.png or a.avif"):
        picture_path("a.HEIC")
