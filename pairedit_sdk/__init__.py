"""PairEdit SDK: learn a visual edit from a few before/after pairs, then apply and combine it.

The names below are imported when they are first used, so that ``import pairedit_sdk`` stays fast
and takes no torch.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.basis.mix import EditMix
    from pairedit_sdk.editing.draft import DraftEditor
    from pairedit_sdk.editing.edit_image import edit_image, sweep
    from pairedit_sdk.editing.edit_images import EditedImage, edit_images
    from pairedit_sdk.editing.generate import generate
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.edits.edit import Edit, EditStack
    from pairedit_sdk.edits.edit_words import EditWords
    from pairedit_sdk.edits.instruction import Instruction
    from pairedit_sdk.edits.library import EditLibrary
    from pairedit_sdk.edits.metadata import EditDirection, EditInfo
    from pairedit_sdk.edits.shown import ShownChange
    from pairedit_sdk.errors import PairEditError
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.metadata import read_made
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.jobs.make_edit import TrainedEdit, make_edit
    from pairedit_sdk.jobs.manifest import ManifestEntry, read_manifest
    from pairedit_sdk.jobs.on_ray import train_many_on_ray
    from pairedit_sdk.jobs.outcomes import EditOutcome
    from pairedit_sdk.jobs.ray_cluster import RayWorkers
    from pairedit_sdk.jobs.train_many import train_many
    from pairedit_sdk.lorweb.analogies import AnalogyFolder
    from pairedit_sdk.lorweb.analogy_answer import answer_analogy
    from pairedit_sdk.lorweb.answering import answer
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.learning import learn_edit
    from pairedit_sdk.lorweb.recipes import BasisRecipe, load_basis_recipe
    from pairedit_sdk.lorweb.settings import BasisSettings, OwnEditSettings
    from pairedit_sdk.lorweb.shown import shown_change
    from pairedit_sdk.lorweb.trainer import train_basis
    from pairedit_sdk.models.loading import load_base, load_model
    from pairedit_sdk.pairs.pair_set import PairSet, check_pairs, check_set
    from pairedit_sdk.training.config import TrainConfig, load_recipe
    from pairedit_sdk.training.trainer import train
    from pairedit_sdk.words.finding import FoundWords, find_words
    from pairedit_sdk.words.vocabulary import Vocabulary

__version__ = "0.2.0"

__all__ = [
    "AnalogyFolder",
    "BasisRecipe",
    "BasisSettings",
    "DraftEditor",
    "Edit",
    "EditBasis",
    "EditDirection",
    "EditInfo",
    "EditLibrary",
    "EditMix",
    "EditOptions",
    "EditOutcome",
    "EditStack",
    "EditWords",
    "EditedImage",
    "FoundWords",
    "Instruction",
    "LoRWeBBasis",
    "ManifestEntry",
    "OwnEditSettings",
    "PairEditError",
    "PairSet",
    "Photo",
    "RayWorkers",
    "ShownChange",
    "TrainConfig",
    "TrainedEdit",
    "Vocabulary",
    "__version__",
    "answer",
    "answer_analogy",
    "check_pairs",
    "check_set",
    "edit_image",
    "edit_images",
    "find_words",
    "generate",
    "learn_edit",
    "load_base",
    "load_basis_recipe",
    "load_model",
    "load_recipe",
    "make_edit",
    "read_image",
    "read_made",
    "read_manifest",
    "shown_change",
    "sweep",
    "train",
    "train_basis",
    "train_many",
    "train_many_on_ray",
]

_HOME = {
    "AnalogyFolder": "lorweb.analogies",
    "BasisRecipe": "lorweb.recipes",
    "BasisSettings": "lorweb.settings",
    "DraftEditor": "editing.draft",
    "Edit": "edits.edit",
    "EditBasis": "basis.edit_basis",
    "EditDirection": "edits.metadata",
    "EditInfo": "edits.metadata",
    "EditLibrary": "edits.library",
    "EditMix": "basis.mix",
    "EditOptions": "editing.options",
    "EditOutcome": "jobs.outcomes",
    "EditStack": "edits.edit",
    "EditWords": "edits.edit_words",
    "EditedImage": "editing.edit_images",
    "FoundWords": "words.finding",
    "Instruction": "edits.instruction",
    "LoRWeBBasis": "lorweb.basis",
    "ManifestEntry": "jobs.manifest",
    "OwnEditSettings": "lorweb.settings",
    "PairEditError": "errors",
    "PairSet": "pairs.pair_set",
    "Photo": "images.photo",
    "RayWorkers": "jobs.ray_cluster",
    "ShownChange": "edits.shown",
    "TrainConfig": "training.config",
    "TrainedEdit": "jobs.make_edit",
    "Vocabulary": "words.vocabulary",
    "answer": "lorweb.answering",
    "answer_analogy": "lorweb.analogy_answer",
    "check_pairs": "pairs.pair_set",
    "check_set": "pairs.pair_set",
    "edit_image": "editing.edit_image",
    "edit_images": "editing.edit_images",
    "find_words": "words.finding",
    "generate": "editing.generate",
    "learn_edit": "lorweb.learning",
    "load_basis_recipe": "lorweb.recipes",
    "load_base": "models.loading",
    "load_model": "models.loading",
    "load_recipe": "training.config",
    "make_edit": "jobs.make_edit",
    "read_image": "images.image",
    "read_made": "images.metadata",
    "read_manifest": "jobs.manifest",
    "shown_change": "lorweb.shown",
    "sweep": "editing.edit_image",
    "train": "training.trainer",
    "train_basis": "lorweb.trainer",
    "train_many": "jobs.train_many",
    "train_many_on_ray": "jobs.on_ray",
}

#: Names of version 0.1, and what they are called now.
_RENAMED = {"Basis": "EditBasis", "LearnedBasis": "LoRWeBBasis"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(
            f"pairedit_sdk.{name} is now pairedit_sdk.{new}; the old name works for one more "
            "version",
            DeprecationWarning,
            stacklevel=2,
        )
        return __getattr__(new)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
