"""Drawn faces by number: face ``i`` of a split is always the same face."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.face import Face, sample_face, visible


def face_at(index: int, split: str = "train") -> Face:
    """Face number ``index`` of a split ("train", "test", …); splits never share a face's draw."""
    return sample_face(random.Random(f"{split}-{index}"))


def change_at(index: int) -> tuple[str, Face, Face]:
    """Change number ``index``: an attribute, and one person with two values of it that both show.

    The attributes take turns, and the values stand in their own order: a change from the second to
    the first is the same one backwards.
    """
    attribute = list(VALUES)[index % len(VALUES)]
    rng = random.Random(f"change-{index}")
    while True:
        face = sample_face(rng)
        first, second = sorted(rng.sample(range(len(VALUES[attribute])), 2))
        one, other = (face.with_(**{attribute: VALUES[attribute][k]}) for k in (first, second))
        if visible(one, attribute) and visible(other, attribute):
            return attribute, one, other


def changed_face_at(index: int) -> Face:
    """The faces of all changes one after the other, two of each."""
    _, *faces = change_at(index // 2)
    return faces[index % 2]


def pictures_of(faces: Sequence[Face], size: int = 128) -> NDArray[np.uint8]:
    """Pictures of these faces, uint8 [N, size, size, 3]."""
    return np.stack([np.asarray(face.draw(size)) for face in faces])
