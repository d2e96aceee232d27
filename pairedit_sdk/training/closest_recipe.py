"""Which shipped recipe a training was nearest to, told from its settings alone.

Files hold all settings and no recipe's name, and forty settings are more than anybody reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pairedit_sdk.io.settings import by_path
from pairedit_sdk.training.config import TrainConfig, load_recipe, make_config, recipe_names

#: Settings that say where and with what files a training ran, and nothing about what it learned.
PLACES = ("base", "track", "offload", "checkpointing.")


@dataclass(frozen=True)
class ClosestRecipe:
    """A recipe, and what a training changed of it.

    Attributes:
        name: of the recipe.
        changed: the training's own values, by ``group.field``.
    """

    name: str
    changed: dict[str, Any]

    def __str__(self) -> str:
        changed = ", ".join(f"{name}={value}" for name, value in self.changed.items())
        return f"{self.name}, with {changed}" if changed else self.name


def closest_recipe(settings: Mapping[str, Any]) -> ClosestRecipe:
    """The recipe of which the fewest settings were changed; of several, the training's model's.

    Args:
        settings: as files hold them; what is missing has its default.

    Raises:
        UsageError: settings that this version does not know, or out of range.
    """
    config = make_config(settings)
    own = _values(config)
    recipes = {name: load_recipe(name) for name in recipe_names()}
    matches = [
        ClosestRecipe(name, {path: value for path, value in own.items() if value != known[path]})
        for name, recipe in recipes.items()
        for known in [_values(recipe)]
    ]
    return min(
        matches, key=lambda match: (len(match.changed), recipes[match.name].base != config.base)
    )


def _values(config: TrainConfig) -> dict[str, Any]:
    # The settings that are left out of files while they have their defaults are not left out here.
    values = {name: getattr(config, name) for name in config.newer} | config.as_dict()
    found = by_path(TrainConfig, values)
    return {path: found[path] for path in sorted(found) if not path.startswith(PLACES)}
