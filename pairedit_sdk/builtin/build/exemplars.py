"""Pairs that show the same change on other people, among the drawn changes of a pool."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pairedit_sdk.builtin.faces.analogies import UNSEEN
from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from pairedit_sdk.builtin.build.clip import Changes


class Exemplars:
    """Finds for a change of one person the same change of another.

    Two changes are the same if they give the same attribute the same value, as in
    :mod:`pairedit_sdk.builtin.faces.analogies`, whose :data:`UNSEEN` ones are never shown. Their
    reverse is not either: what is unseen would be seen in it.

    Args:
        changes: the pool; each of its changes has a person of its own.

    Attributes:
        alike: by attribute and value, the number and the side of each picture that has the value
            at the end of a change, where there are two at least.

    Raises:
        UsageError: no change of the pool is there twice.
    """

    def __init__(self, changes: Changes) -> None:
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for number, (name, pair) in enumerate(zip(changes.attributes, changes.faces, strict=True)):
            values = [(name, str(getattr(face, name))) for face in pair]
            if not set(values) & set(UNSEEN):
                for side, value in enumerate(values):
                    found.setdefault(value, []).append((number, side))
        self.alike = {value: places for value, places in found.items() if len(places) > 1}
        if not self.alike:
            raise UsageError(
                f"None of {len(changes.faces)} drawn changes is there on two people",
                expected="a few hundred changes",
                next_step="Give --changes a larger number",
            )

    def draw(self, rng: random.Random) -> tuple[tuple[int, int], tuple[int, int]]:
        """Number and side of b′ and of a′, of two people; every change is equally likely."""
        b, a = rng.sample(self.alike[rng.choice(list(self.alike))], 2)
        return b, a
