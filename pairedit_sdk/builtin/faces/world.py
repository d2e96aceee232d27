"""A world of changes: tasks without end, each one change that any person can be shown with.

Most of them have no name. Colours are any colours, degrees are any degrees, two things change at
once, marks of any shape lie anywhere, and the whole picture gets another tone; each of them
forwards or backwards. What is held out (:mod:`.holdouts`) is in no task, and on no person of one.
What the after picture shows and b does not tell is the same for all people of a task, such as the
colour of a hat that is put on: an analogy can be answered from its three pictures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.canvas import BACKGROUND, CLOTH, EYES, HAIR, LIPS, colour_of
from pairedit_sdk.builtin.faces.face import Face, sample_face, visible
from pairedit_sdk.builtin.faces.holdouts import (
    distance,
    is_held_out,
    is_like_sepia,
    shows_held_out,
    without_held_out,
)
from pairedit_sdk.builtin.faces.instructions import coarse_instruction
from pairedit_sdk.builtin.faces.marks import KINDS as SHAPES
from pairedit_sdk.builtin.faces.marks import Mark
from pairedit_sdk.builtin.faces.tones import Tone, hex_colour

#: People that are drawn before a task is given up.
TRIES = 60
#: Colours that differ by less in RGB are not a change that is seen.
VISIBLE = 70.0
_PALETTES = {
    "hair_color": HAIR,
    "hat_color": CLOTH,
    "shirt_color": CLOTH,
    "lipstick": LIPS,
    "background": BACKGROUND,
    "eye_color": EYES,
}
_ABSENT = ("none", "no")
#: How far each degree goes, and what the person needs for it.
_DEGREES: dict[str, tuple[float, float, Mapping[str, str]]] = {
    "ageing": (0.0, 2.4, {"age": "old"}),
    "fullness": (0.0, 2.2, {"chubby": "yes"}),
    "hat_size": (0.75, 1.25, {}),
    "glasses_size": (0.75, 1.3, {}),
    "eye_scale": (0.65, 1.6, {}),
    "nose_scale": (0.6, 1.8, {}),
    "mouth_scale": (0.6, 1.5, {}),
}
#: The least difference of two degrees, as a share of their range.
_STEP = 0.4
_WORN = {"hat_size": "hat", "glasses_size": "glasses"}
#: Where marks lie: x and y in head coordinates, half the size, whether they lie behind the head.
_PLACES: tuple[tuple[tuple[float, float], tuple[float, float], tuple[float, float], bool], ...] = (
    ((-0.3, 0.3), (-0.42, -0.2), (0.05, 0.16), False),  # forehead
    ((0.18, 0.33), (0.08, 0.3), (0.04, 0.11), False),  # cheek
    ((-0.1, 0.1), (0.42, 0.55), (0.04, 0.09), False),  # chin
    ((-0.08, 0.08), (0.02, 0.14), (0.04, 0.09), False),  # nose
    ((-0.45, 0.45), (0.78, 0.95), (0.06, 0.2), False),  # shirt
    ((0.6, 0.85), (-0.8, 0.4), (0.08, 0.2), True),  # beside the head
    ((-0.85, -0.6), (-0.8, 0.4), (0.08, 0.2), True),
    ((0.36, 0.5), (-0.15, 0.25), (0.05, 0.12), False),  # ear
    ((-0.35, 0.35), (-0.6, 0.4), (0.2, 0.5), False),  # across the face, as a line
)


@dataclass(frozen=True)
class Rule:
    """A part of a task: what a person has before and after.

    Attributes:
        before, after: attributes of the face; a before that is a function draws one that differs
            from person to person.
        shown: attributes that have to be visible before, and after.
        kept: what all people of the task have, before and after.
        caption: which attribute changes, in words.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    shown: tuple[frozenset[str], frozenset[str]]
    caption: str
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One change.

    Attributes:
        kind: "colour", "named", "two", "degree", "marks" or "tone".
        rules: one, or two for two changes at once.
        forwards: whether it is shown from before to after.
    """

    kind: str
    rules: tuple[Rule, ...]
    forwards: bool = True

    @property
    def caption(self) -> str:
        """What is asked for, without what it is to become."""
        return " and ".join(rule.caption for rule in self.rules)

    def pair(self, rng: random.Random) -> tuple[Face, Face]:
        """A person before and after.

        Raises:
            ValueError: nobody can be shown with this task, as one change hides the other.
        """
        for _ in range(TRIES):
            before, after = self._drawn(rng)
            if not shows_held_out(before) and not shows_held_out(after):
                shown = [
                    (rule.shown[n], side)
                    for rule in self.rules
                    for n, side in enumerate((before, after))
                ]
                if all(visible(side, name) for names, side in shown for name in names):
                    return (before, after) if self.forwards else (after, before)
        raise ValueError(f"Nobody can be shown with {self}")

    def _drawn(self, rng: random.Random) -> tuple[Face, Face]:
        """Any person before and after, whether it shows or not."""
        # Nearly everybody has something that is held out, which would be drawn in vain.
        face = without_held_out(sample_face(rng, style="photo"), rng)
        for rule in self.rules:
            face = face.with_(**rule.kept)
        before = face
        for rule in self.rules:
            given = {
                n: value(rng) if callable(value) else value for n, value in rule.before.items()
            }
            before = before.with_(**given)
        after = before
        for rule in self.rules:
            after = after.with_(**rule.after)
        return before, after


def task_at(index: int, split: str = "train") -> Task:
    """Task number ``index`` of a split; splits never share a draw."""
    rng = random.Random(f"task-{split}-{index}")
    kind = rng.choices(list(_KINDS), weights=[share for share, _ in _KINDS.values()])[0]
    while True:
        task = _KINDS[kind][1](rng)
        with suppress(ValueError):
            task.pair(random.Random(f"probe-{split}-{index}"))
            return task


def task_pairs(index: int, count: int, split: str = "train") -> list[tuple[Face, Face]]:
    """The first ``count`` people of a task, before and after."""
    rng = random.Random(f"pairs-{split}-{index}")
    task = task_at(index, split)
    return [task.pair(rng) for _ in range(count)]


#: People of each task in a pool of pictures.
PAIRS = 4


def world_face_at(index: int) -> Face:
    """The faces of all tasks one after the other, :data:`PAIRS` people each before and after."""
    place, side = divmod(index, 2)
    task, person = divmod(place, PAIRS)
    return _people(task)[person][side]


@lru_cache(maxsize=8)
def _people(task: int) -> list[tuple[Face, Face]]:
    return task_pairs(task, PAIRS)


def _colour(rng: random.Random) -> Task:
    return Task("colour", (_colour_rule(rng),))


def _colour_rule(rng: random.Random, but: frozenset[str] = frozenset()) -> Rule:
    name = rng.choice([name for name in _PALETTES if name not in but])
    palette = _PALETTES[name]
    while True:
        value = hex_colour(rng.random(), rng.random() ** 0.6, 0.12 + 0.88 * rng.random() ** 0.7)
        if not is_held_out(name, value):
            break
    target = colour_of({}, value)

    def other(own: random.Random) -> str:
        """What a person has before it: any colour of the palette or any other one."""
        while True:
            drawn = own.choice([n for n in VALUES[name] if n not in _ABSENT])
            if own.random() < 0.4:
                drawn = hex_colour(own.random(), own.random(), 0.2 + 0.8 * own.random())
            seen = colour_of(palette, drawn)
            if not is_held_out(name, drawn) and distance(seen, target) >= VISIBLE:
                return drawn

    before: dict[str, Any] = {name: other}
    if name == "lipstick" and rng.random() < 0.7:
        before = {name: "none"}
    both = frozenset({name})
    kept = _worn(rng, name)
    return Rule(before, {name: value}, (both, both), coarse_instruction(name, value), kept)


def _worn(rng: random.Random, name: str) -> dict[str, str]:
    """A hat for everybody where the colour of hats changes: otherwise few people have one."""
    return {"hat": rng.choice(["cap", "beanie"])} if name == "hat_color" else {}


def _named(rng: random.Random) -> Task:
    return Task("named", (_named_rule(rng),), forwards=rng.random() < 0.72)


def _named_rule(rng: random.Random, but: frozenset[str] = frozenset()) -> Rule:
    while True:
        name = rng.choice([name for name in VALUES if name not in but and name not in _PALETTES])
        values = [v for v in VALUES[name] if not is_held_out(name, v)]
        absent = [v for v in values if v in _ABSENT or (name, v) in _PLAIN]
        after = [v for v in values if v not in absent]
        if name != "skin" and after:
            break
    value = rng.choice(after)
    others = absent or [v for v in values if v != value]
    kept = {}
    if name == "hat":
        kept["hat_color"] = _hat_colour(rng)

    def other(own: random.Random) -> str:
        return own.choice(others)

    both = frozenset({name})
    caption = coarse_instruction(name, value)
    return Rule({name: other}, {name: value}, (both, both), caption, kept)


_PLAIN = {("age", "young"), ("eye_size", "medium"), ("mouth", "neutral"), ("style", "photo")}


def _hat_colour(rng: random.Random) -> str:
    return hex_colour(rng.random(), rng.random() ** 0.6, 0.15 + 0.85 * rng.random())


def _two(rng: random.Random) -> Task:
    first = _named_rule(rng) if rng.random() < 0.5 else _colour_rule(rng)
    names = frozenset({*first.after, *first.kept})
    if names & {"hat", "hat_color"}:
        names |= {"hat", "hat_color"}
    second = _colour_rule(rng, names) if rng.random() < 0.6 else _named_rule(rng, names)
    return Task("two", (first, second), forwards=True)


def _degree(rng: random.Random) -> Task:
    name = rng.choice(list(_DEGREES))
    low, high, needs = _DEGREES[name]
    while True:
        one, other = (round(rng.uniform(low, high), 3) for _ in range(2))
        if abs(one - other) >= _STEP * (high - low):
            break
    kept: dict[str, Any] = dict(needs)
    if name in _WORN:
        worn = _WORN[name]
        kept[worn] = rng.choice(
            [v for v in VALUES[worn] if v not in _ABSENT and not is_held_out(worn, v)]
        )
    if name == "fullness":
        kept["beard"] = "none"
    if name == "eye_scale":
        kept["glasses"] = "none"
    nothing = frozenset[str]()
    caption = coarse_instruction(name, "")
    return Task("degree", (Rule({name: one}, {name: other}, (nothing, nothing), caption, kept),))


def _marks(rng: random.Random) -> Task:
    marks = tuple(_mark(rng) for _ in range(rng.choice([1, 1, 2])))
    nothing = frozenset[str]()
    rule = Rule({"marks": ()}, {"marks": marks}, (nothing, nothing), "add it")
    forwards = rng.random() < 0.7
    if not forwards:
        rule = Rule(rule.before, rule.after, rule.shown, "remove it")
    return Task("marks", (rule,), forwards)


def _mark(rng: random.Random) -> Mark:
    *around, behind = rng.choice(_PLACES)
    x, y, size = (rng.uniform(*span) for span in around)
    across = around[2][1] >= 0.5
    kind = rng.choice(("stripe", "zigzag", "dots") if across else SHAPES)
    return Mark(
        kind,
        round(x, 3),
        round(y, 3),
        round(size, 3),
        angle=round(rng.uniform(-90, 90) if across else rng.uniform(-30, 30), 1),
        colour=hex_colour(rng.random(), rng.random() ** 0.6, 0.1 + 0.9 * rng.random() ** 0.7),
        outline=rng.random() < 0.3,
        mirrored=abs(x) > 0.15 and rng.random() < 0.5,
        behind=behind,
    )


def _tone(rng: random.Random) -> Task:
    nothing = frozenset[str]()
    forwards = rng.random() < 0.85
    if rng.random() < 0.25:
        after: dict[str, Any] = {"style": rng.choice(["sketch", "night"])}
        before: dict[str, Any] = {"style": "photo"}
    else:
        after, before = {"tone": _any_tone(rng)}, {"tone": None}
    caption = coarse_instruction("style", "")
    return Task("tone", (Rule(before, after, (nothing, nothing), caption),), forwards)


def _any_tone(rng: random.Random) -> Tone:
    kind = rng.choice(
        ("duotone", "duotone", "duotone", "tint", "tint", "saturation", "contrast", "brightness",
         "hue", "vignette", "blur")
    )  # fmt: skip
    up = rng.random() < 0.5
    amounts = {
        "saturation": rng.uniform(1.7, 2.6) if up else rng.uniform(0.0, 0.45),
        "contrast": rng.uniform(1.35, 1.9) if up else rng.uniform(0.3, 0.65),
        "brightness": rng.uniform(1.2, 1.5) if up else rng.uniform(0.4, 0.75),
        "hue": rng.uniform(40, 320),
        "vignette": rng.uniform(0.6, 1.0),
        "blur": rng.uniform(1.2, 3.0),
        "tint": rng.uniform(0.5, 1.0),
        "duotone": 1.0,
    }
    while True:
        hue, strength = rng.random(), rng.uniform(0.0, 0.8)
        shift = (hue + rng.uniform(-0.12, 0.12)) % 1
        colours: tuple[str, ...] = ()
        if kind == "duotone":
            colours = (
                hex_colour(hue, strength, rng.uniform(0.05, 0.3)),
                hex_colour(shift, strength, rng.uniform(0.4, 0.7)),
                hex_colour(shift, strength * 0.4, rng.uniform(0.85, 1.0)),
            )
        elif kind == "tint":
            colours = (hex_colour(hue, rng.uniform(0.35, 0.9), 1.0),)
        tone = Tone(kind, round(amounts[kind], 3), colours)
        if not is_like_sepia(tone):
            return tone


#: By its kind how often a task is drawn, and what draws it.
_KINDS: dict[str, tuple[float, Callable[[random.Random], Task]]] = {
    "colour": (0.25, _colour),
    "named": (0.25, _named),
    "two": (0.12, _two),
    "degree": (0.1, _degree),
    "marks": (0.16, _marks),
    "tone": (0.12, _tone),
}
