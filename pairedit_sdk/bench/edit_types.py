"""The edits that the benchmark learns: each a change of a drawn face whose true result is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pairedit_sdk.builtin.faces.example_pairs import EXAMPLES, PAIRS, Example, varied_faces
from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face
from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.pairs.pair_set import PairSet

#: Faces that one seed's search for training pairs may use up, so that no two seeds share any.
_SEED_STRIDE = 1_000_000
_EDIT_STRIDE = 10_000


@dataclass(frozen=True)
class EditType:
    """One of the benchmark's edits.

    Args:
        kind: "local", "shape", "global" or "relational".
        example: the change and the faces it suits.
        caption: what the picture shows after the edit, in words.
        instruction: what an edit model is told to do, in the words that the built-in one knows
            (:func:`pairedit_sdk.builtin.faces.instructions.instruction`).
    """

    kind: str
    example: Example
    caption: str
    instruction: str


_COLOURED_SHIRT = frozenset(ATTRIBUTES["shirt_color"]) - {"white"}
_ANY_HAIR = {
    "hair_style": frozenset(ATTRIBUTES["hair_style"]) - {"bald"},
    "age": frozenset({"young"}),
}

EDIT_TYPES: dict[str, EditType] = {
    "glasses": EditType(
        "local", EXAMPLES["glasses"], "a person with round glasses", "add round glasses"
    ),
    "lipstick": EditType(
        "local", EXAMPLES["lipstick"], "a person with red lipstick", "add red lipstick"
    ),
    "earrings": EditType(
        "local", EXAMPLES["earrings"], "a person with gold earrings", "add gold earrings"
    ),
    "freckles": EditType(
        "local",
        Example({"freckles": "no"}, {"freckles": "yes"}),
        "a person with freckles",
        "add freckles",
    ),
    "hat": EditType("local", EXAMPLES["hat"], "a person with a red beanie", "add a beanie"),
    "smile": EditType("shape", EXAMPLES["smile"], "a person with a smile", "add a smile"),
    "chubby": EditType("shape", EXAMPLES["chubby"], "a chubby person", "make the person chubby"),
    "eye-size": EditType(
        "shape",
        Example({"eye_size": "small"}, {"eye_size": "big"}),
        "a person with big eyes",
        "make the eyes big",
    ),
    "nose": EditType(
        "shape",
        Example({"nose": "small"}, {"nose": "big"}),
        "a person with a big nose",
        "make the nose big",
    ),
    "age": EditType("global", EXAMPLES["age"], "an old person", "make the person old"),
    "hair-color": EditType(
        "global", EXAMPLES["hair-color"], "a person with red hair", "make the hair red"
    ),
    "background": EditType(
        "global",
        Example(
            {},
            {"background": "blue"},
            {"background": frozenset(ATTRIBUTES["background"]) - {"blue"}},
        ),
        "a person with a blue background",
        "make the background blue",
    ),
    "sketch": EditType(
        "global",
        Example({}, {"style": "sketch"}),
        "a pencil sketch of a person",
        "turn it into a pencil sketch",
    ),
    "night": EditType(
        "global",
        Example({}, {"style": "night"}),
        "a night photo of a person",
        "turn it into a night photo",
    ),
    "own-beard": EditType(
        "relational",
        Example({"beard": "none"}, {"beard": "full"}, _ANY_HAIR),
        "a person with a beard",
        "add a beard",
    ),
    "matching-hat": EditType(
        "relational",
        Example(
            {}, {"hat": "beanie"}, {"shirt_color": _COLOURED_SHIRT}, {"hat_color": "shirt_color"}
        ),
        "a person with a beanie",
        "add a beanie",
    ),
}


def training_faces(name: str, count: int = PAIRS, seed: int = 0) -> list[tuple[Face, Face]]:
    """Faces before and after the edit, to learn it from; every seed has faces of its own."""
    start = seed * _SEED_STRIDE + list(EDIT_TYPES).index(name) * _EDIT_STRIDE
    return varied_faces(EDIT_TYPES[name].example, start, count)


def training_pairs(name: str, count: int = PAIRS, seed: int = 0) -> PairSet:
    """:func:`training_faces`, drawn."""
    faces = training_faces(name, count, seed)
    return PairSet.from_images([(before.draw(), after.draw()) for before, after in faces])


def combined(names: Sequence[str]) -> Example:
    """The change of all of these edits at once, shown on faces that suit every one of them.

    Raises:
        ValueError: two of them ask for different things.
    """
    parts: dict[str, dict[str, str]] = {"before": {}, "after": {}, "copied": {}}
    only: dict[str, frozenset[str]] = {}
    for name in names:
        example = EDIT_TYPES[name].example
        for part, values in parts.items():
            for attribute, value in getattr(example, part).items():
                if values.setdefault(attribute, value) != value:
                    raise ValueError(f"{' and '.join(names)}: different {attribute} {part}")
        for attribute, allowed in example.only.items():
            only[attribute] = only.get(attribute, allowed) & allowed
    return Example(parts["before"], parts["after"], only, parts["copied"])


def as_combination(text: str) -> tuple[str, ...]:
    """Edits that are measured together, of a text such as "glasses+smile".

    Args:
        text: two or more keys of :data:`EDIT_TYPES` with "+" between them.

    Raises:
        UsageError: an unknown edit, the same one twice, fewer than two, or edits that no face can
            show together.
    """
    names = tuple(name.strip() for name in text.split("+"))
    require_edits(names)
    if len(set(names)) < max(2, len(names)):
        raise UsageError(
            f"The combination {text!r}", expected="two or more different edits, as glasses+smile"
        )
    try:
        possible = all(combined(names).only.values())
    except ValueError:
        possible = False
    if not possible:
        raise UsageError(
            f"The combination {text!r}", expected="edits that one face can show together"
        )
    return names


def require_edits(names: Sequence[str]) -> None:
    """Refuse what is no edit of the benchmark.

    Raises:
        UsageError: naming the first that is none.
    """
    unknown = [name for name in names if name not in EDIT_TYPES]
    if unknown:
        raise UsageError(
            f"The benchmark has no edit {unknown[0]!r}",
            next_step=nearest(unknown[0], list(EDIT_TYPES)),
        )


def held_out_faces(name: str, count: int) -> list[tuple[Face, Face]]:
    """Faces before and truly after the edit, of a split that no training face comes from."""
    return held_out(EDIT_TYPES[name].example, count)


def held_out(example: Example, count: int, start: int = 0) -> list[tuple[Face, Face]]:
    """:func:`held_out_faces` of any change, from number ``start`` of the split on."""
    index = start
    found: list[tuple[Face, Face]] = []
    while len(found) < count:
        face = face_at(index, "test")
        index += 1
        if example.suits(face) and example.shows(face):
            found.append(example.pair(face))
    return found
