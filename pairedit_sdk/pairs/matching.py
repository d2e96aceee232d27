"""Pictures handed in as two lists: which before picture belongs to which after picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pairedit_sdk.errors import InputError, counted
from pairedit_sdk.pairs.folder import marked, matched, natural


def match_files(
    befores: Sequence[str | Path], afters: Sequence[str | Path]
) -> list[tuple[str, Path, Path]]:
    """Pairs of two lists of files: by their names, or else in the order of their names.

    A file called NAME_before or NAME_after is on that side, whichever list it is in.

    Returns:
        (name, before, after), in the natural order of the before pictures' names. A pair has their
        common name, or else its number.

    Raises:
        InputError: there are none, the lists are not equally long, or only some names agree.
    """
    sides: dict[str, list[tuple[str, Path]]] = {"before": [], "after": []}
    for side, files in (("before", befores), ("after", afters)):
        for file in map(Path, files):
            name, said = marked(file.stem)
            sides[said or side].append((name, file))
    one, two = (sorted(side, key=lambda item: natural(item[0])) for side in sides.values())
    keys = [[matched(name) for name, _ in side] for side in (one, two)]
    common = set(keys[0]) & set(keys[1])
    if not one or len(one) != len(two):
        raise InputError(
            f"There {'is' if len(one) == 1 else 'are'} {counted(len(one), 'before picture')} and "
            f"{counted(len(two), 'after picture')}",
            expected="as many of each, one or more"
            + _alone([*one, *two] if common else [], common),
            next_step="Add the missing pictures, or take the others out",
        )
    if all(len(set(side)) == len(common) == len(side) for side in keys):
        after_of = {matched(name): file for name, file in two}
        return [(name, file, after_of[matched(name)]) for name, file in one]
    if common:
        raise InputError(
            "Some of the pictures belong together by their names, and others do not",
            expected="equal names for before and after" + _alone([*one, *two], common),
            next_step="Name a pair's files alike, or NAME_before and NAME_after",
        )
    rows = zip(one, two, strict=True)
    return [(str(k), file, other) for k, ((_, file), (_, other)) in enumerate(rows, 1)]


def _alone(files: list[tuple[str, Path]], common: set[str]) -> str:
    """The files that have no partner by name, as the end of a sentence."""
    lone = [f"'{file.name}'" for name, file in files if matched(name) not in common]
    return f"; without a partner: {', '.join(lone[:4])}" if lone else ""
