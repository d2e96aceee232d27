"""The drawn world: what its changes show, and what they never show."""

import math
from collections import Counter

import numpy as np
import pytest

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.faces.analogies import NEW_FORMS, NEW_THINGS, NEW_VALUES, SEEN
from pairedit_sdk.builtin.faces.canvas import PALETTES, colour_of
from pairedit_sdk.builtin.faces.coarse import coarse_caption
from pairedit_sdk.builtin.faces.colours import is_hex
from pairedit_sdk.builtin.faces.face import ATTRIBUTES
from pairedit_sdk.builtin.faces.held_out import is_brown
from pairedit_sdk.builtin.faces.world import SHARES, task_at, task_pairs

COUNT = 3000


@pytest.fixture(scope="module")
def tasks():
    return [task_at(k) for k in range(COUNT)]


def test_a_task_and_its_people_are_always_the_same_and_people_differ():
    assert task_at(3) == task_at(3) != task_at(3, "test")
    pairs = task_pairs(3, 4)
    assert pairs == task_pairs(3, 6)[:4]
    assert len(set(pairs)) == 4


def test_every_kind_has_its_share(tasks):
    counts = Counter(task.kind for task in tasks)
    for kind, share in SHARES.items():
        assert counts[kind] / COUNT == pytest.approx(share, abs=0.03)
    assert len({repr(task) for task in tasks}) > 2000


def test_nothing_that_is_kept_back_is_ever_shown(tasks):
    for index, task in enumerate(tasks):
        (faces,) = task_pairs(index, 1)
        for face in faces:
            for name, value in (*NEW_VALUES, *NEW_THINGS):
                assert getattr(face, name) != value
            for name, value in NEW_VALUES:
                if is_hex(getattr(face, name)):
                    found = colour_of(name, getattr(face, name))
                    assert math.dist(found, PALETTES[name][value]) > 75
            if face.tone and face.tone.colours:
                assert not is_brown(face.tone.colours[len(face.tone.colours) // 2])
        for name, value in NEW_FORMS:
            ends = {getattr(face, name) for face in faces}
            assert value not in ends or len(ends) == 1, task


def test_a_pair_differs_in_nothing_but_its_changes(tasks):
    for index in range(300):
        ((before, after),) = task_pairs(index, 1)
        names = {name for change in tasks[index].changes for name in change.after}
        fields = before.__dataclass_fields__
        assert {n for n in fields if getattr(before, n) != getattr(after, n)} == names


def test_every_change_shows_in_the_picture():
    for index in range(150):
        before, after = (np.asarray(f.draw(128)).astype(int) for f in task_pairs(index, 1)[0])
        assert (np.abs(before - after).max(axis=2) > 8).sum() >= 20, task_at(index)


def test_captions_say_which_attribute_in_known_words_and_never_a_value(tasks):
    tokenizer = parts.tokenizer(begin=False, instructions=True)
    values = {v for values in ATTRIBUTES.values() for v in values} - {"photo"}
    said = {task.caption for task in tasks} | {coarse_caption(change) for change in SEEN}
    for caption in said:
        assert tokenizer.unk_token_id not in tokenizer(caption).input_ids, caption
        assert not set(caption.split()) & values, caption


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("glasses", "sunglasses"), "add glasses"),
        (("hat", "top"), "add a hat"),
        (("hat", "none"), "remove the hat"),
        (("beard", "mustache"), "add a beard"),
        (("style", "sepia"), "turn it into a photo"),
        (("hair_color", "blue"), "make the hair"),
        (("age", "old"), "make the person"),
    ],
)
def test_coarse_words(change, said):
    assert coarse_caption(change) == said
