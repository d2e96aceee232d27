"""The recipe of LoRWeB is its published settings, and is not taken for an edit's."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.resources import recipes_dir
from pairedit_sdk.lorweb.recipes import BasisRecipe, basis_recipe_names, load_basis_recipe
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.training.config import load_recipe, recipe_names


@pytest.mark.parametrize("name", basis_recipe_names())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    path = recipes_dir() / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    values = yaml.safe_load(text)
    assert values.pop("method") == "lorweb"
    assert set(values) <= {f.name for f in fields(BasisRecipe)}  # no short names
    assert load_basis_recipe(path) == load_basis_recipe(name)


def test_the_two_kinds_of_recipes_are_told_apart() -> None:
    assert basis_recipe_names() == ["lorweb"]
    assert "lorweb" not in recipe_names()
    assert set(recipe_names()) | {"lorweb"} == {p.stem for p in recipes_dir().glob("*.yaml")}
    with pytest.raises(UsageError, match=r"lorweb.yaml is for `pairedit lorweb train`\."):
        load_recipe("lorweb")
    with pytest.raises(UsageError, match=r"mini.yaml is for edits.*Got editing, loss\. Use --rec"):
        load_basis_recipe("mini")
    with pytest.raises(UsageError, match=r"no recipe 'lorwbe'\. Did you mean lorweb"):
        load_basis_recipe("lorwbe")


def test_it_holds_what_is_published() -> None:
    recipe = load_basis_recipe("lorweb")
    assert (recipe.base, recipe.precision) == ("black-forest-labs/FLUX.1-Kontext-dev", "bf16")
    assert (recipe.count, recipe.rank, recipe.scaling, recipe.key_width) == (32, 4, 1.0, 128)
    assert (recipe.activation, recipe.query, recipe.shared) == ("softmax", "pictures", False)
    assert (recipe.steps, recipe.batch, recipe.caption_dropout) == (10_000, 6, 0.05)
    assert (recipe.lr, recipe.betas, recipe.weight_decay) == (1e-3, (0.9, 0.99), 0.05)
    assert (recipe.layout, 2 * (recipe.resolution or 0)) == ("grid", 512)
    # What the defaults leave to the model and the machine; all else is the same.
    held = {
        "resolution": None, "gradient_checkpointing": False, "optimizer": "adamw", "keep": 2,
        "encoder": None,
    }  # fmt: skip
    assert recipe.settings.with_values(**held) == BasisSettings()
    assert not recipe.unit_embeddings


def test_words_and_values_change_it_and_every_mistake_is_named(tmp_path: Path) -> None:
    changed = load_basis_recipe("lorweb", ["lora.rank=2", "precision=nf4"], {"steps": 5})
    assert (changed.rank, changed.precision, changed.steps) == (2, "nf4", 5)
    assert "precision" not in changed.settings.as_dict()
    path = tmp_path / "mine.yaml"
    path.write_text("count: 8\nlora: {rank: 2}\n", encoding="utf-8")
    assert load_basis_recipe(path) == BasisRecipe(count=8, rank=2)
    for text, said in (
        ("cuont: 3\nsteps: x\nlora: {rnak: 1}\n", r"'cuont'.*count.*steps is 'x'.*'lora.rnak'"),
        ("count: 0\n", "count=0 needs delta.tokens above 0"),
        ("method: magic\n", "method is 'magic', expected pairedit or lorweb"),
        ("method: [lorweb]\n", "method is .*expected pairedit or lorweb"),
        ("method: pairedit\nsteps: 3\n", "is for `pairedit train`"),
        ("precision: fp8\n", "precision is 'fp8', expected one of auto"),
        ("- count\n", "holds no settings"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=said):
            load_basis_recipe(path)
