"""Analogies found in a pool of changes: the same change, other people, nothing kept back."""

import random

import numpy as np
import pytest

from pairedit_sdk.builtin.build.clip import Changes
from pairedit_sdk.builtin.build.exemplars import Exemplars
from pairedit_sdk.builtin.faces.analogies import SEEN, UNSEEN
from pairedit_sdk.builtin.faces.numbered import change_at
from pairedit_sdk.errors import UsageError

COUNT = 1200


def _pool(numbers):
    found = [change_at(i) for i in numbers]
    pictures = np.zeros((len(found), 2, 4, 4, 3), dtype=np.uint8)
    return Changes(pictures, [(a, b) for _, a, b in found], [name for name, _, _ in found])


@pytest.fixture(scope="module")
def changes():
    return _pool(range(COUNT))


def _values(changes, number):
    name = changes.attributes[number]
    return [(name, getattr(face, name)) for face in changes.faces[number]]


def test_both_pairs_show_the_same_change_on_other_people(changes):
    exemplars, rng = Exemplars(changes), random.Random(0)
    for _ in range(500):
        (b, side), (a, other) = exemplars.draw(rng)
        assert b != a
        assert changes.faces[b] != changes.faces[a]
        assert _values(changes, b)[side] == _values(changes, a)[other]
        assert _values(changes, b)[1 - side] != _values(changes, b)[side]


def test_what_is_kept_back_is_at_neither_end_of_any_change(changes):
    places = [place for group in Exemplars(changes).alike.values() for place in group]
    assert not {value for number, _ in places for value in _values(changes, number)} & set(UNSEEN)


def test_every_other_change_can_be_drawn(changes):
    assert set(SEEN) <= set(Exemplars(changes).alike)


def test_the_same_seed_draws_the_same(changes):
    drawn = [
        [Exemplars(changes).draw(rng) for _ in range(20)]
        for rng in (random.Random(1), random.Random(1), random.Random(2))
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_a_pool_without_two_alike_is_refused():
    with pytest.raises(UsageError, match="1 drawn changes") as refused:
        Exemplars(_pool([0]))
    assert "--changes" in str(refused.value)
