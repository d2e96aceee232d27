"""The kinds of pictures that functions accept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

from PIL import Image

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.photo import Photo

if TYPE_CHECKING:
    import numpy as np

#: A path, a picture of Pillow, an array [H, W] or [H, W, 1, 3 or 4], or a photo.
ImageLike: TypeAlias = Union[str, Path, Image.Image, "np.ndarray[Any, Any]", Photo]


def is_image(value: object) -> TypeGuard[ImageLike]:
    """Whether it is of a type that :func:`as_photo` takes."""
    import numpy as np

    return isinstance(value, str | Path | Image.Image | np.ndarray | Photo)


def as_photo(image: ImageLike, name: str = "Picture") -> Photo:
    """A picture of any of these kinds as a photo, with everything that belongs to it.

    Args:
        image: the picture.
        name: what to call it in an error; a path is called by itself.

    Raises:
        UsageError: it is something else.
        InputError: it cannot be read.
    """
    import numpy as np

    if isinstance(image, Photo):
        return image
    if isinstance(image, str | Path):
        return Photo.read(image)
    if isinstance(image, Image.Image | np.ndarray):
        return Photo.of(image, name)
    raise UsageError(
        f"{name} is no picture",
        expected="a path, a PIL picture, a numpy array or a Photo",
        got=type(image).__name__,
        next_step="Give several pictures to edit_images, one by one to edit_image"
        if isinstance(image, list | tuple)
        else "",
    )
