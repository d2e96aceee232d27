"""Recipes of a LoRWeB basis: its settings, and the model that they are for.

They are the YAML files that edits' recipes are, with the keys of :class:`BasisRecipe` and the line
``method: lorweb``, by which the two kinds are told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.settings import Rule, by_path, from_values, one_of, with_overrides
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.training.config import PRECISIONS, TrainConfig, read_recipe, recipe_names

METHOD = "lorweb"


@dataclass(frozen=True, init=False)
class BasisRecipe(BasisSettings):
    """Settings of a LoRWeB basis, and how the frozen model is held in training.

    Those of :class:`pairedit_sdk.lorweb.settings.BasisSettings`, and these.

    Attributes:
        base: the edit model the recipe is meant for; ``None`` leaves it to the caller.
        precision: of the frozen base: "fp32", "bf16", "fp16", "int8" or "nf4"; "auto" is bf16 on a
            GPU and fp32 on a CPU.
        offload: let the transformer leave the device while other parts of the model are used.
    """

    base: str | None = None
    precision: str = "auto"
    offload: bool = False

    own_rules: ClassVar[dict[str, Rule]] = {
        **BasisSettings.own_rules,
        "precision": one_of(PRECISIONS),
    }

    @property
    def settings(self) -> BasisSettings:
        """Those of the basis alone, which its file keeps."""
        return BasisSettings(**{f.name: getattr(self, f.name) for f in fields(BasisSettings)})


def basis_recipe_names() -> list[str]:
    """The recipes of a basis that come with the package."""
    return recipe_names(METHOD)


def load_basis_recipe(
    name_or_path: str | Path | None = None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> BasisRecipe:
    """Settings from a recipe by name or file, changed by ``key=value`` overrides.

    Args:
        name_or_path: a name of :func:`basis_recipe_names`, a YAML file, or ``None`` for the
            defaults.
        overrides: e.g. ``["steps=200", "lora.rank=2"]``; values are read as YAML.
        values: the same as plain values, which prevail over both.

    Raises:
        UsageError: unknown recipe, unreadable YAML, a recipe for edits, unknown keys, or values out
            of range.
    """
    settings: dict[str, Any] = {}
    source = "The settings"
    if name_or_path is not None:
        path, method, read = read_recipe(name_or_path, METHOD)
        settings = by_path(BasisRecipe, read, note=True)
        if method is None:
            _refuse_edit_recipe(path, settings)
        source = f"Recipe {path.name}"
    for changed in (with_overrides({}, overrides), values or {}):
        settings |= by_path(BasisRecipe, changed, note=True)
    return from_values(BasisRecipe, settings, source)


def _refuse_edit_recipe(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a file without ``method`` that has groups which only edits have."""
    only_edits = {f.name for f in fields(TrainConfig)} - {f.name for f in fields(BasisRecipe)}
    found = sorted({key.partition(".")[0] for key in settings} & only_edits)
    if found:
        raise UsageError(
            f"Recipe {path.name} is for edits, not for a LoRWeB basis",
            expected="settings of a basis, as `pairedit lorweb train` takes them",
            got=", ".join(found),
            next_step=f"Use --recipe {' or '.join(basis_recipe_names())}, or leave it out",
        )
