"""Analogies of drawn faces by the change that they show, some of them kept back."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.face import Face, sample_face, visible
from pairedit_sdk.builtin.faces.holdouts import NEW_FORMS, NEW_THINGS, NEW_VALUES
from pairedit_sdk.builtin.faces.instructions import coarse_instruction, instruction

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
#: Those that no basis may be trained on: one of most kinds.
UNSEEN: tuple[tuple[str, str], ...] = (*NEW_VALUES, *NEW_THINGS, *NEW_FORMS)
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

    @property
    def coarse_caption(self) -> str:
        """Which attribute changes, and not to what."""
        return coarse_instruction(*self.change)


def drawn_analogy(change: tuple[str, str], index: int, split: str = "train") -> DrawnAnalogy:
    """Analogy number ``index`` of a change; another ``split`` has other people."""
    rng = random.Random(f"analogy-{split}-{change}-{index}")
    a, a_prime = _pair(change, rng)
    b, b_prime = _pair(change, rng)
    if change[0] == "hat":
        # b does not tell which colour a hat has that it is to be given, so that a′ has to.
        b, b_prime = (face.with_(hat_color=a_prime.hat_color) for face in (b, b_prime))
    return DrawnAnalogy(a, a_prime, b, b_prime, change)


def _pair(change: tuple[str, str], rng: random.Random) -> tuple[Face, Face]:
    """A person without and with the change, which shows."""
    name, value = change
    absent = [v for v in VALUES[name] if v in _ABSENT or (name, v) in _PLAIN]
    others = absent or [v for v in VALUES[name] if v != value]
    while True:
        face = sample_face(rng) if name == "style" else sample_face(rng, style="photo")
        before, after = face.with_(**{name: rng.choice(others)}), face.with_(**{name: value})
        if visible(before, name) and visible(after, name):
            return before, after
