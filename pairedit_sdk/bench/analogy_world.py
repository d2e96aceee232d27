"""The drawn world of changes as analogies to train on, and the analogies that are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from PIL import Image

from pairedit_sdk.bench.analogy_answers import pictures_of
from pairedit_sdk.builtin.faces.analogies import drawn_analogy
from pairedit_sdk.builtin.faces.coarse import coarse_caption
from pairedit_sdk.builtin.faces.world import task_at
from pairedit_sdk.builtin.faces.world_pool import world_pictures
from pairedit_sdk.io.cores import usable_cores
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.relations import Relation, Relations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Change = tuple[str, str]
_Pair = tuple[Image.Image, Image.Image]


def world_relations(folder: Path, tasks: int, pairs: int) -> Relations:
    """The first tasks of the world, each shown on as many people; drawn once, kept in a folder."""
    pictures = world_pictures(folder, tasks, pairs, workers=usable_cores())
    return Relations(
        [
            Relation(_Drawn(pictures[number]), task.caption, task.kind)
            for number, task in enumerate(map(task_at, range(tasks)))
        ]
    )


class _Drawn(Sequence[_Pair]):
    """Pairs of pictures that are made of an array [P, 2, H, W, 3] when they are looked at."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> _Pair: ...

    @overload
    def __getitem__(self, index: slice) -> list[_Pair]: ...

    def __getitem__(self, index: int | slice) -> _Pair | list[_Pair]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        before, after = self._pictures[index]
        return Image.fromarray(before), Image.fromarray(after)


@dataclass(frozen=True)
class Asked:
    """An analogy that is asked.

    Attributes:
        group: of its change.
        change: attribute and value.
        analogy: pictures; its caption says the change.
        coarse: which attribute changes, and not to what.
    """

    group: str
    change: Change
    analogy: Analogy
    coarse: str


def asked_analogies(groups: Mapping[str, Sequence[Change]], each: int) -> list[Asked]:
    """As many of every change of every group, on people who are in no training."""
    found = []
    for group, changes in groups.items():
        for change in changes:
            for number in range(each):
                drawn = drawn_analogy(change, number, "asked")
                pictures = pictures_of(drawn)
                found.append(Asked(group, change, pictures, coarse_caption(change)))
    return found


def shuffled(asked: Sequence[Asked]) -> list[Asked]:
    """The same b, each with a and a′ of an analogy of another attribute."""
    found = []
    for number, one in enumerate(asked):
        others = [asked[(number + k) % len(asked)] for k in range(1, len(asked))]
        other = next(o for o in (*others, one) if o.change[0] != one.change[0] or o is one)
        shown = replace(one.analogy, a=other.analogy.a, a_prime=other.analogy.a_prime)
        found.append(replace(one, analogy=shown))
    return found
