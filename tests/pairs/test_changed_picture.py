from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from pairedit_sdk.pairs.changed_picture import COVER, TINT, changed_picture
from pairedit_sdk.pairs.pair_report import changed_area
from pairedit_sdk.pairs.pair_set import PairSet


def pair_of(before: Image.Image, after: Image.Image) -> PairSet:
    return PairSet.from_images([(before, after)])


def test_what_changes_is_tinted_and_nothing_else() -> None:
    before = Image.new("RGB", (200, 120), (90, 120, 60))
    after = before.copy()
    after.paste((200, 20, 20), (40, 30, 80, 70))
    (pair,) = pair_of(before, after)
    drawn = np.asarray(changed_picture(pair), dtype=float)
    assert drawn.shape == (120, 200, 3)
    wanted = COVER * np.array(TINT) + (1 - COVER) * np.array((200, 20, 20))
    assert np.abs(drawn[50, 60] - wanted).max() <= 2
    far = np.ones((120, 200), dtype=bool)
    far[20:80, 30:90] = False
    assert (drawn[far] == (90, 120, 60)).all()


def test_as_much_is_tinted_as_the_check_counts(face_pairs: Callable[..., PairSet]) -> None:
    for pair in face_pairs({"glasses": "round"}):
        changed = (np.asarray(changed_picture(pair)) != np.asarray(pair.after)).any(axis=2)
        area, _ = changed_area(pair.before, pair.after)
        assert 0.9 * area <= changed.mean() <= 2.0 * area


def test_equal_pictures_are_left_alone() -> None:
    picture = Image.effect_noise((64, 64), 50).convert("RGB")
    (pair,) = pair_of(picture, picture)
    assert changed_picture(pair).tobytes() == picture.tobytes()
