from __future__ import annotations

import pytest

from pairedit_sdk.errors import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("pair",), "0 pairs"),
        (1, ("pair",), "1 pair"),
        (1234, ("left-out pair",), "1234 left-out pairs"),
        (1, ("analogy", "analogies"), "1 analogy"),
        (2, ("analogy", "analogies"), "2 analogies"),
    ],
)
def test_a_number_takes_the_right_noun(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said
