"""Pairs that people hand in: whole or not at all, byte for byte, named by what is in them."""

import io

import pytest
from PIL import Image

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.studio.kept_pairs import keep_pairs


def _bytes(kind, colour="orange", mode="RGB"):
    held = io.BytesIO()
    Image.new(mode, (24, 16), colour).save(held, kind)
    return held.getvalue()


def _file(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def test_files_are_kept_byte_for_byte(tmp_path):
    before, after = _bytes("PNG"), _bytes("JPEG", "blue")
    uploaded = _file(tmp_path, "upload.tmp", before), str(_file(tmp_path, "b.png", after))
    folder = keep_pairs(tmp_path / "kept", [uploaded, (_bytes("WEBP"), _bytes("TIFF"))])
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    assert sorted(found) == ["source/1.png", "source/2.webp", "target/1.jpg", "target/2.tif"]
    assert found["source/1.png"].read_bytes() == before
    assert found["target/1.jpg"].read_bytes() == after
    assert [pair.name for pair in PairSet.from_folder(folder)] == ["1", "2"]


def test_photos_in_memory_keep_their_pixels(tmp_path):
    photos = [Photo.of(Image.new("RGB", (24, 16), colour)) for colour in ("red", "green")]
    folder = keep_pairs(tmp_path / "kept", [tuple(photos)])
    with Image.open(folder / "target" / "1.png") as image:
        assert image.getpixel((0, 0)) == (0, 128, 0)


def test_pairs_of_that_name_are_replaced(tmp_path):
    for colours in (("red", "green"), ("blue", "white")):
        pairs = [tuple(_bytes("PNG", colour) for colour in colours)]
        folder = keep_pairs(tmp_path / "kept", pairs * (2 if colours[0] == "red" else 1))
    assert (folder / "source" / "1.png").read_bytes() == _bytes("PNG", "blue")
    assert not (folder / "source" / "2.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_is_no_picture_is_refused_and_nothing_is_written(tmp_path):
    junk = _file(tmp_path, "me.png", b"<svg onload=alert(1)>")
    good = _bytes("PNG")
    keep_pairs(tmp_path / "kept", [(good, good)])
    with pytest.raises(InputError) as caught:
        keep_pairs(tmp_path / "kept", [(_bytes("PNG", "red"), good), (good, junk)])
    assert str(caught.value).startswith(
        "The after picture of pair 2 ('me.png') is not a picture that can be read. Expected a PNG"
    )
    assert (tmp_path / "kept" / "source" / "1.png").read_bytes() == good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "me.png"]


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (b"", "The before picture of pair 1 is empty"),
        (_bytes("PNG")[:60], "The before picture of pair 1 is damaged or cut short"),
        ("gone.png", "The before picture of pair 1 ('gone.png') does not exist"),
    ],
)
def test_the_picture_is_named(tmp_path, picture, said):
    with pytest.raises(InputError, match=f"^{said}".replace("(", r"\(").replace(")", r"\)")):
        keep_pairs(tmp_path / "kept", [(picture, _bytes("PNG"))])
    assert list(tmp_path.iterdir()) == []


def test_no_pairs(tmp_path):
    with pytest.raises(UsageError, match="There are no pairs to train on"):
        keep_pairs(tmp_path / "kept", [])
