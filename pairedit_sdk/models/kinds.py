"""What kind of model a name stands for, as far as can be told before anything is loaded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.models.families import family_class, pipeline_of_hub_id
from pairedit_sdk.models.folders import (
    BUILT_IN,
    EDIT_MODEL,
    HUB_ID,
    PLAIN_MODEL,
    SHAPES,
    full_name,
    pipeline_class,
)

if TYPE_CHECKING:
    from pairedit_sdk.models.families.family import Family

#: What reading a missing or damaged configuration raises. Loading says what is wrong.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def built_in_for(reference: str) -> str:
    """The built-in model of settings that name no model.

    Args:
        reference: the setting ``loss.reference``; all but "none" take an edit model.
    """
    return PLAIN_MODEL if reference == "none" else EDIT_MODEL


def is_edit_model(name_or_path: str) -> bool:
    """Whether a model takes references, as far as can be told without any download.

    Args:
        name_or_path: see :func:`likely_family`.
    """
    family = likely_family(name_or_path)
    return family is not None and family.takes_references


def likely_family(name_or_path: str) -> type[Family] | None:
    """The family of a model, as far as can be told without any download.

    Args:
        name_or_path: a built-in model, a local pipeline folder, or a hub id. One of the shipped
            configurations is known by its pipeline class, and any other hub id by its name.
    """
    try:
        return family_class(pipeline_class(_configs(name_or_path)))
    except _DAMAGED:
        name = full_name(name_or_path)
        kind = pipeline_of_hub_id(name) if HUB_ID.fullmatch(name) else None
        return family_class(kind) if kind else None


def likely_recipe(name_or_path: str) -> str | None:
    """The recipe that suits a model by its family and size, as far as can be told without any
    download, or nothing.

    Args:
        name_or_path: see :func:`likely_family`.
    """
    family = likely_family(name_or_path)
    if family is None:
        return None
    try:
        config = _configs(name_or_path) / "transformer" / "config.json"
        return family.recipe_for(json.loads(config.read_text(encoding="utf-8")))
    except _DAMAGED:
        return family.recipe


def _configs(name_or_path: str) -> Path:
    """Where a model's configuration is, if it is on this machine."""
    name = full_name(name_or_path)
    folder = BUILT_IN.get(name, Path(os.path.expanduser(name)))
    return folder if os.path.isdir(folder) else SHAPES / name


def has_image_encoder(name_or_path: str) -> bool:
    """Whether this is a built-in model, or a local folder with an image encoder in it."""
    own = os.path.join(os.path.expanduser(name_or_path), "image_encoder")
    return name_or_path in BUILT_IN or os.path.isdir(own)
