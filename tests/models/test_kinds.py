"""What is told of a model before it is loaded: its family's recipe, by kind and size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pairedit_sdk.models import folders
from pairedit_sdk.models.families import ALIASES, FAMILIES, family_class
from pairedit_sdk.models.kinds import is_edit_model, likely_family, likely_recipe
from pairedit_sdk.training.config import load_recipe


@pytest.mark.parametrize("pipeline", FAMILIES)
def test_every_family_has_a_recipe_for_a_model_of_its_own(pipeline: str) -> None:
    family = family_class(pipeline)
    for name in {family.recipe, family.small_recipe} - {""}:
        config = load_recipe(name)
        assert config.base is not None
        assert likely_family(config.base) is family
        assert (config.reference == "before") == family.takes_references


@pytest.mark.parametrize("alias", ALIASES)
def test_a_recipe_asks_for_guidance_only_where_the_model_takes_any(alias: str) -> None:
    recipe = likely_recipe(alias)
    assert recipe is not None
    assert recipe == likely_recipe(ALIASES[alias])
    config = load_recipe(recipe)
    assert config.base is not None
    folder = folders.resolve(config.base, configs_only=True)
    taken = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    assert (config.guidance > 0) == bool(taken.get("guidance_embeds"))


def test_a_recipe_follows_the_size_and_is_for_the_model_that_is_trained() -> None:
    found = {alias: likely_recipe(alias) for alias in ALIASES}
    assert found == {
        "flux-dev": "flux-dev", "flux-schnell": "flux-dev", "kontext-dev": "kontext-dev",
        "klein-base-4b": "klein-4b", "klein-4b": "klein-4b", "klein-base-9b": "klein-9b",
        "klein-9b": "klein-9b", "flux2-dev": "flux2-dev", "z-image": "z-image",
        "z-image-turbo": "z-image", "qwen-image": "qwen-image",
        "qwen-image-edit": "qwen-image-edit", "chroma": "chroma",
    }  # fmt: skip
    bases = {load_recipe(name).base for name in found.values() if name}
    assert not {ALIASES[name] for name in ("klein-4b", "klein-9b", "z-image-turbo")} & bases


def test_a_folder_is_told_by_its_files_and_a_damaged_one_by_its_family(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(folders.shape_folder("FLUX.2-klein-base-9B"), folder)
    assert likely_recipe(str(folder)) == "klein-9b"
    config = folder / "transformer" / "config.json"
    for damaged in ("[]", "{", '{"num_layers": "many"}'):
        config.write_text(damaged, encoding="utf-8")
        assert likely_recipe(str(folder)) == "klein-4b"
    config.unlink()
    assert likely_recipe(str(folder)) == "klein-4b"
    (folder / "model_index.json").write_text("[]", encoding="utf-8")
    assert likely_recipe(str(folder)) is None


def test_a_stranger_on_the_hub_is_told_by_its_name() -> None:
    assert likely_recipe("somebody/my-klein") == "klein-4b"
    assert likely_recipe("somebody/Z-Image-tuned") == "z-image"
    assert likely_recipe("somebody/else") is None
    assert is_edit_model("somebody/Qwen-Image-Edit-2509")
    assert not is_edit_model("somebody/Qwen-Image-2512")
