"""The benchmark of edits: what it learns from, what it scores, what it sums up."""

import math

import pytest
import torch

from pairedit_sdk import load_base
from pairedit_sdk.bench import edits
from pairedit_sdk.bench.edit_types import EDIT_TYPES, held_out_faces, training_faces
from pairedit_sdk.bench.edits import Job, Plan, run, summary
from pairedit_sdk.bench.fidelity import measure
from pairedit_sdk.bench.text_editing import text_edit
from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import to_tensor


@pytest.fixture(scope="module")
def base():
    return load_base("mini", device="cpu")


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


def test_a_matching_hat_has_the_shirt_s_colour():
    for _, after in training_faces("matching-hat") + held_out_faces("matching-hat", 4):
        assert (after.hat, after.hat_color) == ("beanie", after.shirt_color)


def test_an_editor_that_knows_the_truth_is_perfect_and_one_that_does_nothing_is_not(base):
    faces = held_out_faces("glasses", 3)
    truth = base.encode(torch.cat([to_tensor(after.draw()) for _, after in faces])).float()

    def editor(x, scales):
        return [truth[: len(x)] if scale == 1 else x for scale in scales]

    from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier

    nothing, perfect = measure(
        base, editor, faces, ["glasses"], [0.5, 1.0], load_attribute_classifier()
    )
    assert nothing.accuracy == pytest.approx(0)
    assert nothing.success == 0
    assert nothing.leakage == 0
    assert nothing.preservation_db == 100
    assert nothing.monotone == perfect.monotone == 1
    assert perfect.accuracy == 1
    assert perfect.accuracy_std == 0
    assert perfect.success == 1
    assert perfect.preservation_db > 30


def test_monotony_is_of_the_whole_way(base):
    from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier

    faces = held_out_faces("hat", 2)
    truth = base.encode(torch.cat([to_tensor(after.draw()) for _, after in faces])).float()
    share = {0.25: 0.8, 0.5: 0.3, 1.0: 1.0, 1.5: 0.0}  # falls once up to 1

    def editor(x, scales):
        return [x + share[scale] * (truth[: len(x)] - x) for scale in scales]

    rows = measure(base, editor, faces, ["hat"], list(share), load_attribute_classifier())
    assert [row.monotone for row in rows] == [pytest.approx(2 / 3)] * 4


def test_words_at_scale_0_change_nothing_and_at_1_something(base):
    x = base.encode(to_tensor(held_out_faces("hat", 1)[0][0].draw())).float()
    same = text_edit(base, x, "a person with a red beanie", 0.0, steps=4, n_max=3)
    other = text_edit(base, x, "a person with a red beanie", 1.0, steps=4, n_max=3)
    assert torch.equal(same, x)
    assert (other - x).abs().max() > 0.1


def test_a_small_run_has_a_row_for_everything(base, tmp_path, monkeypatch):
    monkeypatch.setattr(edits, "SCALES", (0.5, 1.0))
    monkeypatch.setattr(edits, "TEXT_SCALES", (1.0,))
    plan = Plan(
        recipes=("default", "text"), edits=("glasses",), pairs=(1, 2), seeds=1, faces=2,
        settings=("steps=2", "batch=1", "calibrate=false"), output=tmp_path,
    )  # fmt: skip
    seen = []
    result = run(base, plan, lambda job, row: seen.append((job, row.scale)))
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
    again = run(base, plan)
    timed = {"train_seconds", "edit_seconds"}
    for one, two in zip(result["rows"], again["rows"], strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in two.items() if k not in timed
        }


def test_the_summary_weighs_edits_alike_and_leaves_nothing_out():
    def row(edit, seed, accuracy, pairs=3, counts=True):
        figures = dict.fromkeys((*edits.FIGURES, "scale"), 0.0)
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


def test_a_misspelt_recipe_is_known_before_anything_is_learned(base):
    with pytest.raises(UsageError, match="There is no recipe 'publishd'"):
        run(base, Plan(recipes=("text", "publishd"), edits=("glasses",)))
    with pytest.raises(UsageError, match="Settings change the recipe default, which is not"):
        run(base, Plan(recipes=("text",), settings=("steps=2",)))
    with pytest.raises(UsageError, match="The benchmark sets seed by itself"):
        run(base, Plan(settings=("seed=2",)))
