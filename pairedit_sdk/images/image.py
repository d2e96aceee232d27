"""Pictures in and out: any readable file to upright 8-bit RGB, and RGB to tensors and back."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from pairedit_sdk.errors import EditError, InputError, UsageError, counted, nearest
from pairedit_sdk.images.modes import flattened, in_srgb, upright

if TYPE_CHECKING:
    import torch

MAX_MEGAPIXELS = 100

#: Formats whose further "frames" are previews or layers; their first frame is the whole picture.
_STILL_FORMATS = {"MPO", "PSD"}

#: What is opened at all; of the others, some hand a file to another program.
_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "PSD", "TGA",
    "TIFF", "WEBP",
)  # fmt: skip

_DENIED = (errno.EACCES, errno.EPERM)
_CONVERT = "Save it again as PNG or JPEG in an image program, or take it out"


def read_image(path: str | Path) -> Image.Image:
    """Read a picture as upright 8-bit RGB.

    The camera's EXIF rotation is applied, colours are converted to sRGB from the profile in the
    file, transparency is laid on white, palettes, CMYK, grayscale and 16-bit pictures become RGB.
    The size is checked before anything is decoded.

    Raises:
        InputError: if there is no such file, or it is not one still picture of at most
            :data:`MAX_MEGAPIXELS`.
    """
    path = Path(path)
    _check_file(path)
    name = f"Picture '{path}'"
    try:
        # Pillow warns from 89 megapixels on and of odd metadata: here it is an error or nothing.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.init()
            known = [kind for kind in _FORMATS if kind in Image.OPEN]
            with _Bounded(io.FileIO(path)) as file, Image.open(file, formats=known) as image:
                return as_rgb(image, name)
    except (InputError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is not a picture that can be read",
            expected="a PNG, JPEG, WebP, TIFF or BMP file",
            got=f"a file of {counted(path.stat().st_size, 'byte')} in no such format, whatever its "
            "name says",
            next_step=_CONVERT,
        ) from None
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))
        raise _too_large(name, f"{int(found[0]) / 1e6:.0f}" if found else "far more") from None
    except Exception as error:  # Pillow's readers raise nearly every kind of exception.
        raise _damaged(name, error) from error


class _Bounded(io.BufferedReader):
    """A file that gives no more than there is in it: for a read of as much as a damaged length
    says, Python would take that memory first."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(0, self._size - self.tell())))


def as_rgb(image: Image.Image, name: str = "Picture") -> Image.Image:
    """An opened picture as a new, upright 8-bit RGB picture; see :func:`read_image`.

    Args:
        image: in any mode; it is not changed apart from being loaded.
        name: what to call it in an error, e.g. "Picture 'a.png'".

    Raises:
        InputError: if it is too large, animated, damaged, or of values that cannot be scaled.
    """
    if image.width * image.height > MAX_MEGAPIXELS * 1e6:
        count = math.ceil(image.width * image.height / 1e6)
        raise _too_large(name, f"{image.width} x {image.height}, {count}")
    if min(image.size) < 1:
        raise InputError(f"{name} is empty", got=f"{image.width} x {image.height} pixels")
    try:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in _STILL_FORMATS:
            raise InputError(
                f"{name} holds more than one picture",
                expected="one still picture",
                got=f"{frames} frames ({image.format})",
                next_step="Save the frame that you mean as a PNG or JPEG file",
            )
        image.load()
        return flattened(in_srgb(upright(image)), name)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at ``size``, width and height in pixels; the very same one if it has that."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def fit_size(width: int, height: int, budget_side: int, multiple: int) -> tuple[int, int]:
    """The size at which a model should see a picture: same aspect ratio, given area.

    Of the multiples around the ideal size, the pair is taken that is nearest in aspect ratio and,
    counting half, in area; the area is about ``budget_side`` squared, for small and large pictures
    alike.

    Args:
        width: the picture's width in pixels.
        height: its height in pixels.
        budget_side: side of the square of the wanted area, in pixels.
        multiple: each side is a multiple of this, at least once.

    Returns:
        Width and height in pixels.

    Raises:
        UsageError: a number below 1.
    """
    if min(width, height, budget_side, multiple) < 1:
        raise UsageError(
            "fit_size",
            expected="a width, height, budget_side and multiple of at least 1",
            got=f"{width}, {height}, {budget_side}, {multiple}",
        )
    aspect = math.log(width / height)

    def around(ideal: float) -> set[int]:
        units = math.floor(ideal / multiple)
        return {max(1, units) * multiple, max(1, units + 1) * multiple}

    def error(size: tuple[int, int]) -> float:
        # The area counts half, or a slightly better aspect ratio could cost a whole multiple.
        off_area = abs(math.log(size[0] * size[1] / budget_side**2))
        return abs(math.log(size[0] / size[1]) - aspect) + 0.5 * off_area

    across = around(budget_side * math.exp(aspect / 2))
    down = around(budget_side * math.exp(-aspect / 2))
    return min(((w, h) for w in sorted(across) for h in sorted(down)), key=error)


def to_tensor(image: Image.Image) -> torch.Tensor:
    """A picture as float32 [1, 3, H, W] in −1 … 1."""
    import numpy as np
    import torch

    values = np.array(image if image.mode == "RGB" else as_rgb(image), dtype=np.float32)
    return torch.from_numpy(values / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def to_image(tensor: torch.Tensor) -> Image.Image:
    """A tensor [1, 3, H, W] or [3, H, W] in −1 … 1 as an RGB picture; values beyond are clipped.

    Raises:
        UsageError: if the shape is another one.
        EditError: if a value is not a number.
    """
    import torch

    picture = tensor.detach()
    if picture.ndim == 4 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise UsageError(
            "to_image", expected="a tensor [1, 3, H, W] or [3, H, W]", got=str(list(tensor.shape))
        )
    picture = picture.float().cpu()
    if not bool(torch.isfinite(picture).all()):
        raise EditError(
            "The picture has values that are not numbers",
            expected="finite values",
            got=f"{int((~torch.isfinite(picture)).sum())} of {picture.numel()} are not",
            next_step="Lower the edit's scale, or try --precision fp32",
        )
    values = ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).contiguous().numpy())


def _check_file(path: Path) -> None:
    name = f"Picture '{path}'"
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
        names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
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
        raise InputError(
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


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} is damaged or cut short",
        expected="a complete picture",
        got=str(error) or type(error).__name__,
        next_step="Copy or export it again, or take it out",
    )


def _too_large(name: str, megapixels: str) -> InputError:
    return InputError(
        f"{name} is too large",
        expected=f"at most {MAX_MEGAPIXELS} megapixels",
        got=f"{megapixels} megapixels",
        next_step="Make it smaller first; a model sees far less of it anyway",
    )
