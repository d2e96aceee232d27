from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.errors import EditError, InputError, UsageError
from pairedit_sdk.images.image import as_rgb, fit_size, read_image, to_image, to_tensor

RED = (255, 0, 0)


def noise(width: int = 20, height: int = 12) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def said(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    return str(caught.value).replace(str(path.parent), "DIR")


def test_rgb_comes_back_as_saved(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.mode == "RGB"
    assert image.tobytes() == noise().tobytes()
    assert read_image(str(tmp_path / "a.png")).size == (20, 12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = noise().transpose(undo[orientation]) if orientation in undo else noise()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png").tobytes() == noise().tobytes()


def _profile(primaries: dict[str, tuple[float, float, float]]) -> bytes:
    """A small RGB colour profile (ICC version 2, D50) with these primaries and no gamma."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Test\0" + bytes(8 + 3 + 67)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz((0.9642, 1.0, 0.8249))}
    for name in "rgb":
        tags[name.encode() + b"XYZ"] = xyz(primaries[name])
        tags[name.encode() + b"TRC"] = b"curv" + bytes(8)
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    head = struct.pack(">I", size) + b"lcms\x02\x10\0\0mntrRGB XYZ " + bytes(12) + b"acsp"
    head += bytes(28) + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1, 0.8249))
    return head.ljust(128, b"\0") + table + body


#: sRGB's primaries, adapted to D50.
_SRGB = {
    "r": (0.4361, 0.2225, 0.0139),
    "g": (0.3851, 0.7169, 0.0971),
    "b": (0.1431, 0.0606, 0.7141),
}


def test_colours_are_converted_from_the_profile_in_the_file(tmp_path: Path) -> None:
    swapped = {"r": _SRGB["g"], "g": _SRGB["r"], "b": _SRGB["b"]}
    for mode, alpha in (("RGB", ()), ("RGBA", (255,))):
        image = Image.new(mode, (4, 4), (255, 0, 0, *alpha))
        image.save(tmp_path / "a.png", icc_profile=_profile(swapped))
        red, green, blue = np.asarray(read_image(tmp_path / "a.png"))[0, 0]
        assert green > 250
        assert max(red, blue) < 8
    Image.new("RGB", (4, 4), (128, 128, 128)).save(
        tmp_path / "linear.png", icc_profile=_profile(_SRGB)
    )
    # A linear half is 188 of 255 in sRGB.
    assert np.abs(np.asarray(read_image(tmp_path / "linear.png"), int) - 188).max() <= 1


def test_an_srgb_or_damaged_profile_changes_nothing(tmp_path: Path) -> None:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all"):
        noise().save(tmp_path / "a.png", icc_profile=profile)
        assert read_image(tmp_path / "a.png").tobytes() == noise().tobytes()


def test_damaged_exif_does_not_spoil_the_picture(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00no tiff in here")
    assert read_image(tmp_path / "a.jpg").size == (20, 12)


@pytest.mark.parametrize(
    ("mode", "clear", "black"),
    [("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), ("LA", (0, 0), (0, 255)), ("PA", (0, 0), (0, 255))],
)
def test_alpha_is_laid_on_white(mode: str, clear: tuple[int], black: tuple[int]) -> None:
    image = Image.new(mode, (2, 1), clear)
    if mode == "PA":
        image.putpalette([0, 0, 0] * 256)
    image.putpixel((1, 0), black)
    flat = as_rgb(image)
    assert [flat.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


def test_half_transparent_red_is_pink() -> None:
    assert as_rgb(Image.new("RGBA", (1, 1), (*RED, 128))).getpixel((0, 0)) == (255, 127, 127)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png")
    image.save(tmp_path / "t.png", transparency=1)
    assert read_image(tmp_path / "p.png").getpixel((1, 0)) == (0, 0, 255)
    assert read_image(tmp_path / "t.png").getpixel((1, 0)) == (255, 255, 255)
    assert read_image(tmp_path / "t.png").getpixel((0, 0)) == RED


def test_transparent_colour_of_an_rgb_file(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png", transparency=RED)
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        image = read_image(tmp_path / name)
        assert [image.getpixel((x, 0)) for x in range(4)] == [(v,) * 3 for v in (0, 1, 128, 255)]


def test_float_and_whole_values(tmp_path: Path) -> None:
    unit = Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32))
    assert np.asarray(as_rgb(unit))[0, :, 0].tolist() == [0, 128, 255]
    deep = Image.fromarray(np.array([[0, 65535]], dtype=np.int32))
    assert np.asarray(as_rgb(deep))[0, :, 1].tolist() == [0, 255]
    Image.fromarray(np.array([[-3, 7]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert said(tmp_path / "a.tif") == (
        "Picture 'DIR/a.tif' has values of an unknown range. Expected floating-point values from 0 "
        "to 1. Got -3 to 7. Save it as an 8-bit or 16-bit PNG."
    )


@pytest.mark.parametrize(
    ("mode", "fill"), [("1", 1), ("L", 255), ("CMYK", 0), ("YCbCr", (255, 128, 128))]
)
def test_other_modes_become_rgb(mode: str, fill: object) -> None:
    image = as_rgb(Image.new(mode, (3, 2), fill))  # type: ignore[arg-type]
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (3, 2), (255, 255, 255))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = np.asarray(read_image(tmp_path / "a.jpg"))[4, 4].tolist()
    assert red > 240
    assert max(green, blue) < 15


def test_the_picture_given_is_not_changed() -> None:
    image = noise()
    out = as_rgb(image)
    out.putpixel((0, 0), (1, 2, 3))
    assert image.tobytes() == noise().tobytes()


def test_a_still_gif_is_read_and_an_animated_one_refused(tmp_path: Path) -> None:
    frames = [Image.new("P", (4, 4), k) for k in range(3)]
    for k, frame in enumerate(frames):
        frame.putpalette([*RED, 0, 255, 0, 0, 0, k])
    frames[0].save(tmp_path / "still.gif")
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "still.gif").getpixel((0, 0)) == RED
    assert said(tmp_path / "a.gif") == (
        "Picture 'DIR/a.gif' holds more than one picture. Expected one still picture. Got 3 frames "
        "(GIF). Save the frame that you mean as a PNG or JPEG file."
    )


def test_a_phone_picture_with_a_preview_is_read(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[noise(5, 3)])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    assert read_image(tmp_path / "a.jpg").size == (20, 12)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(20000, 5001, "20000 x 5001, 101 megapixels"), (50000, 50000, "2500 megapixels")],
)
def test_a_bomb_is_refused_before_decoding(
    tmp_path: Path, width: int, height: int, size: str
) -> None:
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(png_header(width, height))
    assert said(tmp_path / "a.png").startswith(
        f"Picture 'DIR/a.png' is too large. Expected at most 100 megapixels. Got {size}."
    )
    assert before == Image.MAX_IMAGE_PIXELS


def test_just_below_the_limit_is_not_called_a_bomb(tmp_path: Path) -> None:
    # Pillow would warn, and warnings are errors here.
    (tmp_path / "a.png").write_bytes(png_header(10000, 9999))
    assert "is damaged or cut short" in said(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_truncated(tmp_path: Path, name: str) -> None:
    noise(200, 200).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert f"Picture 'DIR/{name}' is " in said(tmp_path / name)


def test_sentences(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    noise().save(tmp_path / "portrait.png")
    assert said(tmp_path / "text.png") == (
        "Picture 'DIR/text.png' is not a picture that can be read. Expected a PNG, JPEG, WebP, "
        "AVIF, TIFF or BMP file. Got a file of 13 bytes in no such format, whatever its name says. "
        "Save it again as PNG or JPEG in an image program, or take it out."
    )
    assert said(tmp_path / "empty.png") == (
        "Picture 'DIR/empty.png' is empty. Expected a picture. Got 0 bytes. Copy or export it "
        "again, or take it out."
    )
    assert said(tmp_path / "folder.png") == (
        "Picture 'DIR/folder.png' is a folder. Expected a picture file. Name a file in it."
    )
    assert said(tmp_path / "potrait.png").startswith(
        "Picture 'DIR/potrait.png' does not exist. Expected a picture file. Got nothing of that "
        "name. Did you mean portrait.png"
    )
    assert "no folder" in said(tmp_path / "nowhere" / "a.png")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert said(tmp_path / "a.png").startswith("Picture 'DIR/a.png' is not an ordinary file.")


def test_unreadable(
    tmp_path: Path, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    noise().save(tmp_path / "a.png")
    with refused(tmp_path / "a.png"):
        assert "cannot be opened" in said(tmp_path / "a.png")


def test_a_damaged_picture_in_memory() -> None:
    data = io.BytesIO()
    noise(200, 200).save(data, "PNG")
    with (
        Image.open(io.BytesIO(data.getvalue()[:5000])) as image,
        pytest.raises(InputError, match="The before picture of 'x' is damaged or cut short"),
    ):
        as_rgb(image, "The before picture of 'x'")


@pytest.mark.parametrize("multiple", [8, 16])
@pytest.mark.parametrize(
    ("width", "height"),
    [(512, 512), (4000, 3000), (3000, 4000), (33, 57), (128, 128), (1920, 1080), (7, 5)],
)
def test_fit_size_keeps_aspect_and_area(width: int, height: int, multiple: int) -> None:
    w, h = fit_size(width, height, 512, multiple)
    assert w % multiple == h % multiple == 0
    assert w * h == pytest.approx(512**2, rel=0.04)
    assert w / h == pytest.approx(width / height, rel=0.03)


def test_fit_size_is_exact_where_it_can_be_and_never_zero() -> None:
    assert fit_size(128, 128, 128, 16) == (128, 128)
    assert fit_size(64, 64, 128, 16) == (128, 128)
    assert fit_size(2048, 512, 128, 16) == (256, 64)
    assert fit_size(10000, 10, 128, 16)[1] == 16
    assert fit_size(10, 10000, 128, 16)[0] == 16
    assert fit_size(3, 3, 8, 16) == (16, 16)


def test_fit_size_turns_with_the_picture() -> None:
    for width in range(50, 400, 17):
        assert fit_size(width, 100, 256, 16) == fit_size(100, width, 256, 16)[::-1]


def test_fit_size_refuses_nonsense() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        fit_size(0, 10, 128, 16)


def test_tensor_values_and_round_trip() -> None:
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    image.putpixel((0, 0), (0, 255, 0))
    tensor = to_tensor(image.crop((0, 0, 16, 8)))
    assert (tensor.shape, tensor.dtype) == ((1, 3, 8, 16), torch.float32)
    assert tensor[0, :, 0, 0].tolist() == [-1, 1, -1]
    assert to_image(to_tensor(image)).tobytes() == image.tobytes()
    assert to_image(to_tensor(image)[0].bfloat16()).size == (16, 16)


def test_to_image_clips_and_refuses() -> None:
    tensor = torch.tensor([-5.0, 0.0, 5.0]).view(3, 1, 1)
    assert to_image(tensor).getpixel((0, 0)) == (0, 128, 255)
    with pytest.raises(UsageError, match=r"Got \[2, 3, 4, 4\]"):
        to_image(torch.zeros(2, 3, 4, 4))
    with pytest.raises(EditError, match="1 of 3 are not"):
        to_image(torch.tensor([0.0, float("nan"), 0.0]).view(3, 1, 1))


def test_a_program_is_not_handed_to_another_one(tmp_path: Path) -> None:
    """Pillow knows formats that it leaves to programs, whatever the file is called."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    assert "is not a picture that can be read" in said(tmp_path / "a.png")


def test_links_and_names_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "gone.png").symlink_to("nothing")
    for name in ("loop", "gone"):
        assert said(tmp_path / f"{name}.png") == (
            f"Picture 'DIR/{name}.png' is a link that leads nowhere, or in a circle. Expected a "
            "picture file. Put the picture itself there."
        )
    assert "cannot be opened" in said(tmp_path / f"{'n' * 300}.png")


def test_a_large_picture_is_flattened_band_by_band(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (700, 9, 4), dtype=np.uint8)
    image = Image.fromarray(values)
    white = Image.new("RGBA", image.size, "white")
    assert as_rgb(image).tobytes() == Image.alpha_composite(white, image).convert("RGB").tobytes()
    deep = np.random.default_rng(0).integers(0, 65536, (700, 9), dtype=np.uint16)
    expected = (deep * (255 / 65535)).round().astype(np.uint8)
    assert np.array_equal(np.asarray(as_rgb(Image.fromarray(deep)))[..., 1], expected)


def test_running_out_of_memory_is_not_called_a_damaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise().save(tmp_path / "a.png")

    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "has_transparency_data", property(no_memory))
    with pytest.raises(MemoryError):
        read_image(tmp_path / "a.png")
