"""Instructions name the value that is to be there, in words that the model knows."""

import pytest

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.faces.face import ATTRIBUTES
from pairedit_sdk.builtin.faces.instructions import instruction
from pairedit_sdk.builtin.faces.numbered import change_at


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("glasses", "round", "add round glasses"),
        ("glasses", "none", "remove the glasses"),
        ("hat", "top", "add a top hat"),
        ("hair_color", "red", "make the hair red"),
        ("hair_style", "bald", "make the head bald"),
        ("style", "night", "turn it into a night photo"),
        ("mouth", "smiling", "add a smile"),
        ("mouth", "sad", "make the mouth sad"),
        ("blush", "no", "remove the rosy cheeks"),
        ("chubby", "no", "make the person thin"),
        ("earrings", "pearl", "add pearl earrings"),
    ],
)
def test_what_is_said(attribute, value, said):
    _, face, _ = change_at(0)
    assert instruction(face.with_(**{attribute: value}), attribute) == said


def test_every_value_has_words_of_its_own_that_the_base_knows():
    known = set(parts.vocabulary(instructions=True))
    assert parts.vocabulary(instructions=True)[: len(parts.vocabulary())] == parts.vocabulary()
    _, face, _ = change_at(0)
    said = [
        instruction(face.with_(**{name: value}), name)
        for name, values in ATTRIBUTES.items()
        for value in values
    ]
    assert {word for text in said for word in text.split()} <= known
    assert len(set(said)) == len(said)
