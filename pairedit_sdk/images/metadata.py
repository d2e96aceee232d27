"""What picture files say beside their pixels: the camera's EXIF, and how an edit was made."""

from __future__ import annotations

import json
import math
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from html import escape, unescape
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from PIL import Image

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.opening import opened

#: The key of a PNG's text, and the prefix in XMP, under which JSON says how a picture was made.
KEY = "pairedit"
_NAMESPACE = "urn:pairedit:made:1"
_HEAD = b"Exif\0\0"

_ORIENTATION, _EXIF_IFD, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202

#: Tags of a TIFF file that say how it holds its pixels, its profile and its XMP: not EXIF.
STRUCTURE = frozenset(
    (
        *range(0xFE, 0x104), 0x106, *range(0x107, 0x10B), 0x111, *range(0x115, 0x11A), 0x11C,
        *range(0x120, 0x126), 0x13D, *range(0x140, 0x14B), *range(0x151, 0x15C),
        *range(0x200, 0x215), 0x2BC, 0x8649, 0x8773,
    )
)  # fmt: skip


def exif_of(image: Image.Image, size: tuple[int, int]) -> bytes | None:
    """The EXIF data of an opened picture as it should be written again; None if there is none.

    The pixels being upright, the orientation is 1 and the size is theirs; the thumbnail, which
    shows another picture than is written, is gone. Damaged data are left out.

    Args:
        image: whose file is still open, its pixels being read by now.
        size: width and height of the upright picture.
    """
    data = image.info.get("exif")
    if not isinstance(data, bytes) or image.format == "TIFF":
        data = _from_tags(image)
    return cleaned_exif(data, size) if data else None


def _from_tags(image: Image.Image) -> bytes | None:
    if image.format != "TIFF" and "Raw profile type exif" not in image.info:
        return None
    try:
        exif = image.getexif()
        for tag in STRUCTURE & set(exif):
            del exif[tag]
        return exif.tobytes() if len(exif) else None
    except Exception:  # Pillow's readers raise nearly every kind of exception.
        return None


def cleaned_exif(exif: bytes, size: tuple[int, int] | None = None) -> bytes | None:
    """EXIF data with orientation 1 and without a thumbnail, else byte for byte as they were.

    Args:
        exif: with or without its heading.
        size: width and height to say in it, where it says any.

    Returns:
        With the heading; None if the data are damaged.
    """
    data = bytearray(exif.removeprefix(_HEAD))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", data, 4)
        inner = None
        for tag, at in _entries(data, order, first):
            if tag == _ORIENTATION:
                struct.pack_into(f"{order}HHIHH", data, at, tag, 3, 1, 1, 0)
            elif tag == _EXIF_IFD:
                (inner,) = struct.unpack_from(f"{order}I", data, at + 8)
        if inner and size:
            for tag, at in _entries(data, order, inner):
                if tag in (_WIDTH, _HEIGHT):
                    side = size[tag == _HEIGHT]
                    struct.pack_into(f"{order}HHII", data, at, tag, 4, 1, side)
        _drop_thumbnail(data, order, first)
    except struct.error:
        return None
    return _HEAD + bytes(data)


def rewritten_exif(exif: bytes) -> bytes | None:
    """EXIF data as Pillow writes them, for formats that take only those; None if it cannot."""
    found = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.load(exif)
            return found.tobytes() if len(found) else None
    except Exception:  # Pillow's readers raise nearly every kind of exception.
        return None


def _entries(data: bytearray, order: str, start: int) -> Iterator[tuple[int, int]]:
    """The tags of a directory, each with the place of its entry of 12 bytes."""
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        yield struct.unpack_from(f"{order}H", data, at)[0], at


def _drop_thumbnail(data: bytearray, order: str, first: int) -> None:
    (count,) = struct.unpack_from(f"{order}H", data, first)
    link = first + 2 + 12 * count
    if link + 4 > len(data):
        return  # some writers end here
    (second,) = struct.unpack_from(f"{order}I", data, link)
    struct.pack_into(f"{order}I", data, link, 0)
    if not second or second < link + 4:
        return
    entries = dict(_entries(data, order, second))
    if _THUMBNAIL not in entries or _THUMBNAIL_LENGTH not in entries:
        return
    (start,) = struct.unpack_from(f"{order}I", data, entries[_THUMBNAIL] + 8)
    (length,) = struct.unpack_from(f"{order}I", data, entries[_THUMBNAIL_LENGTH] + 8)
    end = min(start + length, len(data))
    if start < link + 4 or start >= end:
        return
    if end == len(data):
        del data[start:]
    else:  # what lies behind is found by its place
        data[start:end] = bytes(end - start)


def made_text(made: Mapping[str, Any]) -> str:
    """How a picture was made as JSON, without the folders of what is named in it.

    Raises:
        UsageError: there is something else in it than texts, numbers, lists and mappings.
    """
    text = json.dumps(_plain(made, KEY), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace").decode()  # half a character of an odd file's name


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in value]
    if isinstance(value, str):
        return _without_folders(value)
    finite = not isinstance(value, float) or math.isfinite(value)
    if value is None or (isinstance(value, bool | int | float) and finite):
        return value
    raise UsageError(
        f"What a picture says of how it was made, {where}",
        expected="texts, finite numbers, lists and mappings",
        got=f"{value!r}" if isinstance(value, float) else type(value).__name__,
    )


def _without_folders(text: str) -> str:
    """Where a user keeps a file is nobody else's business: of a path the last part stays."""
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return PureWindowsPath(text).name
    if re.match(r"/|~|\.\.?/|file:", text):
        return PurePosixPath(text).name
    return text


def xmp_packet(text: str) -> bytes:
    """An XMP packet that holds ``text`` and nothing else."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:{KEY}="{_NAMESPACE}">'
        f"<{KEY}:made>{escape(text, quote=False)}</{KEY}:made>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def read_made(source: str | Path | BinaryIO) -> dict[str, Any] | None:
    """How a picture was made, as its file says; None where this package has not said it.

    The file is opened and not decoded. What it says is what its writer claims.

    Raises:
        InputError: it is no picture; see :func:`~pairedit_sdk.images.image.read_image`.
    """
    with opened(source) as image:
        text = image.info.get(KEY)
        xmp = image.info.get("xmp")
    if not isinstance(text, str) and isinstance(xmp, bytes):
        found = re.search(rf"<{KEY}:made>(.*?)</{KEY}:made>".encode(), xmp, re.DOTALL)
        text = unescape(found[1].decode("utf-8", "replace")) if found else None
    if not isinstance(text, str):
        return None
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None
