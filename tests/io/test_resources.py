from __future__ import annotations

from pathlib import Path

import pytest

from pairedit_sdk.errors import PairEditError
from pairedit_sdk.io import resources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package folder somewhere else, with the resources taken to lie around it."""
    folder = tmp_path / "pairedit_sdk"
    folder.mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", folder)
    return folder


def test_shipped_recipes_are_found() -> None:
    assert {"mini", "published"} <= {path.stem for path in resources.recipes_dir().glob("*.yaml")}


def test_examples_hold_what_the_demo_needs() -> None:
    assert any((resources.examples_dir() / "pairs" / "glasses").iterdir())
    assert any((resources.examples_dir() / "edits").glob("*.safetensors"))


def test_checkout_is_used_where_nothing_is_installed(package: Path) -> None:
    (package.parent / "pyproject.toml").touch()
    (package.parent / "recipes").mkdir()
    assert resources.recipes_dir() == package.parent / "recipes"


def test_installed_folder_wins_over_the_checkout(package: Path) -> None:
    (package.parent / "pyproject.toml").touch()
    (package.parent / "examples").mkdir()
    (package / "examples").mkdir()
    assert resources.examples_dir() == package / "examples"


def test_a_strangers_folder_beside_an_installed_package_is_not_ours(package: Path) -> None:
    (package.parent / "examples").mkdir()
    with pytest.raises(PairEditError, match=r"^The examples .* are missing\. Expected a folder"):
        resources.examples_dir()
