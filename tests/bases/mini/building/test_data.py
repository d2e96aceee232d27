"""Drawn changes: one person, two values of one attribute that both show."""

from dataclasses import asdict

import numpy as np

from pairedit_sdk.bases.mini.attributes import VALUES
from pairedit_sdk.bases.mini.building.data import (
    change_at,
    changed_face_at,
    picture_pool,
    pictures_of,
)
from pairedit_sdk.bases.mini.faces import visible


def test_a_change_is_of_one_attribute_in_the_order_of_its_values():
    for index in range(2 * len(VALUES)):
        name, one, other = change_at(index)
        different = {k for k, v in asdict(one).items() if v != asdict(other)[k]}
        assert different == {name}
        order = [VALUES[name].index(getattr(face, name)) for face in (one, other)]
        assert order == sorted(order)
        assert visible(one, name)
        assert visible(other, name)
    assert {change_at(i)[0] for i in range(len(VALUES))} == set(VALUES)


def test_the_faces_of_all_changes_follow_one_another():
    _, *faces = change_at(3)
    assert [changed_face_at(6), changed_face_at(7)] == faces


def test_a_pool_of_other_faces(tmp_path):
    drawn = picture_pool(tmp_path, 4, size=16, workers=1, faces=changed_face_at)
    assert np.array_equal(drawn, pictures_of([changed_face_at(i) for i in range(4)], 16))
