from __future__ import annotations

import pytest

from pairedit_sdk.errors import InputError
from pairedit_sdk.pairs.matching import match_files


def names(befores: list[str], afters: list[str]) -> list[tuple[str, str, str]]:
    found = match_files([f"in/{name}" for name in befores], [f"out/{name}" for name in afters])
    return [(name, str(one), str(two)) for name, one, two in found]


def test_equal_names_belong_together_in_any_order_and_case() -> None:
    found = names(["10.png", "2.png", "Anna.JPG"], ["anna.png", "2.jpg", "10.png"])
    assert found == [
        ("2", "in/2.png", "out/2.jpg"),
        ("10", "in/10.png", "out/10.png"),
        ("Anna", "in/Anna.JPG", "out/anna.png"),
    ]


def test_other_names_go_by_their_natural_order() -> None:
    assert names(["shot10.png", "shot9.png"], ["x2.png", "x1.png"]) == [
        ("1", "in/shot9.png", "out/x1.png"),
        ("2", "in/shot10.png", "out/x2.png"),
    ]


def test_marked_names_tell_the_side_whichever_list_they_are_in() -> None:
    assert names(["a_after.png", "a_before.png", "b-Before.png", "b-After.png"], []) == [
        ("a", "in/a_before.png", "in/a_after.png"),
        ("b", "in/b-Before.png", "in/b-After.png"),
    ]
    # Each box was given the other side's files.
    assert names(["a_after.png"], ["a_before.png"]) == [("a", "out/a_before.png", "in/a_after.png")]


@pytest.mark.parametrize(
    ("befores", "afters", "said"),
    [
        ([], [], "0 before pictures and 0 after pictures"),
        (["1.png"], [], "There is 1 before picture and 0 after pictures"),
        (["1.png", "2.png"], ["2.png"], "without a partner: '1.png'"),
        (["1.png", "2.png"], ["1.png", "3.png"], "without a partner: '2.png', '3.png'"),
        (["1.png", "1.jpg"], ["1.png", "2.png"], "Some of the pictures belong together"),
    ],
)
def test_what_does_not_go_together_is_refused(
    befores: list[str], afters: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        names(befores, afters)
