"""What the page shows, in its address and back."""

from __future__ import annotations

import pytest

from pairedit_sdk.studio.view import View


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View("train", run="glasses"),
        View("compose", "ab" * 16, {"hat": 0.85, "glasses": -2}, {"add a hat: red": 1.2}, 7),
    ],
)
def test_what_is_shown_comes_back_from_the_address(view: View) -> None:
    assert View.of_query(view.query()) == view


def test_what_is_not_said_is_left_out() -> None:
    assert View().query() == {}
    assert View(scales={"hat": 1.0}).query() == {"edits": "hat:1"}


@pytest.mark.parametrize(
    "query",
    [
        {"tab": "nowhere", "seed": "-3", "run": "../x"},
        {"edits": "../x:1,hat,hat:,hat:nan,:1,hat:1e9", "seed": "9" * 40},
        {"say": "|", "seed": "٣"},
    ],
)
def test_what_cannot_be_read_is_not_said(query: dict[str, str]) -> None:
    assert View.of_query(query) == View()
