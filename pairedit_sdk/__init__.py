"""PairEdit SDK: learn a visual edit from a few before/after pairs, then apply and combine it.

The names below are imported when they are first used, so that ``import pairedit_sdk`` stays fast
and takes no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairedit_sdk.bases.loading import load_base
    from pairedit_sdk.basis.learned.analogies import AnalogyFolder
    from pairedit_sdk.basis.learned.answering import answer
    from pairedit_sdk.basis.learned.basis import LearnedBasis
    from pairedit_sdk.basis.learned.settings import BasisSettings
    from pairedit_sdk.basis.learned.training import train_basis
    from pairedit_sdk.basis.library import Basis
    from pairedit_sdk.config import TrainConfig, load_recipe
    from pairedit_sdk.edit import Edit, EditStack
    from pairedit_sdk.editing import edit_image, sweep
    from pairedit_sdk.errors import PairEditError
    from pairedit_sdk.generation import generate
    from pairedit_sdk.many.manifest import ManifestEntry, read_manifest
    from pairedit_sdk.many.on_ray import RayWorkers, train_many_on_ray
    from pairedit_sdk.many.outcomes import EditOutcome
    from pairedit_sdk.many.training import train_many
    from pairedit_sdk.pairs import PairSet, check_pairs
    from pairedit_sdk.pictures.images import read_image
    from pairedit_sdk.training import train

__version__ = "0.1.0"

__all__ = [
    "AnalogyFolder",
    "Basis",
    "BasisSettings",
    "Edit",
    "EditOutcome",
    "EditStack",
    "LearnedBasis",
    "ManifestEntry",
    "PairEditError",
    "PairSet",
    "RayWorkers",
    "TrainConfig",
    "__version__",
    "answer",
    "check_pairs",
    "edit_image",
    "generate",
    "load_base",
    "load_recipe",
    "read_image",
    "read_manifest",
    "sweep",
    "train",
    "train_basis",
    "train_many",
    "train_many_on_ray",
]

_HOME = {
    "AnalogyFolder": "basis.learned.analogies",
    "Basis": "basis.library",
    "BasisSettings": "basis.learned.settings",
    "Edit": "edit",
    "EditOutcome": "many.outcomes",
    "EditStack": "edit",
    "LearnedBasis": "basis.learned.basis",
    "ManifestEntry": "many.manifest",
    "PairEditError": "errors",
    "PairSet": "pairs",
    "RayWorkers": "many.on_ray",
    "TrainConfig": "config",
    "answer": "basis.learned.answering",
    "check_pairs": "pairs",
    "edit_image": "editing",
    "generate": "generation",
    "load_base": "bases.loading",
    "load_recipe": "config",
    "read_image": "pictures.images",
    "read_manifest": "many.manifest",
    "sweep": "editing",
    "train": "training",
    "train_basis": "basis.learned.training",
    "train_many": "many.training",
    "train_many_on_ray": "many.on_ray",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
