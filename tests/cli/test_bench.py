"""``pairedit bench``: its options become a plan, its figures a table or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from pairedit_sdk.bench import analogy, basis, compose, edits, speed
from pairedit_sdk.bench.edits import FIGURES, MEDIANS, SMALL, Job, Plan
from pairedit_sdk.bench.fidelity import Fidelity
from pairedit_sdk.cli.bench_edits import SHOWN, _table
from pairedit_sdk.models.protocol import FlowModel

Pairedit = Callable[..., Result]

FIDELITY = replace(Fidelity(*[0.5] * len(fields(Fidelity))), scale=1.0)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that were run; what comes of them is made up."""
    seen: list[Plan] = []

    def run(load: object, plan: Plan, on_job: Callable[[Job, Fidelity], None]) -> dict[str, Any]:
        seen.append(plan)
        for job in plan.jobs():
            on_job(job, FIDELITY)
        medians = (f"{figure}_edit_median" for figure in MEDIANS)
        figures = {**dict.fromkeys((*FIGURES, *medians), 0.5), "scale": 1.0}
        return {"summary": dict.fromkeys(plan.recipes, figures), "rows": [{"edit": "hat"}]}

    monkeypatch.setattr(edits, "run", run)
    return seen


def test_without_options_it_is_the_full_form(pairedit: Pairedit, plans: list[Plan]) -> None:
    result = pairedit("bench", "edits", "-q")
    assert (result.exit_code, result.stdout) == (0, "")
    assert plans == [Plan()]


def test_options_change_the_small_form(pairedit: Pairedit, plans: list[Plan]) -> None:
    recipes = ("--recipe", "default", "--recipe", "B")
    words = (*recipes, "--edit", "hat", "--pairs", "1", "--seeds", "2", "--faces", "3")
    result = pairedit("bench", "edits", "--small", *words, "--set", "steps=5")
    assert result.exit_code == 0, result.output
    assert "50.0%" in result.stdout
    assert plans[0] == Plan(("default", "B"), ("hat",), (1,), 2, 3, ("steps=5",))
    assert pairedit("bench", "edits", "--small", "-q").exit_code == 0
    assert plans[1] == SMALL
    assert pairedit("bench", "edits", "--small", "--at-one", "-q").exit_code == 0
    assert plans[2] == replace(SMALL, at_one=True)


def test_what_has_no_value_is_left_empty() -> None:
    figures = {name: math.nan if name == "preservation_db" else 0.5 for name in SHOWN}
    table = _table({"night": figures}, SHOWN)
    cells = {str(column.header): next(iter(column.cells)) for column in table.columns}
    assert cells["Preserved dB"] == ""
    assert (cells["Success"], cells["Accuracy"]) == ("50.0%", "0.50")


def test_json_is_one_object_with_summary_and_rows(pairedit: Pairedit, plans: list[Plan]) -> None:
    said = json.loads(pairedit("bench", "edits", "--small", "--json").stdout)
    assert set(said) == {"summary", "rows"}
    assert set(said["summary"]) == set(SMALL.recipes)
    assert said["summary"]["default"]["accuracy"] == 0.5


@pytest.mark.parametrize("name", ["compose", "basis"])
def test_edits_are_learned_on_the_recipe_s_own_model(
    pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen: list[tuple[str, Any]] = []

    def run(base: FlowModel, plan: Any, on_part: Callable[[str], None]) -> dict[str, Any]:
        seen.append((base.name, plan))
        return {"summary": {"guided": {"kept_2": 0.5}}, "rows": [], "scale": []}

    monkeypatch.setattr({"compose": compose, "basis": basis}[name], "run", run)
    for recipe in ("mini", "mini-kontext"):
        result = pairedit("bench", name, "--small", "--recipe", recipe, "--json")
        assert result.exit_code == 0, result.output
        model, plan = seen.pop()
        assert (model, plan.recipe) == (recipe, recipe)
        assert json.loads(result.stdout)["summary"] == {"guided": {"kept_2": 0.5}}
    refused = pairedit("bench", name, "--recipe", "magic")
    assert refused.exit_code == 2
    assert not seen


def test_combinations_are_the_ones_that_are_named(
    pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[compose.Plan] = []

    def run(base: object, plan: compose.Plan, on_part: object) -> dict[str, Any]:
        plans.append(plan)
        return {"summary": {}, "rows": []}

    monkeypatch.setattr(compose, "run", run)
    words = ("--combination", "glasses+smile", "--combination", "hat+age", "--faces", "2")
    assert pairedit("bench", "compose", *words, "-q").exit_code == 0
    assert plans[0].combinations == [("glasses", "smile"), ("hat", "age")]
    refused = pairedit("bench", "compose", "--combination", "sketch+night")
    assert (refused.exit_code, len(plans)) == (2, 1)


def test_analogies_are_compared_by_variant_and_group(
    pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plans: list[analogy.Plan] = []

    def run(
        model: FlowModel, plain: object, plan: analogy.Plan, on_part: Callable[[str], None]
    ) -> dict[str, Any]:
        plans.append(plan)
        figures = {"seen": {"accuracy": 0.5}, "forms": {"accuracy": math.nan}}
        return {"summary": dict.fromkeys(plan.variants, figures), "rows": [], "cost": {}}

    monkeypatch.setattr(analogy, "run", run)
    words = ("--variant", "both", "--variant", "none", "--keep", tmp_path / "kept", "--seeds", "2")
    result = pairedit("bench", "analogy", "--small", *words, "--set", "delta.tokens=4")
    assert result.exit_code == 0, result.output
    assert "seen accuracy" in result.stdout
    wanted = replace(
        analogy.SMALL,
        seeds=2,
        variants=["both", "none"],
        keep=tmp_path / "kept",
        settings=analogy.SMALL.settings.with_values(delta_tokens=4),
    )
    assert plans == [wanted]
    assert pairedit("bench", "analogy", "-q").exit_code == 0
    assert plans[1] == analogy.PLAN
    (tmp_path / "file").write_text("")
    for refused in (("--keep", tmp_path / "file"), ("--variant", "bothh")):
        assert pairedit("bench", "analogy", *refused).exit_code != 0
    assert len(plans) == 2


def test_speed_compares_both_ways(pairedit: Pairedit, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(task: str, way: str, small: bool) -> dict[str, float]:
        asked.append((task, way, small))
        factor = 4.0 if way == "naive" else 1.0
        return {"seconds": factor, "cpu_seconds": factor, "peak_mib": 100 * factor}

    monkeypatch.setattr(speed, "_measured", measured)
    result = pairedit("bench", "speed", "--small")
    assert result.exit_code == 0, result.output
    assert "learn seconds" in result.stdout
    assert "0.25" in result.stdout
    assert asked == [
        *((task, way, True) for task in ("step", "learn", "edit") for way in ("naive", "ours")),
        ("reach", "ours", True),
    ]
    said = json.loads(pairedit("bench", "speed", "--json").stdout)
    assert said["summary"]["step_seconds"] == {"naive": 4.0, "ours": 1.0, "ratio": 0.25}
    assert len(asked) == 7 + 19
