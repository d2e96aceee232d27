"""``pairedit bench photo``: its options become a plan, its figures a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from pairedit_sdk.bench import photo
from pairedit_sdk.bench.edit_types import EDIT_TYPES
from pairedit_sdk.bench.photo import SMALL, Plan

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that were run; what comes of them is made up."""
    seen: list[Plan] = []

    def run(base: object, plan: Plan, on_part: Callable[[str], None]) -> dict[str, Any]:
        seen.append(plan)
        return {"summary": {"gated": {"true_512_add_outside": 40.0}}, "rows": []}

    monkeypatch.setattr(photo, "run", run)
    return seen


def test_options_become_a_plan(pairedit: Pairedit, plans: list[Plan]) -> None:
    assert pairedit("bench", "photo", "-q").exit_code == 0
    assert plans == [Plan()]
    assert set(Plan().edits) == set(EDIT_TYPES)
    words = ("--edit", "hat", "--latents", "true", "--size", "256", "--seeds", "2", "--faces", "3")
    result = pairedit("bench", "photo", "--small", *words)
    assert result.exit_code == 0, result.output
    assert "true 512 add outside" in result.stdout
    assert plans[1] == Plan(("hat",), ("true",), (256,), 2, 3)
    assert plans[1].parts == 2
    said = json.loads(pairedit("bench", "photo", "--small", "--json").stdout)
    assert said["summary"]["gated"]["true_512_add_outside"] == 40
    assert plans[2] == SMALL


def test_edits_are_learned_on_the_model_of_their_recipe(
    pairedit: Pairedit, rooms: Rooms, plans: list[Plan]
) -> None:
    for words in ((), ("--recipe", "mini"), ("--recipe", "kontext-dev")):
        assert pairedit("bench", "photo", "-q", *words).exit_code == 0
    assert [plan.recipe for plan in plans] == ["mini-kontext", "mini", "kontext-dev"]
    models = [call["name_or_path"] for call in rooms.of("load_model")]
    assert models == ["mini-kontext", "mini", "mini-kontext"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--edit", "hatt"), "The benchmark has no edit 'hatt'"),
        (("--latents", "learnt"), "The benchmark has no latents 'learnt'"),
    ],
)
def test_unknown_names_are_refused(
    pairedit: Pairedit, plans: list[Plan], words: tuple[str, ...], message: str
) -> None:
    result = pairedit("bench", "photo", *words)
    assert result.exit_code != 0
    assert message in result.output
    assert plans == []
