"""The functions that take a model and long: every command takes them from here.

A function is looked up in its module whenever a command asks for it. So nothing heavy is imported
before, and a test that replaces what :data:`HOME` names replaces it for all commands.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairedit_sdk.editing.edit_image import edit_image, sweep
    from pairedit_sdk.editing.edit_images import edit_images
    from pairedit_sdk.editing.generate import generate
    from pairedit_sdk.lorweb.analogy_answer import answer_analogy
    from pairedit_sdk.models.loading import load_model
    from pairedit_sdk.training.trainer import train
    from pairedit_sdk.words.finding import find_words

__all__ = [
    "HOME", "answer_analogy", "edit_image", "edit_images", "find_words", "generate", "load_model",
    "sweep", "train",
]  # fmt: skip

#: The module of each function.
HOME = {
    "answer_analogy": "pairedit_sdk.lorweb.analogy_answer",
    "edit_image": "pairedit_sdk.editing.edit_image",
    "edit_images": "pairedit_sdk.editing.edit_images",
    "find_words": "pairedit_sdk.words.finding",
    "generate": "pairedit_sdk.editing.generate",
    "load_model": "pairedit_sdk.models.loading",
    "sweep": "pairedit_sdk.editing.edit_image",
    "train": "pairedit_sdk.training.trainer",
}


def __getattr__(name: str) -> Any:
    if name not in HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOME[name]), name)
