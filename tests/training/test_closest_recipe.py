from __future__ import annotations

import pytest

from pairedit_sdk.errors import UsageError
from pairedit_sdk.training.closest_recipe import ClosestRecipe, closest_recipe
from pairedit_sdk.training.config import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_nearest_to_itself(name: str) -> None:
    found = closest_recipe(load_recipe(name, ["checkpointing.keep=9"]).as_dict())
    assert found == ClosestRecipe(name, {})
    assert str(found) == name


@pytest.mark.parametrize(
    ("name", "setting", "changed"),
    [("klein-9b", "accumulate=1", {"accumulate": 1}), ("klein-4b", "batch=2", {"batch": 2})],
)
def test_of_equally_near_recipes_it_is_the_one_for_the_model(
    name: str, setting: str, changed: dict[str, int]
) -> None:
    found = closest_recipe(load_recipe(name, [setting]).as_dict())
    assert found == ClosestRecipe(name, changed)


def test_what_was_changed_is_named_as_it_can_be_set() -> None:
    settings = load_recipe("mini", ["optim.lr=1e-3", "steps=300", "optim.beta1=0.8"]).as_dict()
    found = closest_recipe({**settings, "base": "elsewhere"})
    assert found.changed == {"optim.beta1": 0.8, "optim.lr": 0.001, "steps": 300}
    assert str(found) == "mini, with optim.beta1=0.8, optim.lr=0.001, steps=300"
    again = [f"{path}={value}" for path, value in found.changed.items()]
    assert load_recipe("mini", again).as_dict() == settings


def test_settings_of_another_version_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown key 'warp'"):
        closest_recipe({"warp": 9})
