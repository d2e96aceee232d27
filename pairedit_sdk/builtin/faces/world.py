"""Thousands of kinds of change of drawn faces, each on as many people as are asked for.

Nothing that :mod:`~pairedit_sdk.builtin.faces.analogies` keeps back begins, ends or stands beside
any of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from pairedit_sdk.builtin.faces.canvas import SKIN, Colour, colour_of, from_hex, mix
from pairedit_sdk.builtin.faces.colours import is_hex
from pairedit_sdk.builtin.faces.drawing import lip_colour
from pairedit_sdk.builtin.faces.face import COLOURS, Face, Value, sample_face, visible
from pairedit_sdk.builtin.faces.held_out import apart, shows_kept_back
from pairedit_sdk.builtin.faces.marks import Mark
from pairedit_sdk.builtin.faces.world_changes import (
    Change,
    Choices,
    allowed_colour,
    colour_change,
    degree_change,
    marks_change,
    named_change,
    tone_change,
)

#: How often each kind is drawn.
SHARES: dict[str, float] = {
    "colour": 0.25,
    "named": 0.25,
    "two": 0.12,
    "degree": 0.12,
    "marks": 0.16,
    "tone": 0.10,
}
#: The least distance in RGB between a colour before and after, and of a mark from what it is on.
APART = 70.0
_MAKERS: dict[str, Callable[[random.Random], Change]] = {
    "colour": colour_change,
    "named": named_change,
    "degree": degree_change,
    "marks": marks_change,
    "tone": tone_change,
}
_TRIES = 400
#: Of so many people a task's change must show on so many.
_PROBES, _NEEDED = 60, 3


@dataclass(frozen=True)
class Task:
    """One relation between two pictures of a person.

    Attributes:
        kind: one of :data:`SHARES`.
        changes: one, or two of different attributes.
    """

    kind: str
    changes: tuple[Change, ...]

    @property
    def caption(self) -> str:
        """Which attribute changes, never to what."""
        return " and ".join(dict.fromkeys(change.caption for change in self.changes))

    def pair(self, rng: random.Random) -> tuple[Face, Face]:
        """A random person before and after.

        Raises:
            RuntimeError: the change shows on hardly anybody, which :func:`task_at` rules out.
        """
        for _ in range(_TRIES):
            if found := self._attempt(rng):
                return found
        raise RuntimeError(f"{self} shows on nobody of {_TRIES}")

    def _attempt(self, rng: random.Random) -> tuple[Face, Face] | None:
        """A person before and after, unless the change does not show on this one."""
        face = sample_face(rng, style="photo")
        for change in self.changes:
            face = face.with_(**_fitting(face, change.both, rng))
        for change in self.changes:
            if self.kind == "colour":
                face = face.with_(**_other_colours(change, rng))
            face = face.with_(**_fitting(face, change.before, rng))
        after = face
        for change in self.changes:
            after = after.with_(**change.after)
        if shows_kept_back(face) or shows_kept_back(after):
            return None
        names = [name for change in self.changes for name in change.after]
        shown = all(_shows(name, face, after) for name in names)
        return (face, after) if shown else None


def task_at(index: int, split: str = "train") -> Task:
    """Task number ``index`` of a split, always the same; splits share no draws."""
    rng = random.Random(f"task-{split}-{index}")
    kind = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    while True:
        if kind == "two":
            makers = [_MAKERS[k] for k in rng.sample(("colour", "named", "degree", "marks"), 2)]
        else:
            makers = [_MAKERS[kind]]
        task = Task(kind, tuple(make(rng) for make in makers))
        if len(task.changes) == 2 and task.changes[0].names & task.changes[1].names:
            continue
        shown = (None for _ in range(_PROBES) if task._attempt(rng))
        if len(list(islice(shown, _NEEDED))) == _NEEDED:
            return task


def task_pairs(task_index: int, count: int, split: str = "train") -> list[tuple[Face, Face]]:
    """The first ``count`` people of a task before and after; more of them begin with the same."""
    task = task_at(task_index, split)
    return [
        task.pair(random.Random(f"person-{split}-{task_index}-{number}")) for number in range(count)
    ]


def _fitting(face: Face, choices: Choices, rng: random.Random) -> dict[str, Value]:
    """What has to change so that every attribute is one of its choices."""
    return {
        name: rng.choice(values)
        for name, values in choices.items()
        if getattr(face, name) not in values
    }


def _other_colours(change: Change, rng: random.Random) -> dict[str, Value]:
    """One time in three, a person comes with a colour that has no name either."""
    (name,) = change.after
    return {name: allowed_colour(name, rng)} if rng.random() < 1 / 3 else {}


def _shows(name: str, before: Face, after: Face) -> bool:
    """Whether a change of a field can be seen."""
    if name == "marks":
        return all(_stands_out(mark, before) for mark in (*before.marks, *after.marks))
    if name in ("style", "tone") or name not in Face.__dataclass_fields__:
        return True
    if not (visible(before, name) and visible(after, name)):
        return False
    if name in COLOURS and is_hex(getattr(after, name)):
        return apart(_colour(before, name), _colour(after, name)) >= APART
    return True


def _colour(face: Face, name: str) -> Colour:
    return lip_colour(face) if name == "lipstick" else colour_of(name, getattr(face, name))


def _stands_out(mark: Mark, face: Face) -> bool:
    """Whether a mark's colour differs from that of everything it may be on."""
    back = colour_of("background", face.background)
    if mark.behind:
        ground = [back, mix(back, (255, 255, 255), 0.4)]
    elif mark.y > 0.7:
        ground = [colour_of("shirt_color", face.shirt_color), SKIN[face.skin]]
    else:
        ground = [SKIN[face.skin], mix(SKIN[face.skin], (96, 26, 16), 0.15)]
        if mark.y < 0 or face.beard != "none":
            ground.append(colour_of("hair_color", face.hair_color))
    return all(apart(from_hex(mark.colour), colour) >= APART for colour in ground)
