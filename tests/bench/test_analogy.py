"""The benchmark of analogies: every variant is trained, asked and scored; unseen is unseen."""

from dataclasses import replace

import pytest

from pairedit_sdk.bench import analogy, analogy_answers
from pairedit_sdk.bench.analogy import ASKED, SMALL, VARIANTS, Plan, run
from pairedit_sdk.builtin.faces.analogies import CHANGES, SEEN, UNSEEN, drawn_analogy
from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.loading import load_base


def test_no_change_is_both_seen_and_unseen():
    assert set(SEEN) | set(UNSEEN) == set(CHANGES)
    assert set(SEEN) & set(UNSEEN) == set()
    assert set(ASKED) <= set(SEEN)
    assert len({name for name, _ in UNSEEN}) == len(UNSEEN)


@pytest.mark.parametrize("change", [CHANGES[0], *UNSEEN[:4], ("eye_color", "green")])
def test_an_analogy_shows_its_change_on_two_people(change):
    name, value = change
    found = drawn_analogy(change, 3)
    for before, after in ((found.a, found.a_prime), (found.b, found.b_prime)):
        assert getattr(after, name) == value != getattr(before, name)
        assert after == before.with_(**{name: value})
        assert visible(after, name)
    assert found.a != found.b
    assert drawn_analogy(change, 3) == found
    assert drawn_analogy(change, 3, "asked") != found
    assert value.split("_")[0] in found.caption or found.caption


def test_every_variant_is_trained_asked_and_scored(tiny_kontext_folder, tiny_model, monkeypatch):
    monkeypatch.setattr(analogy, "SEEN", SEEN[:2])
    monkeypatch.setattr(analogy, "TIMED", 2)
    recipe = replace(analogy_answers.load_recipe("mini"), steps=1, batch=1)
    monkeypatch.setattr(analogy_answers, "load_recipe", lambda name: recipe)
    settings = BasisSettings(
        count=2, rank=2, key_width=4, targets="attention", layout="sequence", steps=1, batch=1,
        checkpoint_every=0,
    )  # fmt: skip
    plan = Plan(
        seen=ASKED[:1], unseen=UNSEEN[:1], seeds=1, each=1, asked=1, settings=settings, steps=2
    )
    said = []
    base = load_base(str(tiny_kontext_folder), device="cpu")
    result = run(base, tiny_model, plan, said.append)
    assert len(said) == plan.parts
    assert tuple(result["summary"]) == VARIANTS
    for kinds in result["summary"].values():
        for kind in ("seen", "unseen"):
            assert set(kinds[kind]) == {"accuracy", "pooled", "preservation_db"}
            assert all(value == value for value in kinds[kind].values())
    assert 0.2 < result["cost"]["pass_ratio"] < 5
    assert SMALL.seeds == 1
