from __future__ import annotations

import pytest
from PIL import Image

from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.pairs.direction import Change, change
from pairedit_sdk.pairs.mixed import Region, region, unlike_all_others

FACES = [Face(skin="light"), Face(skin="dark", hair_style="curly"), Face(skin="tan", hat="cap")]


def seen(face: Face, **edit: str) -> tuple[Change, Region]:
    before, after = face.draw(128), face.with_(**edit).draw(128)
    found = change(before, after)
    assert found is not None
    return found, region(before, after)


def test_where_a_picture_changes() -> None:
    before = Image.new("RGB", (128, 128))
    after = before.copy()
    after.paste((255, 255, 255), (0, 0, 64, 128))
    found = region(before, after)
    places = found.places.reshape(32, 32)
    assert found.area == pytest.approx(0.5, abs=0.1)
    assert places[:, :8].min() > 0.9
    assert places[:, 24:].max() < 0.01


def test_one_edit_on_three_people() -> None:
    assert unlike_all_others([seen(face, glasses="round") for face in FACES]) == []


def test_the_one_with_another_edit_is_named() -> None:
    one, two, three = FACES
    sets = [seen(one, glasses="round"), seen(two, background="pink"), seen(three, glasses="round")]
    assert unlike_all_others(sets) == [1]


def test_what_cannot_be_compared_is_left_out() -> None:
    one, two, _ = FACES
    pairs = [seen(one, glasses="round"), seen(two, background="pink"), None]
    assert unlike_all_others(pairs) == []
    assert unlike_all_others([]) == []
