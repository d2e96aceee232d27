"""What the router and the delta network of a learned basis see, and the grid of an analogy's
pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import Image

from pairedit_sdk.images.image import resized
from pairedit_sdk.lorweb.delta import PairFeatures

if TYPE_CHECKING:
    from pairedit_sdk.models.image_encoder import ImageEncoder


def query_of(
    encoder: ImageEncoder,
    kind: str,
    a: Image.Image,
    a_prime: Image.Image,
    b: Image.Image,
    *,
    unit: bool = False,
) -> torch.Tensor:
    """[E(a), E(a′), E(b)] as they come from the encoder or each of length 1 (``unit``), or E of all
    three in a grid; [Q]."""
    pictures = [grid_of(a, a_prime, b, b)] if kind == "grid" else [a, a_prime, b]
    return encoder.embed(pictures, normalised=unit).flatten()


def features_of(embeddings: torch.Tensor, patches: torch.Tensor) -> PairFeatures:
    """What the delta network sees of a pair, [1, …].

    Args:
        embeddings: of a and a′, [2, D].
        patches: their patch features, [2, T, F].
    """
    a, a_prime = torch.nn.functional.normalize(embeddings, dim=-1)
    return PairFeatures(
        torch.stack([a_prime - a, a_prime])[None],
        torch.stack([patches[1] - patches[0], patches[1]])[None],
    )


def grid_of(
    a: Image.Image, a_prime: Image.Image, b: Image.Image, b_prime: Image.Image
) -> Image.Image:
    """[a, a′; b, b′] as one picture, each as large as b."""
    width, height = b.size
    grid = Image.new("RGB", (2 * width, 2 * height))
    for number, picture in enumerate((a, a_prime, b, b_prime)):
        place = (number % 2 * width, number // 2 * height)
        grid.paste(resized(picture, b.size), place)
    return grid
