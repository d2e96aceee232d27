"""The benchmark of edits: what it learns from, what it scores, what it sums up."""

import math
from dataclasses import replace

import pytest
import torch
import yaml

from pairedit_sdk import load_base
from pairedit_sdk.bench import edits
from pairedit_sdk.bench.edit_types import EDIT_TYPES, held_out_faces, training_faces
from pairedit_sdk.bench.edits import Job, Plan, run, summary
from pairedit_sdk.bench.fidelity import measure, truth_of
from pairedit_sdk.bench.text_editing import instruction_edit, text_edit
from pairedit_sdk.bench.trained_edits import model_for
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.builtin.faces.instructions import instruction
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.io.resources import recipes_dir
from pairedit_sdk.models.folders import BUILT_IN


@pytest.fixture(scope="module")
def base():
    return load_base("mini", device="cpu")


@pytest.fixture(scope="module")
def edit_model():
    return load_base("mini-kontext", device="cpu")


@pytest.fixture
def load(base, edit_model):
    """A loader that writes down what it was asked for."""
    models = {"mini": base, "mini-kontext": edit_model}

    def load(name):
        load.asked.append(name)
        return models[name]

    load.asked = []
    return load


def test_there_are_edits_of_every_kind():
    assert len(EDIT_TYPES) >= 14
    assert {kind.kind for kind in EDIT_TYPES.values()} == {
        "local", "shape", "global", "relational",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(EDIT_TYPES))
def test_training_faces_show_the_edit_and_never_occur_in_the_test(name):
    changed = EDIT_TYPES[name].example.changed
    held_out = held_out_faces(name, 6)
    known = set()
    for seed in (0, 1):
        pairs = training_faces(name, 3, seed)
        assert len(set(pairs)) == 3
        assert not known & set(pairs)
        known |= set(pairs)
    for before, after in [*known, *held_out]:
        assert before != after
        assert all(visible(after, attribute) for attribute in changed)
        same = {n for n in vars(before) if getattr(before, n) == getattr(after, n)}
        assert set(vars(before)) - same <= set(changed)
    assert not known & set(held_out)


@pytest.mark.parametrize("name", list(EDIT_TYPES))
def test_instructions_are_in_the_words_of_the_edit_model(name):
    kind = EDIT_TYPES[name]
    changed = kind.example.changed
    known = {instruction(after, changed[0]) for _, after in held_out_faces(name, 3)}
    assert known == {kind.instruction}


def test_a_matching_hat_has_the_shirt_s_colour():
    for _, after in training_faces("matching-hat") + held_out_faces("matching-hat", 4):
        assert (after.hat, after.hat_color) == ("beanie", after.shirt_color)


def test_an_editor_that_knows_the_truth_is_perfect_and_one_that_does_nothing_is_not(base):
    faces = held_out_faces("glasses", 3)
    truth = base.encode(torch.cat([to_tensor(after.draw()) for _, after in faces])).float()

    def editor(x, scales):
        return [truth[: len(x)] if scale == 1 else x for scale in scales]

    known = truth_of(base, faces, ["glasses"], load_attribute_classifier())
    nothing, perfect = measure(base, editor, known, [0.5, 1.0])
    assert nothing.accuracy == pytest.approx(0)
    assert nothing.accuracy_median == pytest.approx(0)
    assert nothing.progress == pytest.approx(0, abs=1e-6)
    assert nothing.success == nothing.success_share == 0
    assert nothing.leakage == 0
    assert nothing.preservation_db == 100
    assert nothing.monotone == perfect.monotone == 1
    assert perfect.accuracy == perfect.accuracy_median == 1
    assert perfect.accuracy_std == 0
    assert perfect.progress == pytest.approx(1)
    assert perfect.remaining_error == pytest.approx(0, abs=1e-3)
    assert perfect.success == perfect.truth_success == perfect.success_share == 1
    assert perfect.leakage == perfect.truth_leakage
    assert perfect.excess_leakage == 0
    assert perfect.preservation_db > 30


def test_success_and_leakage_stand_beside_the_truth_s(base):
    faces = held_out_faces("sketch", 2)
    known = truth_of(base, faces, ["style"], load_attribute_classifier())
    truth = base.encode(torch.cat([to_tensor(after.draw()) for _, after in faces])).float()

    def scored(x, scales):
        return [truth[: len(x)]]

    row = measure(base, scored, replace(known, success=0.5, leakage=0.25), [1.0])[0]
    assert (row.success, row.leakage) == (known.success, known.leakage)
    assert (row.truth_success, row.truth_leakage) == (0.5, 0.25)
    assert row.success_share == pytest.approx(2 * row.success)
    assert row.excess_leakage == pytest.approx(row.leakage - 0.25)
    never = measure(base, scored, replace(known, success=0.0), [1.0])[0]
    assert math.isnan(never.success_share)


def test_progress_is_of_the_way_and_the_median_forgives_one_face(base):
    faces = held_out_faces("hat", 3)
    known = truth_of(base, faces, ["hat"], load_attribute_classifier())
    truth = base.encode(torch.cat([to_tensor(after.draw()) for _, after in faces])).float()
    share = torch.tensor([1.0, 0.9, -1.0]).view(-1, 1, 1, 1)

    def editor(x, scales):
        return [x + share[: len(x)] * (truth[: len(x)] - x) for _ in scales]

    row = measure(base, editor, known, [1.0])[0]
    assert row.accuracy < 0.2  # one face that goes backwards
    assert row.accuracy_median > 0.9
    assert row.progress < 0.6
    assert row.remaining_error < 0.6


def test_monotony_is_of_the_whole_way(base):
    faces = held_out_faces("hat", 2)
    truth = base.encode(torch.cat([to_tensor(after.draw()) for _, after in faces])).float()
    share = {0.25: 0.8, 0.5: 0.3, 1.0: 1.0, 1.5: 0.0}  # falls once up to 1

    def editor(x, scales):
        return [x + share[scale] * (truth[: len(x)] - x) for scale in scales]

    known = truth_of(base, faces, ["hat"], load_attribute_classifier())
    rows = measure(base, editor, known, list(share))
    assert [row.monotone for row in rows] == [pytest.approx(2 / 3)] * 4


def test_words_at_scale_0_change_nothing_and_at_1_something(base):
    x = base.encode(to_tensor(held_out_faces("hat", 1)[0][0].draw())).float()
    same = text_edit(base, x, "a person with a red beanie", 0.0, steps=4, n_max=3)
    other = text_edit(base, x, "a person with a red beanie", 1.0, steps=4, n_max=3)
    assert torch.equal(same, x)
    assert (other - x).abs().max() > 0.1


def test_an_instruction_at_scale_0_changes_nothing_and_else_in_proportion(edit_model):
    x = edit_model.encode(to_tensor(held_out_faces("hat", 1)[0][0].draw())).float()
    same, one, two = instruction_edit(edit_model, x, "add a beanie", (0.0, 1.0, 2.0), steps=2)
    assert torch.equal(same, x)
    assert (one - x).abs().max() > 0.1
    torch.testing.assert_close(two - x, 2 * (one - x))


def test_a_recipe_learns_on_the_built_in_model_it_is_for():
    assert (edits.RECIPES["default"], edits.RECIPES["plain-model"]) == ("mini-kontext", "mini")
    assert set(edits.WORDS) == {name for name, file in edits.RECIPES.items() if file is None}
    assert set(edits.WORDS.values()) <= set(BUILT_IN)
    assert model_for("mini") == model_for("published") == model_for("flux-dev-fast") == "mini"
    assert {model_for(name) for name in ("mini-kontext", "kontext-plain", "kontext-dev")} == {
        "mini-kontext"
    }


def test_a_small_run_has_a_row_for_everything(base, load, tmp_path, monkeypatch):
    monkeypatch.setattr(edits, "SCALES", (0.5, 1.0))
    monkeypatch.setattr(edits, "TEXT_SCALES", (1.0,))
    plan = Plan(
        recipes=("default", "text"), edits=("glasses",), pairs=(1, 2), seeds=1, faces=2,
        settings=("steps=2", "batch=1", "calibrate=false"), output=tmp_path,
    )  # fmt: skip
    seen = []
    result = run(load, plan, lambda job, row: seen.append((job, row.scale)))
    assert load.asked == ["mini-kontext", "mini"]  # words are given to the plain model
    assert seen == [
        (Job("default", "glasses", 1, 0), 1.0),
        (Job("default", "glasses", 2, 0), 1.0),
        (Job("text", "glasses", 0, 0), 1.0),
    ]
    assert len(result["rows"]) == 5
    assert sum(row["counts"] for row in result["rows"]) == 3
    assert set(result["summary"]) == {"default", "text"}
    assert "accuracy_pairs_1" in result["summary"]["default"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "glasses-default.webp", "glasses-text.webp", "rows.jsonl",
    }  # fmt: skip
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 5
    again = run(load, plan)
    timed = {"train_seconds", "edit_seconds"}
    for one, two in zip(result["rows"], again["rows"], strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in two.items() if k not in timed
        }


def test_recipes_of_both_models_stand_in_one_table_at_scale_1(load, tmp_path, monkeypatch):
    monkeypatch.setattr(edits, "SCALES", (1.0,))
    monkeypatch.setattr(edits, "INSTRUCTION_SCALES", (0.5, 1.0))
    plain, short = tmp_path / "mini.yaml", tmp_path / "kontext-plain.yaml"
    for path in (plain, short):
        recipe = yaml.safe_load((recipes_dir() / path.name).read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(recipe | {"steps": 2, "batch": 1}), encoding="utf-8")
    scored = []

    def truth_once(model, faces, *rest):
        scored.append((model.name, tuple(faces)))
        return truth_of(model, faces, *rest)

    monkeypatch.setattr(edits, "truth_of", truth_once)
    plan = Plan(
        recipes=(str(plain), "instruction", str(short)), edits=("glasses", "hat"), pairs=(1,),
        seeds=1, faces=1, at_one=True,
    )  # fmt: skip
    result = run(load, plan)
    assert load.asked == ["mini", "mini-kontext"]  # each once
    assert len(scored) == len(set(scored)) == 4  # each edit's truth once for each model
    models = {row["recipe"]: row["model"] for row in result["rows"]}
    assert models == {
        str(plain): "mini", "instruction": "mini-kontext", str(short): "mini-kontext"
    }  # fmt: skip
    assert {row["scale"] for row in result["rows"] if row["counts"]} == {1.0}
    assert set(result["summary"]) == set(plan.recipes)
    truths = {(row["edit"], row["truth_success"], row["truth_leakage"]) for row in result["rows"]}
    assert len(truths) == 2  # the two models show the truth alike


def test_the_summary_weighs_edits_alike_and_leaves_nothing_out():
    def row(edit, seed, accuracy, pairs=3, counts=True):
        figures = dict.fromkeys((*edits.FIGURES, *edits.MEDIANS, "scale"), 0.0)
        return {
            **figures, "recipe": "default", "edit": edit, "pairs": pairs, "seed": seed,
            "accuracy": accuracy, "counts": counts,
        }  # fmt: skip

    rows = [
        row("a", 0, 0.2), row("a", 1, 0.4), row("b", 0, 0.9), row("b", 0, 0.1, counts=False),
        row("b", 1, math.nan), row("a", 0, 0.1, pairs=1),
    ]  # fmt: skip
    result = summary(rows)["default"]
    assert result["accuracy"] == pytest.approx((0.3 + 0.9) / 2)
    assert result["accuracy_pairs_1"] == pytest.approx(0.1)
    more = [*rows, row("c", 0, -9.0), row("d", 0, math.nan)]
    assert summary(more)["default"]["accuracy_edit_median"] == pytest.approx(0.3)
    assert summary(rows)["default"]["accuracy_edit_median"] == pytest.approx(0.6)


def test_a_misspelt_recipe_is_known_before_anything_is_learned(load):
    with pytest.raises(UsageError, match="There is no recipe 'publishd'"):
        run(load, Plan(recipes=("text", "publishd"), edits=("glasses",)))
    with pytest.raises(UsageError, match="Settings change the recipe default, which is not"):
        run(load, Plan(recipes=("text",), settings=("steps=2",)))
    with pytest.raises(UsageError, match="The benchmark sets seed by itself"):
        run(load, Plan(settings=("seed=2",)))
    assert load.asked == []
