"""A picture with all that belongs to it, as the bytes of a format, as far as that can hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, PngImagePlugin

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.arrays import to_8_bit, to_picture
from pairedit_sdk.images.files import FORMATS
from pairedit_sdk.images.metadata import KEY, STRUCTURE, made_text, rewritten_exif, xmp_packet

if TYPE_CHECKING:
    from pairedit_sdk.images.photo import Photo

#: Longest sides that a format can say, or its readers take, in pixels.
_LONGEST = {"JPEG": 65500, "WEBP": 16383, "AVIF": 32768}
#: A JPEG's EXIF and XMP go into one segment each, with their headings.
_JPEG_EXIF, _JPEG_XMP = 65533, 65533 - 29
_XMP_TAG = 0x2BC
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    # exact: colours stay where nothing of them is seen, as in a PNG.
    "WEBP": {"quality": 95, "exact": True, "use_sharp_yuv": True},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}


def format_named(name: str) -> str:
    """Pillow's name of a format given as "png", ".jpg", "JPEG" …

    Raises:
        UsageError: it is none that can be written.
    """
    asked = name.strip().lower().removeprefix(".")
    found = FORMATS.get(f".{asked}")
    if found is None:
        raise UsageError(
            "The format of a picture",
            expected=f"one of {', '.join(suffix[1:] for suffix in FORMATS)}",
            got=repr(name),
            next_step="HEIC is read and not written: say png or avif" if "hei" in asked else "",
        )
    return found


def require_size(size: tuple[int, int], kind: str) -> None:
    """Refuse a width and height that a format of Pillow's name ``kind`` cannot say.

    Raises:
        UsageError: one is too large.
    """
    longest = _LONGEST.get(kind)
    if longest and max(size) > longest:
        raise UsageError(
            f"The picture is too large for {kind}",
            expected=f"sides of at most {longest} pixels",
            got=f"{size[0]} x {size[1]}",
            next_step="Write it as PNG",
        )


def encode(photo: Photo, file: BinaryIO, kind: str, *, metadata: bool) -> None:
    """Write the photo into ``file`` in the format ``kind``, one of the values of ``FORMATS``.

    Args:
        photo: the picture.
        file: that can be sought in, if the format is TIFF.
        kind: in Pillow's words.
        metadata: whether to say how the picture was made.

    Raises:
        UsageError: the picture is larger than the format's files can be.
    """
    require_size(photo.size, kind)
    text = made_text(photo.made) if metadata and photo.made else ""
    if kind == "BMP":  # holds no profile, so that it has to be sRGB, and no transparency
        seen = photo.seen()
        (seen.convert("L") if photo.pixels.shape[2] == 1 else seen).save(file, kind)
    elif kind == "PNG":
        _png(photo, file, text)
    elif kind == "TIFF":
        _tiff(photo, file, text)
    else:
        _others(photo, file, kind, text)


def _png(photo: Photo, file: BinaryIO, text: str) -> None:
    if photo.depth == 16:
        from pairedit_sdk.images.deep_png import write_deep_png

        write_deep_png(
            file,
            photo.pixels,
            photo.alpha,
            profile=photo.profile,
            exif=photo.exif,
            texts={KEY: text} if text else None,
        )
        return
    texts = PngImagePlugin.PngInfo()
    if text:
        texts.add_itxt(KEY, text)
    settings = {"exif": photo.exif} if photo.exif else {}
    to_picture(photo.pixels, photo.alpha).save(
        file, "PNG", pnginfo=texts, icc_profile=photo.profile, compress_level=4, **settings
    )


def _tiff(photo: Photo, file: BinaryIO, text: str) -> None:
    tags = Image.Exif()
    exif = rewritten_exif(photo.exif) if photo.exif else None
    if exif:
        tags.load(exif)
        # A camera may say there how large its own picture was.
        for tag in STRUCTURE & set(tags):
            del tags[tag]
    if text:
        tags[_XMP_TAG] = xmp_packet(text)
    photo.image.save(file, "TIFF", exif=tags, icc_profile=photo.profile)


def _others(photo: Photo, file: BinaryIO, kind: str, text: str) -> None:
    """JPEG has no transparency. WebP, and AVIF beside transparency, is read as colour, beside which
    a profile of grey would mean nothing."""
    coloured = kind == "WEBP" or (kind == "AVIF" and photo.alpha is not None)
    if coloured and photo.profile and photo.pixels.shape[2] == 1:
        photo = photo.as_colour()
    settings = dict(_SETTINGS[kind], icc_profile=photo.profile)
    if kind == "AVIF" and photo.pixels.shape[2] == 1:
        settings["subsampling"] = "4:0:0"  # no colour at all, so that it is read as grey again
    exif = rewritten_exif(photo.exif) if photo.exif and kind == "AVIF" else photo.exif
    if exif and (kind != "JPEG" or len(exif) <= _JPEG_EXIF):
        settings["exif"] = exif
    packet = xmp_packet(text) if text else b""
    if packet and (kind != "JPEG" or len(packet) <= _JPEG_XMP):
        settings["xmp"] = packet
    if kind == "JPEG":
        image = to_picture(to_8_bit(photo.opaque()))
    else:
        image = to_picture(photo.pixels, photo.alpha)
    image.save(file, kind, **settings)
