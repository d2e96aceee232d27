"""Writing pictures: the format follows the file's extension, and no file is ever half-written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.files import atomic_write, require_writable, writing

if TYPE_CHECKING:
    from PIL import Image

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}

_SETTINGS: dict[str, dict[str, Any]] = {
    "PNG": {"optimize": True},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90},
}

#: Formats that are read and not written.
_ONLY_READ = (".heic", ".heif")


def picture_path(path: str | Path) -> Path:
    """Where a picture asked for as ``path`` goes; a name without an extension becomes a PNG.

    Raises:
        UsageError: the extension is none that can be written, or a folder stands there.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(
            f"The output {path} is a folder",
            expected="the name of a picture file",
            next_step=f"Say for example {path / 'out.png'}",
        )
    if not path.suffix:
        return path.with_name(f"{path.name}.png")
    if path.suffix.lower() in _ONLY_READ:
        raise UsageError(
            f"The output {path} is to be HEIC, which is read and not written",
            expected=f"one of {', '.join(FORMATS)}",
            got=path.suffix,
            next_step=f"Say {path.with_suffix('.png').name} or {path.with_suffix('.avif').name}",
        )
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"The output {path} has an extension that is no picture format",
            expected=f"one of {', '.join(FORMATS)}",
            got=path.suffix,
        )
    return path


def writable_picture(path: str | Path) -> Path:
    """:func:`picture_path`, after trying that a picture can be written there.

    Raises:
        UsageError: as :func:`picture_path`.
        WriteError: the system does not let it.
    """
    with writing(Path(path)):  # a folder that may not be read cannot even be asked about
        return require_writable(picture_path(path))


def write_image(image: Image.Image, path: str | Path) -> Path:
    """Write ``image`` where :func:`picture_path` says, whole or not at all."""
    target = picture_path(path)
    kind = FORMATS[target.suffix.lower()]
    return atomic_write(target, lambda part: image.save(part, kind, **_SETTINGS.get(kind, {})))
