"""A pair seen a little differently, both pictures in the same way, so that the change stays."""

from __future__ import annotations

import random

from PIL import Image, ImageEnhance, ImageOps

COUNT = 8


def augmented(
    before: Image.Image, after: Image.Image, count: int = COUNT, seed: int = 0
) -> list[tuple[Image.Image, Image.Image]]:
    """The pair itself, then ``count − 1`` versions: mirrored, cropped, with other light."""
    versions = [(before, after)]
    for number in range(1, count):
        rng = random.Random(f"{seed}-{number}")
        mirror = rng.random() < 0.5
        width, height = before.size
        share = rng.uniform(0.88, 1.0)
        left = round(rng.uniform(0, 1 - share) * width)
        top = round(rng.uniform(0, 1 - share) * height)
        box = (left, top, left + round(share * width), top + round(share * height))
        light, colour = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15)

        def version(image: Image.Image) -> Image.Image:
            image = ImageOps.mirror(image) if mirror else image  # noqa: B023  # used at once
            image = image.crop(box).resize(before.size, Image.Resampling.BICUBIC)  # noqa: B023
            image = ImageEnhance.Brightness(image).enhance(light)  # noqa: B023
            return ImageEnhance.Color(image).enhance(colour)  # noqa: B023

        versions.append((version(before), version(after)))
    return versions
