"""The benchmark of analogies: every variant is trained, asked and scored; unseen is unseen."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch

from pairedit_sdk.bench import analogy, analogy_answers, analogy_trained, analogy_world
from pairedit_sdk.bench.analogy import ASKED, GROUPS, PLAN, SMALL, UNTRAINED, VARIANTS, Plan, run
from pairedit_sdk.bench.analogy_trained import TRAINED, WAYS, trained, variant_settings
from pairedit_sdk.bench.analogy_world import asked_analogies, shuffled, world_relations
from pairedit_sdk.builtin.faces.analogies import (
    CHANGES,
    NEW_FORMS,
    NEW_THINGS,
    NEW_VALUES,
    SEEN,
    UNSEEN,
    drawn_analogy,
)
from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.builtin.faces.numbered import pictures_of
from pairedit_sdk.builtin.faces.world import task_at, task_pairs
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.metrics import edit_mask
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.loading import load_base

FIGURES = {"accuracy", "median", "pooled", "preservation_db"}
TINY = BasisSettings(
    count=2, rank=2, key_width=4, targets="attention", layout="sequence", steps=1, batch=1,
    checkpoint_every=0, unit_embeddings=True, start="difference", delta_tokens=2, delta_width=8,
    delta_layers=1, resolution=64,
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture
def drawn(monkeypatch):
    """How often the world was drawn: in this process, as others take seconds to begin."""
    calls = []

    def pictures(folder, tasks, pairs, workers):
        calls.append((folder, tasks, pairs))
        faces = [chain.from_iterable(task_pairs(task, pairs)) for task in range(tasks)]
        return np.stack([pictures_of([*own], 128) for own in faces]).reshape(
            tasks, pairs, 2, 128, 128, 3
        )

    monkeypatch.setattr(analogy_world, "world_pictures", pictures)
    return calls


@pytest.fixture
def quick(monkeypatch):
    """Few steps of everything."""
    monkeypatch.setattr(analogy, "TIMED", 2)
    short = partial(edit_latents, steps=2, n_max=1)
    monkeypatch.setattr(analogy_trained, "edit_latents", short)
    monkeypatch.setattr(analogy_answers, "edit_latents", short)
    recipe = replace(analogy_answers.load_recipe("mini"), steps=1, batch=1)
    monkeypatch.setattr(analogy_answers, "load_recipe", lambda name: recipe)


def _plan(**changed):
    groups = {"seen": ASKED[:1], "values": NEW_VALUES[:1]}
    plan = Plan(groups, seeds=1, tasks=2, pairs=2, asked=1, settings=TINY, steps=1)
    return replace(plan, **changed)


def test_no_change_is_in_two_groups_or_both_asked_as_unseen_and_trained():
    assert set(SEEN) | set(UNSEEN) == set(CHANGES)
    assert set(SEEN) & set(UNSEEN) == set()
    assert set(GROUPS) == {"seen", "values", "things", "forms"}
    every = [change for changes in GROUPS.values() for change in changes]
    assert len(every) == len(set(every))
    assert set(GROUPS["seen"]) <= set(SEEN)
    assert {*GROUPS["values"], *GROUPS["things"], *GROUPS["forms"]} == set(UNSEEN)
    assert (GROUPS["values"], GROUPS["things"], GROUPS["forms"]) == (
        NEW_VALUES,
        NEW_THINGS,
        NEW_FORMS,
    )
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


def test_all_changes_of_a_group_are_asked_as_often():
    groups = {"seen": [("hat", "beanie")], "things": [("hat", "top"), ("style", "sepia")]}
    asked = asked_analogies(groups, 2)
    assert [(one.group, *one.change) for one in asked] == [
        ("seen", "hat", "beanie"), ("seen", "hat", "beanie"),
        ("things", "hat", "top"), ("things", "hat", "top"),
        ("things", "style", "sepia"), ("things", "style", "sepia"),
    ]  # fmt: skip
    assert {one.coarse for one in asked[:4]} == {"add a hat"}
    assert "top hat" in asked[2].analogy.caption
    pictures = [one.analogy.b.tobytes() for one in asked]
    assert len(set(pictures)) == len(pictures)


def test_a_shuffled_analogy_shows_another_attribute_beside_the_same_b():
    groups = {"seen": [("hat", "beanie"), ("hat", "cap")], "things": [("style", "sepia")]}
    asked = asked_analogies(groups, 1)
    own = {one.analogy.a.tobytes(): one.change for one in asked}
    for one, other in zip(asked, shuffled(asked), strict=True):
        shown = own[other.analogy.a.tobytes()]
        assert shown[0] != one.change[0]
        assert (
            other.analogy.a_prime is asked[[a.change for a in asked].index(shown)].analogy.a_prime
        )
        assert (other.analogy.b, other.analogy.b_prime) == (one.analogy.b, one.analogy.b_prime)
        assert (other.group, other.change, other.coarse) == (one.group, one.change, one.coarse)


def test_the_world_is_its_tasks_as_relations(drawn, tmp_path):
    relations = world_relations(tmp_path, 2, 3)
    assert drawn == [(tmp_path, 2, 3)]
    assert len(relations) == 2 * 3 * 2
    for number, relation in enumerate(relations.relations):
        assert (relation.caption, relation.name) == (task_at(number).caption, task_at(number).kind)
        before, after = relation.pairs[1]
        assert before.size == after.size == (128, 128)
        assert before.tobytes() != after.tobytes()
        assert [b.tobytes() for b, _ in relation.pairs[1:]] == [
            b.tobytes() for b, _ in (relation.pairs[1], relation.pairs[-1])
        ]


def test_variants_differ_in_what_they_are_named_for():
    both = PLAN.settings
    found = {name: variant_settings(both, name, 7) for name in TRAINED}
    assert {settings.seed for settings in found.values()} == {7}
    assert found["both"] == both.with_values(seed=7)
    assert found["basis"] == both.with_values(seed=7, delta_tokens=0)
    single = found["single"]
    assert (single.count, single.rank, single.delta_tokens) == (1, both.count * both.rank, 0)
    # As far as each LoRA of the basis if it had the whole mix.
    assert single.scaling * single.rank == both.scaling * both.rank
    assert (found["delta"].count, found["delta"].layout) == (0, "alone")
    assert found["delta"].delta == both.delta
    assert [found[name].activation for name in ("tanh", "uniform")] == ["tanh", "uniform"]


def test_what_cannot_be_trained_is_refused_before_anything_is(base, tiny_model):
    def never():
        raise AssertionError

    for changed, said in (
        ({"layout": "grid"}, "draws b′ alone. Expected layout=sequence"),
        ({"delta_tokens": 0}, "count=0 needs delta.tokens above 0"),
    ):
        plan = _plan(settings=TINY.with_values(**changed), variants=("coarse", "basis", "delta"))
        with pytest.raises(UsageError, match=said):
            run(base, never, plan, lambda note: never())


def test_every_trained_variant_is_asked_in_every_way_and_scored(base, tiny_model, drawn, quick):
    said = []
    plan = _plan(variants=TRAINED)
    result = run(base, lambda: tiny_model, plan, said.append)
    assert len(said) == plan.parts == len(TRAINED) + 1
    assert tuple(result["summary"]) == tuple(f"{name}, {way}" for name in TRAINED for way in WAYS)
    _require_figures(result, plan)
    assert {"pass_ratio", "pass_seconds", "mixing_seconds"} == set(result["cost"])
    assert result["cost"]["pass_ratio"] > 0
    assert SMALL.seeds == 1


def test_what_is_not_trained_is_asked_once_and_scored(base, tiny_model, drawn, quick):
    said = []
    plan = _plan(groups={"seen": ASKED[:1]}, variants=UNTRAINED)
    result = run(base, lambda: tiny_model, plan, said.append)
    assert said == [f"{name}, seed 0" for name in UNTRAINED]
    assert tuple(result["summary"]) == UNTRAINED
    _require_figures(result, plan)
    assert (drawn, result["cost"]) == ([], {})
    assert set(PLAN.variants) <= set(VARIANTS) == {*UNTRAINED, *TRAINED}


def _require_figures(result, plan):
    for groups in result["summary"].values():
        assert tuple(groups) == tuple(plan.groups)
        for figures in groups.values():
            assert set(figures) == FIGURES
            assert all(value == value for value in figures.values())
    for row in result["rows"]:
        assert (row["seed"], len(row["each"])) == (0, plan.asked)
        assert tuple(row["change"].split("=")) in plan.groups[row["group"]]


def test_groups_are_never_put_together(base):
    """Answers that are right in one group and wrong in the other; and the median is of all."""
    asked = asked_analogies({"seen": ASKED[:2], "forms": NEW_FORMS[:1]}, 2)
    truth = analogy._Truth(base, asked)
    outs = truth.wanted.clone()
    outs[4:] = truth.rb[4:]
    outs[0] = truth.rb[0]
    rows = [{"seed": 0, "variant": "v", **row} for row in truth.scored(outs)]
    assert [row["change"] for row in rows] == ["=".join(c) for c in (*ASKED[:2], NEW_FORMS[0])]
    found = analogy.summary(rows)["v"]
    assert found["seen"]["accuracy"] == pytest.approx(0.75, abs=0.01)
    assert found["seen"]["median"] == pytest.approx(1, abs=0.01)
    assert found["forms"]["accuracy"] == pytest.approx(0, abs=0.01)
    assert edit_mask(outs, outs).shape == truth.mask.shape


def test_what_was_kept_is_found_again_and_other_settings_are_refused(base, drawn, tmp_path):
    settings = variant_settings(TINY, "both", 0)
    world = partial(world_relations, tmp_path / "world", 2, 2)
    one = trained(base, world, settings, "both-0", tmp_path)
    assert (tmp_path / "both-0.safetensors").is_file()
    assert len(drawn) == 1
    two = trained(base, world, settings, "both-0", tmp_path)
    assert len(drawn) == 1
    assert torch.equal(one.router.keys, two.router.keys)
    assert torch.equal(one.delta.out.weight, two.delta.out.weight)
    with pytest.raises(UsageError, match=r"both-0.safetensors was trained with other.*--keep"):
        trained(base, world, settings.with_values(lr=1e-4), "both-0", tmp_path)
    fresh = trained(base, world, settings, "both-0", None)
    assert torch.equal(one.router.keys, fresh.router.keys)
    assert len(drawn) == 2


def test_a_training_that_was_stopped_goes_on(base, drawn, tmp_path, monkeypatch):
    settings = variant_settings(TINY, "delta", 0).with_values(steps=3, checkpoint_every=1)
    world = partial(world_relations, tmp_path / "world", 2, 2)
    whole = trained(base, world, settings, "delta-0", None)
    real = analogy_trained.train_basis

    class StopError(Exception):
        pass

    def stop(info):
        if info.step == 2:
            raise StopError

    monkeypatch.setattr(analogy_trained, "train_basis", partial(real, on_step=stop))
    with pytest.raises(StopError):
        trained(base, world, settings, "delta-0", tmp_path)
    steps = []
    later = partial(real, on_step=lambda info: steps.append(info.step))
    monkeypatch.setattr(analogy_trained, "train_basis", later)
    found = trained(base, world, settings, "delta-0", tmp_path)
    assert steps
    assert steps[0] > 1
    assert torch.equal(found.delta.out.weight, whole.delta.out.weight)
