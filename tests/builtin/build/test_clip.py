"""What the image encoder learns from changes."""

import random
from collections import Counter

import numpy as np
import torch

from pairedit_sdk.builtin.build.clip import Changes, _moved, direction_loss
from pairedit_sdk.builtin.faces.numbered import change_at


def _changes(count):
    found = [change_at(i) for i in range(count)]
    pictures = np.zeros((count, 2, 4, 4, 3), dtype=np.uint8)
    return Changes(pictures, [(a, b) for _, a, b in found], [name for name, _, _ in found])


def test_every_change_is_drawn_twice_and_next_to_itself():
    changes = _changes(300)

    def change(number):
        name = changes.attributes[number]
        return name, *(getattr(face, name) for face in changes.faces[number])

    chosen = changes.draw(random.Random(0), 12)
    kinds = [change(number) for number in chosen]
    assert len(set(chosen)) == 24
    assert kinds[::2] == kinds[1::2]
    assert set(Counter(kinds).values()) == {2}


def test_fewer_changes_than_asked_for_are_all_drawn():
    changes = _changes(60)
    chosen = changes.draw(random.Random(0), 1000)
    assert len(chosen) == 2 * sum(len(kinds) for kinds in changes.kinds.values())


def test_the_same_direction_costs_least():
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(8, 16, generator=generator)
    directions = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0][:4]
    same = torch.stack([before, before + directions.repeat_interleave(2, 0)], dim=1)
    other = torch.stack([before, before + directions.repeat(2, 1)], dim=1)
    loss, right = direction_loss(same)
    assert right == 1
    assert loss < 1e-3 < direction_loss(other)[0]


def test_both_pictures_of_a_pair_move_alike():
    rng = np.random.default_rng(0)
    one = rng.integers(1, 255, (6, 1, 16, 16, 3), dtype=np.uint8)
    moved = _moved(np.concatenate([one, one], axis=1), random.Random(1))
    assert moved.shape == (12, 16, 16, 3)
    assert np.array_equal(moved[::2], moved[1::2])
    assert not np.array_equal(moved[::2], one[:, 0])
