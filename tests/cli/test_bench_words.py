"""``pairedit bench words``: its options become a plan, its figures a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

from pairedit_sdk.bench import words
from pairedit_sdk.bench.words import SMALL, Plan

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


def test_options_become_a_plan(
    pairedit: Pairedit, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def run(model: object, plan: Plan, on_part: Callable[[str], None]) -> dict[str, Any]:
        plans.append(plan)
        figures = {"pairs": 4, "right": 0.75, "none": 0.25, "wrong": 0.0}
        return {"summary": {"all": figures}, "rows": []}

    monkeypatch.setattr(words, "run", run)
    result = pairedit("bench", "words")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].split() == ["all", "4", "75%", "25%", "0%"]
    said = json.loads(pairedit("bench", "words", "--small", "--people", "2", "--json").stdout)
    assert said["summary"]["all"]["right"] == 0.75
    assert (plans[0], plans[1].people, plans[1].changes) == (Plan(), 2, SMALL.changes)
    assert rooms.of("load_model")[0]["name_or_path"] == "mini-kontext"
