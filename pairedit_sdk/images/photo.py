"""A picture with everything that its file had, so that an edit changes nothing else of it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.arrays import bands, on_white, shrunk, to_picture
from pairedit_sdk.images.encoding import encode, format_named
from pairedit_sdk.images.files import FORMATS, picture_path
from pairedit_sdk.images.icc import colour_space
from pairedit_sdk.images.image import resized
from pairedit_sdk.images.modes import flattened
from pairedit_sdk.images.opening import called, opened
from pairedit_sdk.images.profiles import from_srgb, grey_levels, is_srgb, to_srgb, to_srgb_values
from pairedit_sdk.io.files import atomic_write

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture as its file has it.

    Attributes:
        pixels: uint8 or uint16 [H, W, C], C being 1 (grey) or 3 (colour); upright, in the
            picture's own colour space, transparency laid on nothing.
        alpha: [H, W] of the same type, or None.
        profile: ICC profile of ``pixels``, of grey or colour as they are; None is sRGB.
        exif: EXIF data with orientation 1 and without a thumbnail, or None.
        made: how the picture was made, to be written into its file: the SDK's edits, their scales,
            the model, the seed. Texts, numbers, lists and mappings.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    made: Mapping[str, Any] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def depth(self) -> int:
        """Bits a channel, 8 or 16."""
        return self.pixels.itemsize * 8

    @classmethod
    def read(cls, source: str | Path | BinaryIO, name: str | None = None) -> Photo:
        """Read a picture of any kind that :func:`~pairedit_sdk.images.image.read_image` reads.

        Palettes, CMYK and their like become colour; 16-bit values stay so in PNG and TIFF files.

        Args:
            source: a path, or a binary stream, e.g. ``sys.stdin.buffer``, which is read whole.
            name: what to call the picture in an error.

        Raises:
            InputError: as from :func:`~pairedit_sdk.images.image.read_image`.
        """
        from pairedit_sdk.images.decoding import decode

        with opened(source, name) as image:
            return cls(*decode(image, called(source, name)))

    @classmethod
    def of(cls, image: Image.Image | np.ndarray, name: str = "Picture") -> Photo:
        """A picture in memory.

        Args:
            image: of Pillow, in any mode, with its EXIF data and profile; or an array [H, W] or
                [H, W, 1, 3 or 4] of uint8, uint16, bool, or floats in 0 … 1, which become uint16.
            name: what to call it in an error.

        Raises:
            UsageError: it is something else.
            InputError: Pillow's picture cannot be decoded or is too large.
        """
        from pairedit_sdk.images.decoding import decode_checked, from_values

        if isinstance(image, Image.Image):
            return cls(*decode_checked(image, name))
        return cls(*from_values(image, name))

    def seen(self, size: tuple[int, int] | None = None) -> Image.Image:
        """What a model sees: 8-bit RGB in sRGB, transparency on white.

        For an 8-bit picture this is bit for bit what ``read_image`` and ``resized`` give, in bands
        of rows. A 16-bit picture is made smaller first, and keeps its precision until then.

        Args:
            size: width and height in pixels; the picture's own where nothing is given.
        """
        size = size or self.size
        own = self.profile if self.profile and not is_srgb(self.profile) else None
        if self.depth == 16:
            return self._deep_seen(size, own)
        plain = self.pixels.shape[2] == 1 and self.alpha is None

        def turned(band: Image.Image) -> Image.Image:
            band = to_srgb(band, own) if own else band
            return band if plain else flattened(band, "Picture")

        return resized(to_picture(self.pixels, self.alpha, turned), size).convert("RGB")

    def _deep_seen(self, size: tuple[int, int], own: bytes | None) -> Image.Image:
        import numpy as np

        values = shrunk(self.opaque(), size)
        space = colour_space(own) if own else None
        if space is None:
            image = to_picture(values)
            return (to_srgb(image, own) if own else image).convert("RGB")
        levels = np.empty(values.shape, dtype=np.uint8)
        for rows in bands(len(values)):
            part = values[rows] / 65535
            found = to_srgb_values(part[..., 0] if space.matrix is None else part, space)
            levels[rows] = np.rint(found * 255).reshape(part.shape)
        return to_picture(levels).convert("RGB")

    def in_own_colours(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures of sRGB in the photo's own colour space.

        Args:
            images: [B, 3, h, w] in −1 … 1; values beyond are clipped.

        Returns:
            float32 [B, C, h, w] in −1 … 1 on the same device, C as ``pixels`` has it. Grey is the
            luminance.
        """
        import numpy as np
        import torch

        grey = self.pixels.shape[2] == 1
        found = images.detach().float().clamp(-1, 1)
        if not grey and (self.profile is None or is_srgb(self.profile)):
            return found
        own = None if self.profile is None or is_srgb(self.profile) else self.profile
        count, _, height, width = found.shape
        converted = torch.empty((count, 1 if grey else 3, height, width))
        for k, picture in enumerate(found.cpu()):
            for rows in bands(height):
                colours = picture[:, rows].permute(1, 2, 0).numpy().astype(np.float64)
                values = from_srgb((colours.reshape(-1, 3) + 1) / 2, own, grey)
                part = torch.from_numpy(values.reshape(*colours.shape[:2], -1) * 2 - 1)
                converted[k, :, rows] = part.permute(2, 0, 1)
        return converted.to(images.device)

    def as_colour(self) -> Photo:
        """A grey photo as one of colour in sRGB, for an edit that colours it; or itself."""
        import numpy as np

        if self.pixels.shape[2] == 3:
            return self
        table = grey_levels(self.profile, self.depth) if self.profile else None
        pixels = np.empty((self.height, self.width, 3), dtype=self.pixels.dtype)
        for rows in bands(self.height):
            part = self.pixels[rows]
            pixels[rows] = part if table is None else np.rint(table)[part]
        return replace(self, pixels=pixels, profile=None)

    def rows(self, top: int, bottom: int) -> torch.Tensor:
        """The rows ``top`` … ``bottom`` as float32 [C, n, W] in −1 … 1."""
        import numpy as np
        import torch

        part = self.pixels[top:bottom].astype(np.float32) / (127.5 if self.depth == 8 else 32767.5)
        return torch.from_numpy(part - 1).permute(2, 0, 1)

    def opaque(self) -> np.ndarray:
        """``pixels``, transparency on white; the very same where there is none."""
        return self.pixels if self.alpha is None else on_white(self.pixels, self.alpha)

    def with_pixels(self, pixels: np.ndarray) -> Photo:
        """The photo with other pixels, of the same shape and type.

        Raises:
            UsageError: they are of another.
        """
        if pixels.shape != self.pixels.shape or pixels.dtype != self.pixels.dtype:
            raise UsageError(
                "The new pixels of a photo",
                expected=f"{self.pixels.dtype} {list(self.pixels.shape)}",
                got=f"{pixels.dtype} {list(pixels.shape)}",
                next_step="A grey photo takes colour after as_colour()",
            )
        return replace(self, pixels=pixels)

    @property
    def image(self) -> Image.Image:
        """The photo as an 8-bit picture of Pillow, of mode L, LA, RGB or RGBA, with its EXIF data
        and profile in ``info``. 16-bit grey without alpha is I;16."""
        import numpy as np

        if self.depth == 16 and self.pixels.shape[2] == 1 and self.alpha is None:
            image = Image.fromarray(np.ascontiguousarray(self.pixels[..., 0]))
        else:
            image = to_picture(self.pixels, self.alpha)
        for key, value in (("exif", self.exif), ("icc_profile", self.profile)):
            if value:
                image.info[key] = value
        return image

    def save(
        self, target: str | Path | BinaryIO, format: str | None = None, *, metadata: bool = True
    ) -> Path | None:
        """Write the photo with what the format can hold, whole or not at all.

        PNG holds everything. JPEG and BMP have no transparency, which is laid on white. 16-bit
        values stay so in PNG, and in TIFF for grey without alpha. BMP holds neither profile nor
        EXIF data, and its colours are converted to sRGB.

        Args:
            target: a path, see :func:`~pairedit_sdk.images.files.picture_path`; or a binary
                stream, e.g. ``sys.stdout.buffer``.
            format: "png", "jpg" …; by the path's extension, and PNG for a stream, where nothing is
                given.
            metadata: whether to write :attr:`made` too, if there is any.

        Returns:
            Where the file is; None for a stream.

        Raises:
            UsageError: the format is none that is written, or too small for the picture.
            WriteError: the system did not let it.
        """
        if not isinstance(target, str | os.PathLike):
            # Some formats are written back and forth, which a pipe does not take.
            held = io.BytesIO()
            encode(self, held, format_named(format or "png"), metadata=metadata)
            target.write(held.getbuffer())
            return None
        path = Path(target) if format else picture_path(target)
        form = format_named(format) if format else FORMATS[path.suffix.lower()]

        def write(part: Path) -> None:
            with part.open("wb") as file:
                encode(self, file, form, metadata=metadata)

        return atomic_write(path, write)
