"""Analogies of drawn faces by the change that they show, some of them kept back."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.face import Face, sample_face, visible
from pairedit_sdk.builtin.faces.instructions import instruction

_ABSENT = {"none", "no"}
#: Changes that begin with what a face has anyway are left out: there is no "before" of their own.
_PLAIN = {("age", "young"), ("eye_size", "medium"), ("mouth", "neutral"), ("style", "photo")}
#: What an analogy can show: an attribute, and the value that it gets.
CHANGES: tuple[tuple[str, str], ...] = tuple(
    (name, value)
    for name, values in VALUES.items()
    for value in values
    if value not in _ABSENT and (name, value) not in _PLAIN
)
#: Kept back: a value that an attribute gets while other values of it are shown (a colour).
NEW_VALUES: tuple[tuple[str, str], ...] = (
    ("hair_color", "blue"),
    ("background", "pink"),
    ("lipstick", "purple"),
    ("shirt_color", "yellow"),
)
#: Kept back: a thing or a look, while others of its kind are shown.
NEW_THINGS: tuple[tuple[str, str], ...] = (
    ("glasses", "sunglasses"),
    ("hat", "top"),
    ("style", "sepia"),
    ("beard", "mustache"),
)
#: Kept back: another form of what every person has, or of what is hardly seen.
NEW_FORMS: tuple[tuple[str, str], ...] = (
    ("earrings", "pearl"),
    ("mouth", "laughing"),
    ("hair_style", "curly"),
    ("freckles", "yes"),
)
#: Those that no basis may be trained on: one of most kinds.
UNSEEN: tuple[tuple[str, str], ...] = (
    *NEW_THINGS[:2],
    NEW_VALUES[0],
    *NEW_THINGS[2:],
    NEW_FORMS[0],
    NEW_VALUES[1],
    NEW_FORMS[1],
    NEW_VALUES[2],
    *NEW_FORMS[2:],
    NEW_VALUES[3],
)
SEEN: tuple[tuple[str, str], ...] = tuple(c for c in CHANGES if c not in UNSEEN)


@dataclass(frozen=True)
class DrawnAnalogy:
    """Records of a, a′, b and b′; ``caption`` says the change in words."""

    a: Face
    a_prime: Face
    b: Face
    b_prime: Face
    change: tuple[str, str]

    @property
    def caption(self) -> str:
        """The instruction that makes b′ of b."""
        return instruction(self.b_prime, self.change[0])


def drawn_analogy(change: tuple[str, str], index: int, split: str = "train") -> DrawnAnalogy:
    """Analogy number ``index`` of a change; another ``split`` has other people.

    A hat that is put on has the colour that a′ shows, which nothing else could tell of b′.
    """
    name = f"analogy-{split}-{change}-{index}"
    rng, worn = random.Random(name), {}
    if change[0] == "hat":
        worn = {"hat_color": random.Random(f"{name}-hat").choice(VALUES["hat_color"])}
    a, a_prime = _pair(change, rng, worn)
    b, b_prime = _pair(change, rng, worn)
    return DrawnAnalogy(a, a_prime, b, b_prime, change)


def _pair(change: tuple[str, str], rng: random.Random, worn: dict[str, str]) -> tuple[Face, Face]:
    """A person without and with the change, which shows; ``worn`` is as given in both."""
    name, value = change
    absent = [v for v in VALUES[name] if v in _ABSENT or (name, v) in _PLAIN]
    others = absent or [v for v in VALUES[name] if v != value]
    while True:
        face = sample_face(rng) if name == "style" else sample_face(rng, style="photo")
        face = face.with_(**worn)
        before, after = face.with_(**{name: rng.choice(others)}), face.with_(**{name: value})
        if visible(before, name) and visible(after, name):
            return before, after
