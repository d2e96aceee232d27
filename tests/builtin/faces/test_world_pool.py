"""The drawn world's pictures on disk."""

import numpy as np

from pairedit_sdk.builtin.faces import world_pool
from pairedit_sdk.builtin.faces.numbered import pictures_of
from pairedit_sdk.builtin.faces.world import task_pairs
from pairedit_sdk.builtin.faces.world_pool import world_pictures


def test_pictures_are_those_of_the_tasks_and_what_is_ready_can_be_read(tmp_path):
    assert world_pictures(tmp_path, 30, 1, size=16, ready=True).shape == (0, 1, 2, 16, 16, 3)
    drawn = world_pictures(tmp_path, 3, 1, size=16, workers=1)
    assert drawn.shape == (3, 1, 2, 16, 16, 3)
    for task in range(3):
        assert np.array_equal(drawn[task, 0], pictures_of(task_pairs(task, 1)[0], 16))
    ready = world_pictures(tmp_path, 60, 1, size=16, ready=True)
    assert len(ready) == world_pool.CHUNK
    assert np.array_equal(ready[:3], drawn)
