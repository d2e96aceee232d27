"""The shares in which the Kontext model's training steps take turns."""

from collections import Counter

import pytest

from pairedit_sdk.builtin.build.turns import EDITS, ROWS, shares_of, turn_of
from pairedit_sdk.errors import UsageError


@pytest.mark.parametrize("captions", [0, 0.1, 0.25, 0.5, 1])
def test_each_turn_has_its_share_early_and_late(captions):
    shares = shares_of(captions)
    assert set(shares) == set(ROWS)
    assert shares["caption"] == captions
    assert sum(shares.values()) == pytest.approx(1)
    for first in (0, 100_000):
        counts = Counter(turn_of(step, shares) for step in range(first, first + 400))
        for turn, share in shares.items():
            assert counts[turn] / 400 == pytest.approx(share, abs=0.01)


def test_edits_keep_their_proportions_whatever_the_share_of_captions():
    for captions in (0, 0.25, 0.5):
        shares = shares_of(captions)
        rest = {turn: share / (1 - captions) for turn, share in shares.items() if turn != "caption"}
        assert rest == pytest.approx(EDITS)


def test_the_turn_is_a_function_of_the_step_and_the_share():
    shares = shares_of(0.25)
    turns = [turn_of(step, shares) for step in range(60)]
    assert turns == [turn_of(step, shares_of(0.25)) for step in range(60)]
    assert turns != [turn_of(step, shares_of(0.5)) for step in range(60)]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match="share of captions") as refused:
        shares_of(share)
    assert "0 to 1" in str(refused.value)
