"""A change of the whole picture of a drawn face: its colours, its light, its sharpness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from pairedit_sdk.builtin.faces.canvas import from_hex
from pairedit_sdk.builtin.faces.colours import is_hex

#: Every kind with the number of its colours and the range of its amount.
KINDS: dict[str, tuple[int, float, float]] = {
    "duotone": (3, 1.0, 1.0),
    "saturation": (0, 0.0, 4.0),
    "contrast": (0, 0.0, 4.0),
    "brightness": (0, 0.0, 4.0),
    "hue": (0, -180.0, 180.0),
    "tint": (1, 1.0, 1.0),
    "vignette": (0, 0.0, 1.0),
    "blur": (0, 0.0, 0.1),
}


@dataclass(frozen=True)
class Tone:
    """One change of the whole picture.

    Args:
        kind: one of :data:`KINDS`.
        amount: a factor for saturation, contrast and brightness, 1 being no change; degrees for
            hue; the share of light that the corners lose for vignette; for blur, its radius in
            picture widths.
        colours: as "#rrggbb": what the dark, the middle and the light become for duotone, and
            what the picture is multiplied by for tint.

    Raises:
        ValueError: another kind, amount or number of colours.
    """

    kind: str
    amount: float = 1.0
    colours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Tone.kind: expected one of {', '.join(KINDS)}; got {self.kind!r}")
        count, least, most = KINDS[self.kind]
        if not least <= self.amount <= most:
            raise ValueError(f"Tone.amount: expected {least} to {most}; got {self.amount!r}")
        if len(self.colours) != count or not all(map(is_hex, self.colours)):
            raise ValueError(
                f"Tone.colours: expected {count} as #rrggbb for {self.kind}; got {self.colours!r}"
            )


def in_tone(image: Image.Image, tone: Tone | None) -> Image.Image:
    """The RGB picture in this tone, or as it is."""
    if tone is None:
        return image
    if tone.kind == "duotone":
        dark, middle, light = map(from_hex, tone.colours)
        return ImageOps.colorize(ImageOps.grayscale(image), dark, light, middle)
    if tone.kind == "tint":
        return ImageChops.multiply(image, Image.new("RGB", image.size, from_hex(tone.colours[0])))
    if tone.kind == "saturation":
        return ImageEnhance.Color(image).enhance(tone.amount)
    if tone.kind == "contrast":
        return ImageEnhance.Contrast(image).enhance(tone.amount)
    if tone.kind == "brightness":
        return ImageEnhance.Brightness(image).enhance(tone.amount)
    if tone.kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(tone.amount * image.size[0]))
    if tone.kind == "hue":
        hue, saturation, value = image.convert("HSV").split()
        turn = round(tone.amount / 360 * 256)
        hue = hue.point([(k + turn) % 256 for k in range(256)])
        return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return _darker_corners(image, tone.amount)


def _darker_corners(image: Image.Image, amount: float) -> Image.Image:
    side = image.size[0]
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    light = 1 - amount * np.clip((np.hypot(x, y) - 0.35) / 0.85, 0, 1)
    return Image.fromarray((np.asarray(image) * light[..., None]).astype(np.uint8))
