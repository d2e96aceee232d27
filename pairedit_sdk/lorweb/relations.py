"""Analogies that pairs of one change make of each other, with the pictures they have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, overload, runtime_checkable

from pairedit_sdk.lorweb.analogies import Analogy

if TYPE_CHECKING:
    from PIL import Image


@runtime_checkable
class SharedPictures(Protocol):
    """Analogies that have pictures in common, so that each is encoded once."""

    @property
    def all_names(self) -> Sequence[str]:
        """Of all pictures."""

    @property
    def captions(self) -> Sequence[str]:
        """Of all analogies."""

    def names(self, index: int) -> tuple[str, str, str, str]:
        """Of the pictures a, a′, b and b′ of an analogy."""

    def picture(self, name: str) -> Image.Image:
        """The picture of that name."""


@dataclass(frozen=True)
class Relation:
    """Pairs that all show one change.

    Attributes:
        pairs: two or more pictures before and after it.
        caption: what is asked for, in words; may be empty.
        name: of the change.
    """

    pairs: Sequence[tuple[Image.Image, Image.Image]]
    caption: str = ""
    name: str = ""


class Relations(Sequence[Analogy]):
    """The analogies that pairs of one change make of each other: every pair is answered with every
    other pair of its relation as the example, P (P − 1) analogies for P pairs.

    Args:
        relations: each with the same number of pairs.

    Raises:
        ValueError: no relation, or not the same number, two or more, of pairs in all.
    """

    def __init__(self, relations: Sequence[Relation]) -> None:
        counts = {len(relation.pairs) for relation in relations}
        if len(counts) != 1 or min(counts) < 2:
            raise ValueError(
                f"relations: expected two or more pairs in each, and as many in all; got {counts}"
            )
        self.relations, self.pairs = relations, counts.pop()
        self._two = [(i, j) for j in range(self.pairs) for i in range(self.pairs) if i != j]

    def __len__(self) -> int:
        return len(self.relations) * len(self._two)

    @overload
    def __getitem__(self, index: int) -> Analogy: ...

    @overload
    def __getitem__(self, index: slice) -> list[Analogy]: ...

    def __getitem__(self, index: int | slice) -> Analogy | list[Analogy]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        relation, (shown, asked) = self._place(index)
        (a, a_prime), (b, b_prime) = relation.pairs[shown], relation.pairs[asked]
        return Analogy(a, a_prime, b, b_prime, relation.caption, relation.name)

    @property
    def all_names(self) -> list[str]:
        """Of all pictures: relation, pair and side."""
        return [
            f"{r}/{p}/{side}"
            for r in range(len(self.relations))
            for p in range(self.pairs)
            for side in (0, 1)
        ]

    @cached_property
    def captions(self) -> list[str]:
        """Of all analogies."""
        return [relation.caption for relation in self.relations for _ in self._two]

    def names(self, index: int) -> tuple[str, str, str, str]:
        """Of the pictures a, a′, b and b′ of an analogy."""
        number = range(len(self))[index] // len(self._two)
        shown, asked = self._two[index % len(self._two)]
        own = f"{number}/{shown}", f"{number}/{asked}"
        return f"{own[0]}/0", f"{own[0]}/1", f"{own[1]}/0", f"{own[1]}/1"

    def picture(self, name: str) -> Image.Image:
        """The picture of that name."""
        relation, pair, side = map(int, name.split("/"))
        return self.relations[relation].pairs[pair][side]

    @cached_property
    def digest(self) -> str:
        """A short hash of the pictures and captions themselves."""
        found = hashlib.sha256()
        for relation in self.relations:
            for picture in (side for pair in relation.pairs for side in pair):
                found.update(picture.tobytes())
            found.update(f"{relation.caption}\n".encode())
        return found.hexdigest()[:16]

    def _place(self, index: int) -> tuple[Relation, tuple[int, int]]:
        number = range(len(self))[index]
        return self.relations[number // len(self._two)], self._two[number % len(self._two)]
