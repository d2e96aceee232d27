"""Pairs of pictures that people hand in, kept as a folder that trainings read."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.opening import opened
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.io.files import atomic_write, writing

#: A file, the bytes of one, or a picture in memory.
Picture: TypeAlias = str | Path | bytes | Photo

#: Formats of files that are kept byte for byte, and the extensions that folders of pairs know them
#: by. Of another format, such as PSD, the picture is written as PNG.
_EXTENSIONS = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "HEIF": ".heic",
    "JPEG": ".jpg",
    "JPEG2000": ".jp2",
    "MPO": ".mpo",
    "PNG": ".png",
    "PPM": ".ppm",
    "TGA": ".tga",
    "TIFF": ".tif",
    "WEBP": ".webp",
}


def keep_pairs(folder: Path, pairs: Sequence[tuple[Picture, Picture]]) -> Path:
    """Write pairs as ``folder/{source,target}/1.png`` and so on; whole or not at all.

    A folder that is there is replaced. Files are copied byte for byte, and named by what is in
    them, whatever they were called.

    Args:
        folder: to be made.
        pairs: (before, after), each a file, the bytes of one, or a photo.

    Returns:
        The folder.

    Raises:
        UsageError: there is no pair.
        InputError: a picture cannot be read; then nothing is written.
        WriteError: the system did not let it be written.
    """
    if not pairs:
        raise UsageError(
            "There are no pairs to train on",
            expected="one or more pairs of a before and an after picture",
            next_step="Add a pair; one to three are usual",
        )
    part, old = (
        folder.with_name(f".{folder.name}.{os.getpid()}{end}.part") for end in ("", ".old")
    )
    try:
        for number, pair in enumerate(pairs, 1):
            before, after = pair
            _keep(before, part / "source" / str(number), f"The before picture of pair {number}")
            _keep(after, part / "target" / str(number), f"The after picture of pair {number}")
        with writing(folder):
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _keep(picture: Picture, stem: Path, called: str) -> None:
    """Write a picture as ``stem`` with the extension of its format."""
    if isinstance(picture, Photo):
        picture.save(stem.with_name(f"{stem.name}.png"))
        return
    if isinstance(picture, bytes):
        data = picture
    else:
        called += f" ('{Path(picture).name}')"
        with opened(picture, called):  # refuses what is no picture before it is read whole
            data = Path(picture).read_bytes()

    def stream() -> BinaryIO:
        return io.BytesIO(data)

    photo = Photo.read(stream(), called)
    with opened(stream(), called) as image:
        extension = _EXTENSIONS.get(image.format or "")
    if extension is None:
        photo.save(stem.with_name(f"{stem.name}.png"))
    else:
        path = stem.with_name(stem.name + extension)
        atomic_write(path, lambda part: _write(part, data))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
