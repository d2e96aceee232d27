"""What a style makes of a finished drawing."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pairedit_sdk.builtin.faces.canvas import soft_disc


def in_style(image: Image.Image, style: str) -> Image.Image:
    """The picture in sepia, at night, as a pencil sketch, or as it is."""
    if style == "sepia":
        return ImageOps.colorize(
            ImageOps.grayscale(image), (46, 28, 16), (255, 238, 204), (176, 128, 82)
        )
    if style == "night":
        side = image.size[0]
        dimmed = ImageChops.multiply(image, Image.new("RGB", image.size, (84, 96, 160)))
        glow = soft_disc().resize((round(side * 1.5), round(side * 1.5)))
        left = round(side * -0.62)
        lamp = Image.new("L", image.size, 0)
        lamp.paste(glow.point(lambda v: round(v * 0.8)), (left, left + round(side * 0.12)))
        warm = ImageChops.multiply(image, Image.new("RGB", image.size, (255, 206, 150)))
        return Image.composite(warm, dimmed, lamp)
    if style == "sketch":
        gray = ImageOps.grayscale(image).reduce(2)
        blurred = gray.filter(ImageFilter.GaussianBlur(gray.size[0] / 64))
        light = np.asarray(gray, np.float32)
        soft = np.asarray(blurred, np.float32)
        lines = np.clip(light / np.maximum(soft, 1.0), 0, 1) ** 2.2
        tone = 0.72 + 0.28 * light / 255
        paper = np.array([252, 249, 242], np.float32)
        drawn = (lines * tone)[..., None] * paper
        return Image.fromarray(drawn.astype(np.uint8)).resize(image.size)
    return image
