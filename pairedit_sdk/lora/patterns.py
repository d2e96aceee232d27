"""peft's patterns of layer names, matched in a time that no pattern can make long.

They are regular expressions, and come in files that anybody may have made. Python's own matcher
can take years over one of them. Here a pattern is a row of single characters, each once, optional
or repeated, and all rows are followed at the same time, character by character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

#: Longer patterns and names, and patterns of more alternatives, are none of layers.
LONGEST, MOST_ROWS = 300, 64

_ITEM = re.compile(r"(\\[dw]|\\[^A-Za-z0-9\s]|\[\^?[^\[\]\\^]+\]|[\w.-])([*+?]?)")
_GROUP = re.compile(r"\((?:\?:)?([^()]*)\)(?![*+?{])")


@dataclass(frozen=True)
class _Item:
    """A character of a pattern: which ones fit, and whether it may be left out or repeated."""

    fits: re.Pattern[str]
    optional: bool
    repeated: bool


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern is that of a layer's name or of the end of it, from a dot on.

    Args:
        pattern: characters, ``.``, ``\\d``, ``\\w`` and sets in brackets, each perhaps with ``*``,
            ``+`` or ``?`` after it; groups of alternatives; ``^`` before and ``$`` after it all.
        name: of a layer.

    Raises:
        ValueError: the pattern is none of these.
    """
    return any(_follows(row, name, from_start) for row, from_start in _rows(pattern))


@lru_cache(maxsize=4096)
def _rows(pattern: str) -> tuple[tuple[tuple[_Item, ...], bool], ...]:
    """The rows of a pattern, and whether each stands for the whole name alone."""
    if len(pattern) > LONGEST:
        raise ValueError("a pattern of a layer's name is too long")
    return tuple(
        (_items(row.removeprefix("^").removesuffix("$"), pattern), row.startswith("^"))
        for row in _alternatives(pattern)
    )


def _alternatives(pattern: str) -> list[str]:
    """The pattern without groups, once for each way through them."""
    pieces = _GROUP.split(pattern)  # text and the inside of a group by turns
    if len(pieces) == 1:
        ways = [pattern.split("|")]
    elif any("|" in piece for piece in pieces[::2]):
        raise ValueError(f"{pattern!r} is no pattern that is understood")
    else:
        ways = [piece.split("|") if k % 2 else [piece] for k, piece in enumerate(pieces)]
    if prod(map(len, ways)) > MOST_ROWS:
        raise ValueError(f"{pattern!r} has too many alternatives")
    return ["".join(way) for way in product(*ways)]


def _items(row: str, pattern: str) -> tuple[_Item, ...]:
    items, at = [], 0
    while at < len(row):
        found = _ITEM.match(row, at)
        if found is None:
            raise ValueError(f"{pattern!r} is no pattern that is understood")
        try:
            fits = re.compile(found[1])
        except re.error as error:
            raise ValueError(f"{pattern!r} is no pattern that is understood") from error
        items.append(_Item(fits, found[2] in ("*", "?"), found[2] in ("*", "+")))
        at = found.end()
    return tuple(items)


def _follows(row: tuple[_Item, ...], name: str, from_start: bool) -> bool:
    """Whether a row can be followed to its end by the name, or by what is after one of its dots.

    ``alive`` holds how many items may be done by now.
    """
    if len(name) > LONGEST:
        return False
    if not any(item.optional or item.repeated for item in row):  # nearly every pattern there is
        start = len(name) - len(row)
        if start < 0 or (start > 0 and (from_start or name[start - 1] != ".")):
            return False
        return all(item.fits.match(c) for item, c in zip(row, name[start:], strict=True))
    alive: set[int] = set()
    for at, character in enumerate([*name, ""]):
        if at == 0 or (name[at - 1] == "." and not from_start):
            alive.add(0)
        alive = _skipped(row, alive)
        if not character:
            break
        after = {k + 1 for k in alive if k < len(row) and row[k].fits.match(character)}
        again = {k for k in alive if k and row[k - 1].repeated}
        after |= {k for k in again if row[k - 1].fits.match(character)}
        alive = after
    return len(row) in alive


def _skipped(row: tuple[_Item, ...], alive: set[int]) -> set[int]:
    """The same with optional items left out."""
    reached = set(alive)
    for k, item in enumerate(row):
        if k in reached and item.optional:
            reached.add(k + 1)
    return reached
