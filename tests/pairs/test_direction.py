from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from PIL import Image

from pairedit_sdk.builtin.faces.face import Face, sample_face
from pairedit_sdk.pairs.direction import change, opposed
from pairedit_sdk.pairs.pair_set import PairSet


def test_no_change_has_no_direction() -> None:
    image = Face().draw(64)
    assert change(image, image) is None


def test_a_change_is_alike_to_itself_and_opposed_to_its_reverse() -> None:
    before, after = Face().draw(128), Face(mouth="laughing").draw(128)
    there, back = change(before, after), change(after, before)
    assert there is not None
    assert back is not None
    assert (there.compared(there), there.compared(back), back.compared(there)) == (2, -2, -2)


def test_unlike_edits_are_neither_alike_nor_opposed() -> None:
    smile = change(Face().draw(128), Face(mouth="laughing").draw(128))
    wall = change(Face().draw(128), Face(background="blue").draw(128))
    assert smile is not None
    assert wall is not None
    assert smile.compared(wall) == 0


@pytest.mark.parametrize("edit", [{"lipstick": "red"}, {"mouth": "laughing"}, {"style": "night"}])
@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_the_reversed_pair_is_found(
    face_pairs: Callable[..., PairSet], edit: dict[str, str], wrong: int
) -> None:
    pairs = face_pairs(edit, beard="none")
    changes = [
        change(p.after, p.before) if k == wrong else change(p.before, p.after)
        for k, p in enumerate(pairs)
    ]
    assert opposed(changes, sure=False) == {wrong}
    assert opposed(changes[:2], sure=False) == set()


def test_the_majority_is_right() -> None:
    rng = random.Random(3)
    faces = [sample_face(rng, style="photo", mouth="neutral", beard="none") for _ in range(5)]
    pictures: list[tuple[Image.Image, Image.Image]] = [
        (f.draw(128), f.with_(mouth="laughing").draw(128)) for f in faces
    ]
    changes = [change(*p) for p in pictures]
    assert opposed(changes, sure=False) == set()
    turned = [change(*p[::-1]) for p in pictures]
    assert opposed([turned[0], *changes[1:]], sure=False) == {0}
    assert opposed([*turned[:4], changes[4]], sure=False) == {4}
    # Two against two: nobody can know.
    assert opposed([*turned[:2], *changes[2:4]], sure=False) == set()


def test_pairs_without_a_change_are_passed_over() -> None:
    pictures = Face().draw(64), Face(mouth="laughing").draw(64)
    forth, back = change(*pictures), change(*pictures[::-1])
    assert opposed([forth, None, forth, back], sure=True) == {3}
    assert opposed([forth, None, back], sure=True) == set()
