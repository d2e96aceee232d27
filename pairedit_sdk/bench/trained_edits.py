"""A drawer of edits, learned for a benchmark."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pairedit_sdk.bench.edit_types import training_pairs
from pairedit_sdk.models.folders import BUILT_IN
from pairedit_sdk.models.kinds import built_in_for
from pairedit_sdk.training.config import load_recipe
from pairedit_sdk.training.trainer import train

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.models.protocol import FlowModel


def model_for(recipe: str) -> str:
    """The built-in model that a recipe's edits are learned on.

    It is the model that the recipe is meant for. The settings of a recipe for another model are
    tried on the built-in edit model if they give it a reference, else on the plain one, as the
    drawn faces are what the built-in models know.

    Args:
        recipe: its name or file.

    Returns:
        A key of :data:`pairedit_sdk.models.folders.BUILT_IN`.

    Raises:
        UsageError: there is no such recipe, or it cannot be read.
    """
    config = load_recipe(recipe)
    if config.base in BUILT_IN:
        return config.base
    return built_in_for(config.reference)


def learned(
    model: FlowModel,
    names: Sequence[str],
    seed: int,
    recipe: str = "mini-kontext",
    *,
    limit_scale: bool = False,
    on_edit: Callable[[str], None] = lambda name: None,
) -> dict[str, Edit]:
    """Learn these edits, each from the training pairs of this seed.

    Args:
        model: a built-in model, see :func:`model_for`.
        names: keys of ``EDIT_TYPES``.
        seed: of the faces and of the training.
        recipe: its name or file.
        limit_scale: leave the scale limit as the recipe has it; else there is none, as ways to mix
            edits are compared at one strength, and what is merged cannot have a limit.
        on_edit: called after each with its name.
    """
    config = load_recipe(recipe).with_values(seed=seed, checkpoint_every=0, preview_every=0)
    if not limit_scale:
        config = config.with_values(edit_even=False)
    edits = {}
    for name in names:
        edits[name] = train(model, training_pairs(name, seed=seed), config, name=name)
        on_edit(name)
    return edits


def plain_mean(values: Sequence[float]) -> float:
    """The mean of those that are known; NaN if none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def plain_median(values: Sequence[float]) -> float:
    """The median of those that are known; NaN if none is."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else math.nan
