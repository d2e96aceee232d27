"""Drawn changes: one person, two values of one attribute that both show."""

from dataclasses import asdict

import numpy as np

from pairedit_sdk.builtin.build import pool
from pairedit_sdk.builtin.build.pool import picture_pool
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.builtin.faces.numbered import change_at, changed_face_at, face_at, pictures_of


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


def test_pictures_kept_in_larger_parts_are_not_taken_for_these(tmp_path, monkeypatch):
    jobs = []
    monkeypatch.setattr(pool, "get_context", lambda _: _Here(jobs))
    monkeypatch.setattr(pool, "CHUNK", 2)
    first = picture_pool(tmp_path, 2, size=16, workers=1)
    monkeypatch.setattr(pool, "CHUNK", 3)
    assert {path.name for path in tmp_path.iterdir()} == {"0000000-2-16.npy"}
    jobs.clear()
    again = picture_pool(tmp_path, 5, size=16, workers=8)
    assert np.array_equal(again[:2], first)
    assert np.array_equal(again, pictures_of([face_at(i) for i in range(5)], 16))
    assert jobs == [2, 0, 3]  # as many processes as parts, then where each part begins


class _Here:
    """Processes that are this one."""

    def __init__(self, seen):
        self.seen = seen

    def Pool(self, processes):  # noqa: N802
        self.seen.append(processes)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap_unordered(self, work, jobs):
        for job in jobs:
            self.seen.append(job[1])
            yield work(job)
