"""Opening pictures of unknown origin, and the errors for those that are refused."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from pairedit_sdk.errors import InputError, counted, nearest
from pairedit_sdk.io.optional import imported

MAX_MEGAPIXELS = 100
#: What is read of a stream at most: a picture of so many megapixels, 16-bit and uncompressed.
MAX_STREAM_BYTES = 2**30
_PART = 2**20

#: Formats whose further "frames" are previews or layers; their first frame is the whole picture.
_STILL_FORMATS = {"HEIF", "MPO", "PSD"}

#: What is opened at all; of the others, some hand a file to another program.
_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "PSD", "TGA",
    "TIFF", "WEBP",
)  # fmt: skip

#: Four-letter brands of HEIF files whose pictures are HEVC, and of those that Pillow reads itself.
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

_DENIED = (errno.EACCES, errno.EPERM)
_CONVERT = "Save it again as PNG or JPEG in an image program, or take it out"


@contextmanager
def opened(source: str | Path | BinaryIO, name: str | None = None) -> Iterator[Image.Image]:
    """A picture that is opened, of an allowed format, size and number of frames, and not decoded.

    Whatever goes wrong in the block is said to be damage of the picture, but for what was raised
    on purpose and a lack of memory.

    Args:
        source: a path, or a binary stream, which is read to its end.
        name: what to call it in an error; "Picture 'a.png'" where nothing is given.

    Raises:
        InputError: if there is no such file, or it is not one still picture of at most
            :data:`MAX_MEGAPIXELS`.
    """
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    name = called(source, name)
    file = _file(path, name) if path else _stream(source, name)  # type: ignore[arg-type]
    try:
        # Pillow warns from 89 megapixels on and of odd metadata: here it is an error or nothing.
        with warnings.catch_warnings(), file:
            warnings.simplefilter("ignore")
            with _recognized(file, name, path) as image:
                check_size(image, name)
                yield image
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))
        raise _too_large(name, f"{int(found[0]) / 1e6:.0f}" if found else "far more") from None
    except Exception as error:  # Pillow's readers raise nearly every kind of exception.
        raise damaged(name, error) from error


def called(source: str | Path | BinaryIO, name: str | None = None) -> str:
    """What an error calls a picture: its name, or where it comes from."""
    if name:
        return name
    path = isinstance(source, str | os.PathLike)
    return f"Picture '{Path(source)}'" if path else "The picture from the stream"  # type: ignore[arg-type]


def check_size(image: Image.Image, name: str) -> None:
    """Refuse an opened picture that is too large, empty or animated, before it is decoded.

    Raises:
        InputError: it is.
    """
    if image.width * image.height > MAX_MEGAPIXELS * 1e6:
        count = math.ceil(image.width * image.height / 1e6)
        raise _too_large(name, f"{image.width} x {image.height}, {count}")
    if min(image.size) < 1:
        raise InputError(f"{name} is empty", got=f"{image.width} x {image.height} pixels")
    try:
        frames = getattr(image, "n_frames", 1)
    except MemoryError:
        raise
    except Exception as error:
        raise damaged(name, error) from error
    if frames > 1 and image.format not in _STILL_FORMATS:
        raise InputError(
            f"{name} holds more than one picture",
            expected="one still picture",
            got=f"{frames} frames ({image.format})",
            next_step="Save the frame that you mean as a PNG or JPEG file",
        )


def damaged(name: str, error: Exception) -> InputError:
    """The error for a picture that cannot be decoded."""
    return InputError(
        f"{name} is damaged or cut short",
        expected="a complete picture",
        got=str(error) or type(error).__name__,
        next_step="Copy or export it again, or take it out",
    )


class _Bounded(io.BufferedReader):
    """A file that gives no more than there is in it: for a read of as much as a damaged length
    says, Python would take that memory first."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(0, self.size - self.tell())))


def _file(path: Path, name: str) -> _Bounded:
    check_file(path, name)
    try:
        return _Bounded(io.FileIO(path))
    except OSError as error:  # gone since
        raise _unopened(name, error) from error


def _stream(source: BinaryIO, name: str) -> io.BytesIO:
    held = io.BytesIO()
    try:
        while held.tell() <= MAX_STREAM_BYTES and (part := source.read(_PART)):
            held.write(part)
    except OSError as error:
        raise _unopened(name, error) from error
    if not held.tell():
        raise _empty(name)
    if held.tell() > MAX_STREAM_BYTES:
        raise InputError(
            f"{name} is too long",
            expected=f"at most {MAX_STREAM_BYTES} bytes",
            got="more",
            next_step="Name a file instead",
        )
    held.seek(0)
    return held


def _recognized(file: _Bounded | io.BytesIO, name: str, path: Path | None) -> Image.Image:
    """The opened picture, by its content."""
    head = file.read(256)
    size = file.size if isinstance(file, _Bounded) else len(file.getbuffer())
    file.seek(0)
    if is_heic(head):
        _learn_heif(name)
    Image.init()
    try:
        return Image.open(file, formats=[kind for kind in _FORMATS if kind in Image.OPEN])
    except UnidentifiedImageError:
        if path and path.suffix.lower() in {".heic", ".heif"} and head[4:8] == b"ftyp":
            _learn_heif(name)
        raise InputError(
            f"{name} is not a picture that can be read",
            expected="a PNG, JPEG, WebP, AVIF, TIFF or BMP file",
            got=f"a file of {counted(size, 'byte')} in no such format, whatever its name says",
            next_step=_CONVERT,
        ) from None


def is_heic(head: bytes) -> bool:
    """Whether a file that begins so is a HEIF picture that Pillow cannot read by itself."""
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    return bool(brands & _HEIC_BRANDS) and not brands & _AVIF_BRANDS


def _learn_heif(name: str) -> None:
    """Let Pillow open HEIF pictures from now on.

    Raises:
        InputError: pillow-heif is not installed.
    """
    if "HEIF" in Image.OPEN:
        return
    try:
        imported("pillow_heif").register_heif_opener()
    except ImportError:
        raise InputError(
            f"{name} is a HEIC picture, which takes the package pillow-heif",
            expected="a PNG, JPEG, WebP, AVIF, TIFF or BMP file, or that package",
            next_step="Install it with `pip install 'pairedit-sdk[heif]'`, or save the picture as "
            "JPEG",
        ) from None


def check_file(path: Path, name: str) -> None:
    """Refuse what is no ordinary file that may be read and has something in it.

    Raises:
        InputError: in words for each case.
    """
    try:
        there = path.exists()
        path.stat(follow_symlinks=False)
    except FileNotFoundError:
        there = False
    except OSError as error:  # a name too long, a folder that nobody may look into
        raise _unopened(name, error) from error
    if not there and path.is_symlink():
        raise InputError(
            f"{name} is a link that leads nowhere, or in a circle",
            expected="a picture file",
            next_step="Put the picture itself there",
        )
    if not there:
        folder = path.parent
        try:
            names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        except OSError:  # a folder that may be entered and not listed: there is no hint then
            names = []
        hint = nearest(path.name, names) if names else ""
        raise InputError(
            f"{name} does not exist",
            expected="a picture file",
            got="nothing of that name" if folder.is_dir() else f"no folder '{folder}' either",
            next_step=hint if hint.startswith("Did you mean") else "Check the path",
        )
    if path.is_dir():
        raise InputError(
            f"{name} is a folder", expected="a picture file", next_step="Name a file in it"
        )
    if not path.is_file():
        raise InputError(f"{name} is not an ordinary file", expected="a picture file")
    try:
        with path.open("rb") as handle:
            empty = not handle.read(1)
    except OSError as error:
        raise _unopened(name, error) from error
    if empty:
        raise _empty(name)


def _empty(name: str) -> InputError:
    return InputError(
        f"{name} is empty",
        expected="a picture",
        got="0 bytes",
        next_step="Copy or export it again, or take it out",
    )


def _unopened(name: str, error: OSError) -> InputError:
    return InputError(
        f"{name} cannot be opened",
        expected="a file that may be read",
        got=error.strerror or str(error),
        next_step="Check its permissions" if error.errno in _DENIED else "Check the path",
    )


def _too_large(name: str, megapixels: str) -> InputError:
    return InputError(
        f"{name} is too large",
        expected=f"at most {MAX_MEGAPIXELS} megapixels",
        got=f"{megapixels} megapixels",
        next_step="Make it smaller first",
    )
