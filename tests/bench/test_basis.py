"""The benchmark of the basis: what is asked, and what is made of the answers."""

import pytest
import torch

from pairedit_sdk import load_base
from pairedit_sdk.bench import basis
from pairedit_sdk.bench.basis import Plan, analogies, run, summary
from pairedit_sdk.bench.edit_types import EDIT_TYPES, held_out, training_faces
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer


def test_no_face_of_an_analogy_was_learned_from_or_is_asked_twice():
    example = EDIT_TYPES["hat"].example
    learned = {face for pair in training_faces("hat", 3) for face in pair}
    shown = {face for pair in held_out(example, 4, basis.SHOWN_FROM) for face in pair}
    asked = {face for pair in held_out(example, 4) for face in pair}
    assert not learned & (shown | asked)
    assert not shown & asked
    assert len(analogies(example, 2)) == 2


def test_every_router_is_asked_and_chance_is_chance(monkeypatch):
    base = load_base("mini", device="cpu")
    name, module = next(
        (n, m) for n, m in base.transformer.named_modules() if isinstance(m, torch.nn.Linear)
    )
    generator = torch.Generator().manual_seed(0)

    def edit(label):
        down = torch.randn(1, module.in_features, generator=generator)
        up = torch.randn(module.out_features, 1, generator=generator) * 0.01
        info = EditInfo(label, base="mini", base_fingerprint=base.fingerprint, guidance=3.5)
        return Edit({name: LoraLayer(down, up)}, info)

    def learned(base, names, seed, recipe, on_edit):
        return {label: edit(label) for label in names}

    monkeypatch.setattr(basis, "learned", learned)
    said = []
    plan = Plan(
        edits=("hat", "background"), foreign=("sketch",), doubles=(("hat", "background"),),
        seeds=1, asked=3, answered=1, counts=(10, 300),
    )  # fmt: skip
    result = run(base, plan, said.append)
    figures = result["summary"]
    asked = ["hat asked", "background asked", "sketch asked", "hat + background asked"]
    assert said == ["10 edits", "300 edits", *asked]
    assert [row["edits"] for row in result["scale"]] == [10, 300]
    assert all(row["open_seconds"] > 0 for row in result["scale"])
    assert all(row["route_ms"] > 0 for row in result["scale"])
    assert set(figures) == {*basis.ROUTERS, "named", "refused"}
    assert figures["uniform"]["selection"] == 0.5
    assert figures["named"]["selection"] == 1
    for router in basis.ROUTERS:
        assert 0 <= figures[router]["selection"] <= 1
        assert figures[router]["accuracy"] < 1
    assert {"own", "foreign", "two"} == set(figures["refused"])
    assert "accuracy_two" in figures["velocity"]


def test_the_summary_is_the_mean_over_edits():
    rows = [
        {"seed": 0, "edit": "a", "router": "unfitted", "selection": 1.0},
        {"seed": 0, "edit": "b", "router": "unfitted", "selection": 0.5, "accuracy": 0.2},
    ]
    found = summary(rows)["unfitted"]
    assert found["selection"] == 0.75
    assert found["accuracy"] == pytest.approx(0.2)
