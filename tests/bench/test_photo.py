"""The benchmark of full size: its truth, its ways, its sums."""

import math

import pytest
import torch

from pairedit_sdk.bench import photo
from pairedit_sdk.bench.photo import DIRECTIONS, LATENTS, WAYS, Plan, Row, run, summary
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer


@pytest.fixture(scope="module")
def model():
    from pairedit_sdk import load_model

    return load_model("mini", device="cpu")


def test_every_way_is_scored_on_both_latents_and_in_both_directions(model, monkeypatch):
    """With the true change of the latents the gate keeps the rest, and the hat is as good as ever.

    An edit that does nothing leaves the original as it is, and the truth as far off as it was.
    """
    asked, said = [], []

    def learned(base, names, seed, recipe, *, limit_scale, on_edit):
        layers = {"x_embedder": LoraLayer(torch.zeros(1, 4), torch.zeros(3, 1))}
        assert (seed, recipe, limit_scale) == (0, "mini-kontext", True)
        on_edit("hat")
        return {name: Edit(layers, EditInfo(name)) for name in names}

    def edit_latents(base, x, stack, *, seed):
        asked.append([scale for _, scale in stack.parts])
        return x

    monkeypatch.setattr(photo, "learned", learned)
    monkeypatch.setattr(photo, "edit_latents", edit_latents)
    plan = Plan(edits=("hat",), sizes=(256,), faces=1)
    result = run(model, plan, said.append)
    assert said == ["hat", "hat, 256"]
    assert len(said) == plan.parts
    assert asked == [[1.0], [-1.0]]
    rows = {(r["latents"], r["direction"], r["way"]): r for r in result["rows"]}
    assert len(rows) == len(LATENTS) * len(DIRECTIONS) * len(WAYS)
    for direction in DIRECTIONS:
        gated, decode = (rows["true", direction, way] for way in ("gated", "decode"))
        assert gated["outside_db"] > 40 > 33 > decode["outside_db"]
        assert gated["gained_db"] > -0.3
        assert decode["gained_db"] == 0
        assert rows["learned", direction, "gated"]["outside_db"] == 100
        assert rows["learned", direction, "gated"]["inside_db"] < 20


def row(edit, way, outside, inside, gained):
    return Row(edit, "add", "true", 512, way, 0, outside, inside, gained)


def test_the_summary_has_means_and_the_worst_edit():
    """A face that is changed everywhere has no outside, and is left out there."""
    rows = [row("a", "gated", 40, 20, -1), row("b", "gated", math.nan, 30, 2)]
    assert summary([*rows, row("a", "decode", 30, 21, 0)]) == {
        "gated": {
            "true_512_add_outside": 40,
            "true_512_add_inside": 25,
            "true_512_add_gained": 0.5,
            "true_512_add_gained_least": -1,
        },
        "decode": {
            "true_512_add_outside": 30,
            "true_512_add_inside": 21,
            "true_512_add_gained": 0,
            "true_512_add_gained_least": 0,
        },
    }


def test_nothing_changed_is_the_original_in_every_way_but_the_decode():
    original, seen = torch.rand(1, 3, 40, 40) - 0.5, torch.rand(1, 3, 16, 16) - 0.5
    for name, way in WAYS.items():
        assert torch.allclose(way(original, seen, seen), original, atol=1e-6) == (name != "decode")
