"""Writing 16-bit PNG files, which Pillow does for grey alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from pairedit_sdk.images.arrays import bands

if TYPE_CHECKING:
    import numpy as np

#: PNG's colour types by the number of channels, alpha included.
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_UP = 2


def write_deep_png(
    file: BinaryIO,
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    profile: bytes | None = None,
    exif: bytes | None = None,
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a PNG with 16 bits a channel.

    Args:
        file: to be written to; it is not sought in.
        pixels: uint16 [H, W, 1 or 3].
        alpha: uint16 [H, W], if there is any.
        profile: the ICC profile of ``pixels``.
        exif: with or without its "Exif" heading.
        texts: by their keys, of 1 to 79 Latin letters.
    """
    height, width, channels = pixels.shape
    count = channels + (alpha is not None)
    head = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[count], 0, 0, 0)
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", head)
    if profile:
        _chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if exif:
        _chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    for key, text in (texts or {}).items():
        _chunk(file, b"iTXt", key.encode("latin-1") + bytes(5) + text.encode())
    _pixels(file, pixels, alpha, count)
    _chunk(file, b"IEND", b"")


def _pixels(file: BinaryIO, pixels: np.ndarray, alpha: np.ndarray | None, count: int) -> None:
    """Each row as its difference from the row above, compressed."""
    import numpy as np

    height, width, channels = pixels.shape
    packer = zlib.compressobj(4)
    above = np.zeros((1, width * count * 2), dtype=np.uint8)
    for rows in bands(height):
        values = np.empty((rows.stop - rows.start, width, count), dtype=">u2")
        values[..., :channels] = pixels[rows]
        if alpha is not None:
            values[..., channels] = alpha[rows]
        raw = values.reshape(len(values), -1).view(np.uint8)
        filtered = np.empty((len(raw), raw.shape[1] + 1), dtype=np.uint8)
        filtered[:, 0] = _UP
        filtered[:, 1:] = raw - np.concatenate([above, raw[:-1]])
        above = raw[-1:]
        if part := packer.compress(filtered.tobytes()):
            _chunk(file, b"IDAT", part)
    _chunk(file, b"IDAT", packer.flush())


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
