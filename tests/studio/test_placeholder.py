from __future__ import annotations

from pairedit_sdk.studio.placeholder import SIDE, placeholder


def test_a_name_has_a_picture_of_its_own() -> None:
    one = placeholder("glasses")
    assert (one.mode, one.size) == ("RGB", (SIDE, SIDE))
    assert placeholder("glasses").tobytes() == one.tobytes()
    assert placeholder("hat").tobytes() != one.tobytes()
    assert len(one.getcolors(SIDE * SIDE) or []) > 1  # letters on a ground
