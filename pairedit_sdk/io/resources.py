"""Where the shipped recipes and examples lie, after an install as in a checkout."""

from __future__ import annotations

from pathlib import Path

from pairedit_sdk.errors import PairEditError

_PACKAGE = Path(__file__).resolve().parents[1]


def recipes_dir() -> Path:
    """The folder of the shipped recipes, ``NAME.yaml``.

    Raises:
        PairEditError: the installation is incomplete.
    """
    return _shipped("recipes")


def examples_dir() -> Path:
    """The folder of the shipped examples: ``pairs/NAME/`` and ``edits/NAME.safetensors``.

    ``pairedit demo`` copies the pairs into its output, where a user finds them more easily.

    Raises:
        PairEditError: the installation is incomplete.
    """
    return _shipped("examples")


def _shipped(name: str) -> Path:
    installed = _PACKAGE / name
    if installed.is_dir():
        return installed
    checkout = _PACKAGE.parent
    # Beside an installed package lie other people's folders, some of them called "examples".
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise PairEditError(
        f"The {name} that belong to pairedit-sdk are missing",
        expected=f"a folder {installed}",
        next_step="Install the package again",
    )
