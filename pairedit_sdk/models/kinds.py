"""What kind of model a name stands for, as far as can be told before anything is loaded."""

from __future__ import annotations

import json
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


def is_small(name_or_path: str) -> bool:
    """Whether this is a built-in model, or a local folder with fewer blocks than any published
    model of its family has."""
    folder = Path(name_or_path).expanduser()
    config = folder / "transformer" / "config.json"
    if name_or_path in BUILT_IN or not config.is_file():
        return name_or_path in BUILT_IN
    try:
        name, fewest = family_class(pipeline_class(folder)).depth
        return int(json.loads(config.read_text(encoding="utf-8"))[name]) < fewest
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # loading says what is wrong
        return False


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
    name = full_name(name_or_path)
    folder = BUILT_IN.get(name, Path(name).expanduser())
    if not folder.is_dir():
        folder = SHAPES / name
    try:
        return family_class(pipeline_class(folder))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # loading says what is wrong
        kind = pipeline_of_hub_id(name) if HUB_ID.fullmatch(name) else None
        return family_class(kind) if kind else None


def has_image_encoder(name_or_path: str) -> bool:
    """Whether this is a built-in model, or a local folder with an image encoder in it."""
    return name_or_path in BUILT_IN or (Path(name_or_path).expanduser() / "image_encoder").is_dir()
