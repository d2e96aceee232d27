"""Progress of an edit: who wants to know of it is told (done, total)."""

from __future__ import annotations

from collections.abc import Callable

StepHook = Callable[[int, int], None]


def no_hook(done: int, total: int) -> None:
    """Progress is not wanted."""


def part_of(hook: StepHook, index: int, count: int) -> StepHook:
    """The hook of part number ``index`` of ``count`` equal parts of one long step."""
    return lambda done, total: hook(index * total + done, count * total)
