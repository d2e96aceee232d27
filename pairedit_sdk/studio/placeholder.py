"""A picture for an edit that has none."""

from __future__ import annotations

import hashlib

from PIL import Image, ImageDraw, ImageFont

SIDE = 256


def placeholder(name: str) -> Image.Image:
    """The name's first letters on a colour of its own.

    Returns:
        RGB, 256 x 256 pixels.
    """
    hue = hashlib.sha256(name.encode()).digest()[0]
    picture = Image.new("HSV", (SIDE, SIDE), (hue, 90, 150)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=SIDE // 3)
    draw.text((SIDE / 2, SIDE / 2), name[:2].capitalize(), fill="white", font=font, anchor="mm")
    return picture
