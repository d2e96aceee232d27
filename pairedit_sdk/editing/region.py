"""A closer look: the part of a picture that an edit changes, cut out, edited larger and put back.

A model sees a photograph at a small size, and a face in it smaller still. Retouchers cut the face
out, work on it at full resolution, and paste it back. Here the part is cut out with context, and
what was made of it fades into the original within that context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

#: Context on each side, as a share of the region's own width and height.
CONTEXT = 0.5
#: A change weaker than this share of the strongest is not what the region is about.
STRONG = 0.25
#: A region that with its context covers more than this share of the picture is no closer look.
WHOLE = 0.6


class Box(NamedTuple):
    """A part of a picture, in pixels from the top left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(self.y, self.y + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.x, self.x + self.width)


#: What to look at more closely: a box, four numbers, or "auto".
Region: TypeAlias = str | Sequence[int]


def as_box(region: Region) -> Box:
    """Four numbers as a box.

    Raises:
        UsageError: they are something else, or the box is empty.
    """
    try:
        numbers = [] if isinstance(region, str) else [int(n) for n in region if int(n) == n]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 1:
        raise UsageError(
            f"The region {region!r}",
            expected="auto, or four whole numbers: x, y, width and height in pixels",
            next_step="Say for example --region 820,140,900,900",
        )
    return Box(*numbers)


def in_context(box: Box, size: tuple[int, int]) -> Box:
    """The box with context around it, within a picture of ``size``, width and height.

    Raises:
        UsageError: the box does not lie in the picture.
    """
    width, height = size
    if box.x + box.width > width or box.y + box.height > height:
        raise UsageError(
            f"The region {','.join(map(str, box))} lies outside the picture",
            expected=f"x + width of at most {width}, and y + height of at most {height}",
            got=f"{box.x + box.width} and {box.y + box.height}",
        )
    across, down = round(box.width * CONTEXT), round(box.height * CONTEXT)
    left, top = max(0, box.x - across), max(0, box.y - down)
    right = min(width, box.x + box.width + across)
    bottom = min(height, box.y + box.height + down)
    return Box(left, top, right - left, bottom - top)


def changed_box(before: torch.Tensor, after: torch.Tensor, size: tuple[int, int]) -> Box | None:
    """What an edit changes, as a box of the picture.

    Args:
        before: Dx, [1, C, h, w] in −1 … 1.
        after: Dz, of the same shape.
        size: width and height of the picture in pixels.

    Returns:
        The smallest box with every change of at least :data:`STRONG` of the strongest; ``None`` if
        it is so large that nothing is gained, or nothing changes at all.
    """
    from pairedit_sdk.images.metrics import gaussian_blur

    height, width = before.shape[2:]
    change = (after.float() - before.float()).square().mean(dim=1, keepdim=True)
    strength = gaussian_blur(change, math.sqrt(height * width) / 64).clamp_min(0).sqrt()[0, 0]
    if not float(strength.max()) > 0:
        return None
    strong = strength >= STRONG * strength.max()
    rows, columns = strong.any(dim=1).nonzero(), strong.any(dim=0).nonzero()
    top, bottom = int(rows[0]) / height, (int(rows[-1]) + 1) / height
    left, right = int(columns[0]) / width, (int(columns[-1]) + 1) / width
    x, y = math.floor(left * size[0]), math.floor(top * size[1])
    box = Box(x, y, math.ceil(right * size[0]) - x, math.ceil(bottom * size[1]) - y)
    around = in_context(box, size)
    return None if around.width * around.height > WHOLE * size[0] * size[1] else box


def fading(box: Box, around: Box, size: tuple[int, int]) -> np.ndarray:
    """How much of what was made of ``around`` is put back: 255 in the box, and falling smoothly to
    0 at the border of its context, unless that is the picture's own border.

    Args:
        box: the region.
        around: with its context.
        size: width and height of the picture.

    Returns:
        uint8 [around.height, around.width].
    """
    import numpy as np

    def ramp(start: int, length: int, begin: int, whole: int, end: int) -> np.ndarray:
        """Of one side: ``begin`` and ``whole`` are the context's, ``end`` the picture's."""
        at = np.arange(whole) + begin + 0.5
        low = (at - begin) / max(1, start - begin) if begin > 0 else np.ones(whole)
        last = begin + whole
        high = (last - at) / max(1, last - start - length) if last < end else np.ones(whole)
        share = np.clip(np.minimum(low, high), 0, 1)
        return np.asarray(share * share * (3 - 2 * share))

    across = ramp(box.x, box.width, around.x, around.width, size[0])
    down = ramp(box.y, box.height, around.y, around.height, size[1])
    return np.asarray(np.rint(255 * down[:, None] * across[None]), dtype=np.uint8)
