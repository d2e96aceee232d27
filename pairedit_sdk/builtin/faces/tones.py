"""Tones: what becomes of a whole drawn picture, for changes of the photograph and not the face."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from pairedit_sdk.builtin.faces.canvas import Colour, colour_of, soft_disc

KINDS = (
    "duotone", "saturation", "contrast", "brightness", "hue", "tint", "vignette", "blur",
)  # fmt: skip


@dataclass(frozen=True)
class Tone:
    """A change of the whole picture.

    Attributes:
        kind: one of :data:`KINDS`.
        amount: a factor for saturation, contrast and brightness; degrees for the hue; 0 … 1 for
            how much there is of a tint or a vignette; pixels of 128 for the blur.
        colours: "#rrggbb": of a duotone what black, grey and white become; of a tint one.
    """

    kind: str
    amount: float = 1.0
    colours: tuple[str, ...] = ()


def toned(image: Image.Image, tone: Tone) -> Image.Image:
    """The picture with that tone."""
    colours: list[Colour] = [colour_of({}, colour) for colour in tone.colours]
    if tone.kind == "duotone":
        black, grey, white = colours
        return ImageOps.colorize(ImageOps.grayscale(image), black, white, grey)
    if tone.kind == "tint":
        tinted = ImageChops.multiply(image, Image.new("RGB", image.size, colours[0]))
        return Image.blend(image, tinted, tone.amount)
    if tone.kind == "vignette":
        disc = soft_disc().resize(image.size).point(lambda v: min(255, round(v * 1.9 + 40)))
        dark = ImageChops.multiply(image, Image.merge("RGB", (disc, disc, disc)))
        return Image.blend(image, dark, tone.amount)
    if tone.kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(tone.amount * image.width / 128))
    if tone.kind == "hue":
        hsv = np.array(image.convert("HSV"))
        hsv[..., 0] = (hsv[..., 0].astype(int) + round(tone.amount / 360 * 255)) % 256
        return Image.fromarray(hsv, "HSV").convert("RGB")
    kinds = {
        "saturation": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "brightness": ImageEnhance.Brightness,
    }
    return kinds[tone.kind](image).enhance(tone.amount)


def hex_colour(hue: float, saturation: float, value: float) -> str:
    """ "#rrggbb" of a colour, each part 0 … 1."""
    r, g, b = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return f"#{r:02x}{g:02x}{b:02x}"
