"""``bench words``: what is asked, and how it is counted."""

import pytest

from pairedit_sdk.bench import words
from pairedit_sdk.bench.words import ASKED, CHOSEN_ON, SMALL, Plan, Row, run, summary
from pairedit_sdk.builtin.faces.analogies import CHANGES
from pairedit_sdk.words.finding import judged


def test_the_changes_that_the_limit_was_chosen_on_are_not_asked():
    assert not set(ASKED) & set(CHOSEN_ON)
    assert set(ASKED) | set(CHOSEN_ON) == set(CHANGES)
    assert Plan().parts == 3 * (len(ASKED) + 2)
    assert SMALL.parts == 4


@pytest.fixture
def asked(monkeypatch):
    """The pairs that were asked for; what is said of them is made up."""
    seen = []

    def find(model, pairs, *, seed):
        seen.append((len(pairs), seed))
        losses = {"add round glasses": 0.2, "add square glasses": 0.5, "make the nose big": 0.9}
        both = {phrase: (loss, 1.5) for phrase, loss in losses.items()}
        return judged(both, nothing=1.0, everything=0.1, asked=92)

    monkeypatch.setattr(words, "find_words", find)
    return seen


def test_three_vocabularies_are_read_from_one_asking(asked):
    plan = Plan(changes=(("glasses", "round"),), people=2, relations=("own-beard",))
    notes = []
    result = run(None, plan, notes.append)
    assert asked == [(1, 0), (1, 0), (1, 1), (1, 1)]
    assert len(notes) == plan.parts
    first = {row["vocabulary"]: row for row in result["rows"][:3]}
    assert [row["phrase"] for row in first.values()] == [
        "add round glasses",
        "add square glasses",
        "make the nose big",
    ]
    assert [row["is_right"] for row in first.values()] == [True, False, False]
    assert [row["none"] for row in first.values()] == [False, False, True]
    assert first["all"]["explained"] == pytest.approx(8 / 9)
    assert result["rows"][3]["vocabulary"] == "relations"
    shares = result["summary"]
    assert shares["all"] == {"pairs": 2, "right": 1.0, "none": 0.0, "wrong": 0.0}
    assert shares["attribute removed"] == {"pairs": 2, "right": 0.0, "none": 1.0, "wrong": 0.0}
    assert shares["relations"]["wrong"] == 1.0


def test_a_right_phrase_that_is_not_believed_counts_as_none():
    row = Row("nose=big", 0, "all", "make the nose big", True, True, 0.9, 0.3, 0.4)
    assert summary([row]) == {"all": {"pairs": 1, "right": 0.0, "none": 1.0, "wrong": 0.0}}
