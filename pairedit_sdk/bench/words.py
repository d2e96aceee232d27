"""``pairedit bench words``: is the right instruction found, and none where none is right?

A pair of drawn faces shows a change whose instruction is known. The model is asked three
vocabularies: all its instructions; all but the right one, values of the same attribute included;
and those of other attributes alone. Of the first the right one is to be found, of the others none.
Changes that depend on the picture, of the benchmark's relations, are asked all instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pairedit_sdk.bench.edit_types import training_faces
from pairedit_sdk.builtin.faces.analogies import CHANGES, drawn_analogy
from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face
from pairedit_sdk.builtin.faces.instructions import instruction
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.words.finding import FoundWords, find_words

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

Change = tuple[str, str]
#: Every second change. The least sureness was chosen on the others, and on other people.
CHOSEN_ON: tuple[Change, ...] = CHANGES[::2]
ASKED: tuple[Change, ...] = CHANGES[1::2]
#: Relations, and what a vocabulary without relations can say of them.
RELATIONS = {"matching-hat": "add a beanie", "own-beard": "add a beard"}
VOCABULARIES = ("all", "right one removed", "attribute removed", "relations")


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        changes: that are shown.
        people: pairs of each change, every one asked by itself.
        relations: of :data:`RELATIONS`.
        split: whose people are drawn; another split has others.
    """

    changes: Sequence[Change] = ASKED
    people: int = 3
    relations: Sequence[str] = tuple(RELATIONS)
    split: str = "asked"

    @property
    def parts(self) -> int:
        """How often :func:`run` reports."""
        return self.people * (len(self.changes) + len(self.relations))


SMALL = Plan(
    changes=(("glasses", "round"), ("background", "pink"), ("nose", "big")),
    people=1,
    relations=("matching-hat",),
)


@dataclass(frozen=True)
class Row:
    """What was found for one pair in one vocabulary.

    Attributes:
        change: attribute and value, or the relation.
        person: number of the pair.
        vocabulary: of :data:`VOCABULARIES`.
        phrase: the best one.
        is_right: whether that is the true instruction.
        none: whether none is said to explain the pair.
        ratio, explained, sureness: of the best phrase.
    """

    change: str
    person: int
    vocabulary: str
    phrase: str
    is_right: bool
    none: bool
    ratio: float
    explained: float
    sureness: float


def run(
    model: FlowModel, plan: Plan, on_part: Callable[[str], None] = lambda note: None
) -> dict[str, Any]:
    """Ask for the words of every pair.

    Args:
        model: the built-in edit model.
        plan: what to do.
        on_part: called after every pair.

    Returns:
        ``rows``, and ``summary``: see :func:`summary`.
    """
    rows: list[Row] = []
    for person in range(plan.people):
        for change in plan.changes:
            drawn = drawn_analogy(change, person, plan.split)
            found = _asked(model, drawn.a, drawn.a_prime, person)
            right = instruction(drawn.a_prime, change[0])
            rows += _rows("=".join(change), person, found, right, _siblings(change[0]))
            on_part(f"{right}: {found.best.phrase}")
        for name in plan.relations:
            before, after = training_faces(name, plan.people)[person]
            found = _asked(model, before, after, person)
            rows.append(_row(name, person, "relations", found, RELATIONS[name]))
            on_part(f"{name}: {found.best.phrase}")
    return {"summary": summary(rows), "rows": [asdict(row) for row in rows]}


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By vocabulary: the shares of pairs with the right phrase, with none, and with a wrong one."""
    result: dict[str, dict[str, float]] = {}
    for vocabulary in VOCABULARIES:
        own = [row for row in rows if row.vocabulary == vocabulary]
        if not own:
            continue
        result[vocabulary] = {
            "pairs": len(own),
            "right": sum(row.is_right and not row.none for row in own) / len(own),
            "none": sum(row.none for row in own) / len(own),
            "wrong": sum(not row.is_right and not row.none for row in own) / len(own),
        }
    return result


def _asked(model: FlowModel, before: Face, after: Face, seed: int) -> FoundWords:
    return find_words(model, PairSet.from_images([(before.draw(), after.draw())]), seed=seed)


def _siblings(attribute: str) -> frozenset[str]:
    """The instructions for all values of an attribute."""
    values: Mapping[str, float] = ATTRIBUTES[attribute]
    return frozenset(instruction(Face().with_(**{attribute: v}), attribute) for v in values)


def _rows(
    change: str, person: int, found: FoundWords, right: str, siblings: frozenset[str]
) -> list[Row]:
    """The three vocabularies' rows. A phrase's loss is the same whatever else is asked, so all are
    read from one asking."""
    removed: dict[str, frozenset[str]] = dict(
        zip(VOCABULARIES[:3], (frozenset(), frozenset({right}), siblings), strict=True)
    )
    return [
        _row(change, person, vocabulary, _without(found, phrases), right)
        for vocabulary, phrases in removed.items()
    ]


def _without(found: FoundWords, phrases: frozenset[str]) -> FoundWords:
    left = tuple(one for one in found.phrases if one.phrase not in phrases)
    return replace(found, phrases=left, asked=found.asked - len(phrases))


def _row(change: str, person: int, vocabulary: str, found: FoundWords, right: str) -> Row:
    best = found.best
    return Row(
        change,
        person,
        vocabulary,
        best.phrase,
        best.phrase == right,
        found.none,
        best.ratio,
        best.explained,
        found.sureness,
    )
