"""What each training step of the built-in Kontext model shows, by stated shares."""

from __future__ import annotations

from pairedit_sdk.errors import UsageError

#: The share of captions among all steps, unless another is asked for.
CAPTIONS = 0.25
#: How the other steps are divided.
EDITS = {"one": 0.5, "three": 0.4, "grid": 0.1}
#: How many rows a step has, as a share of a usual step's: more pictures take longer.
ROWS = {"one": 1.0, "three": 0.5, "caption": 1.0, "grid": 0.2}
_GOLDEN = (5**0.5 - 1) / 2


def shares_of(captions: float = CAPTIONS) -> dict[str, float]:
    """The share of the steps that each turn has; they sum to 1.

    Args:
        captions: of the steps with a caption and no reference; the rest are edits.

    Raises:
        UsageError: a share that is not between 0 and 1.
    """
    if not 0 <= captions <= 1:
        raise UsageError(
            f"The share of captions is {captions:g}",
            expected="0 to 1",
            next_step="Give --captions a share, such as 0.25",
        )
    edits = {turn: (1 - captions) * share for turn, share in EDITS.items()}
    return {**edits, "caption": captions}


def turn_of(step: int, shares: dict[str, float]) -> str:
    """The turn of a step, a function of the step and the shares alone.

    The multiples of the golden ratio spread evenly over 0 … 1. So a few dozen steps already hold
    each turn in about its share, and no turn comes in bursts.
    """
    left = step * _GOLDEN % 1
    for turn, share in shares.items():
        left -= share
        if left < 0:
            return turn
    return max(shares, key=lambda turn: shares[turn])  # shares sum to 1 up to rounding
